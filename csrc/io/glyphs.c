/* glyphs.c - ten digits as a pen would draw them, 28 x 28 bytes, so that a network can be trained with no data at hand.
 *
 * A digit is one of three skeletons: points that a pen passes through. Each sample jitters the points, bends the plane
 * by a random cubic, slants, scales, turns and shifts it, runs Catmull-Rom splines through the points (Catmull and Rom
 * 1974; 4 chords a span), and inks each pixel by its distance to the nearest chord under a pen whose width varies along
 * the stroke; then paper noise. `difficulty` in [0, 1] widens every variation.
 *
 * Bytes are the same everywhere: Philox words indexed by (seed, split, sample), + - * / in double in written order, no
 * square root (the edge of a stroke of half width r is (r^2 - d^2) / 2r, which is r - d to first order), and no sine: a
 * turn is given by t = tan(angle / 2), cos = (1 - t^2) / (1 + t^2), sin = 2 t / (1 + t^2).
 */
#include <string.h>

#include "../nncore.h"
#include "../random.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, STYLES = 3, POINTS = 28, CHORDS = 4 };

/* Skeletons in a box of 100 x 100, y down. UP lifts the pen, 0, 0 ends; a stroke begun where one ended is a corner. */
#define UP -1, -1
static const int8_t skeletons[10][STYLES][2 * POINTS] = {
    {{50, 5, 26, 20, 18, 50, 26, 80, 50, 95, 74, 80, 82, 50, 74, 20, 50, 5},
     {64, 8, 38, 12, 22, 42, 24, 76, 45, 95, 70, 82, 80, 50, 72, 18, 50, 7},
     {58, 12, 30, 14, 14, 45, 22, 82, 50, 93, 80, 80, 86, 45, 70, 15, 46, 14}},
    {{50, 5, 51, 50, 50, 95},
     {30, 27, 44, 16, 54, 5, UP, 54, 5, 53, 50, 52, 95},
     {32, 24, 52, 6, UP, 52, 6, 52, 94, UP, 30, 94, 74, 94}},
    {{22, 26, 35, 8, 60, 6, 76, 22, 70, 45, 45, 70, 22, 93, UP, 22, 93, 50, 92, 82, 93},
     {22, 28, 40, 7, 68, 10, 76, 30, 62, 55, 38, 80, 22, 90, 18, 80, 32, 76, 55, 90, 84, 86},
     {24, 14, 50, 6, 72, 14, 70, 38, 46, 64, 20, 90, UP, 20, 90, 44, 84, 64, 92, 82, 84}},
    {{24, 16, 45, 5, 70, 12, 74, 30, 46, 47, UP, 46, 47, 76, 58, 78, 80, 52, 95, 22, 84},
     {24, 8, 50, 7, 74, 7, UP, 74, 7, 48, 42, UP, 48, 42, 74, 52, 78, 76, 52, 95, 22, 86},
     {26, 22, 50, 5, 74, 22, 62, 42, 42, 48, 66, 54, 80, 74, 54, 95, 20, 82}},
    {{32, 8, 22, 56, UP, 22, 56, 50, 57, 82, 54, UP, 66, 26, 64, 60, 62, 95},
     {62, 5, 40, 36, 18, 66, UP, 18, 66, 84, 66, UP, 62, 5, 62, 50, 61, 95},
     {28, 6, 22, 35, 34, 52, 72, 48, UP, 74, 6, 73, 50, 68, 95}},
    {{76, 8, 32, 8, UP, 32, 8, 28, 45, UP, 28, 45, 50, 37, 76, 52, 76, 78, 50, 95, 22, 86},
     {34, 10, 30, 44, UP, 30, 44, 58, 40, 76, 58, 70, 84, 44, 95, 22, 88, UP, 34, 10, 60, 10, 80, 6},
     {78, 10, 46, 8, 28, 24, 36, 42, 64, 52, 76, 72, 56, 94, 22, 88}},
    {{66, 6, 38, 28, 24, 62, 34, 90, 60, 94, 76, 76, 66, 56, 42, 56, 27, 72},
     {58, 5, 36, 40, 24, 72, 40, 94, 66, 90, 74, 70, 58, 56, 34, 64, 26, 76},
     {74, 16, 56, 5, 30, 25, 20, 60, 32, 90, 60, 95, 80, 76, 68, 55, 42, 54, 24, 68}},
    {{20, 10, 50, 10, 78, 9, UP, 78, 9, 56, 46, 42, 95},
     {20, 10, 50, 10, 78, 9, UP, 78, 9, 58, 46, 46, 95, UP, 34, 51, 72, 48},
     {22, 24, 24, 9, UP, 24, 9, 50, 13, 78, 8, UP, 78, 8, 54, 48, 50, 94}},
    {{70, 18, 50, 5, 30, 18, 38, 40, 62, 56, 76, 76, 50, 95, 24, 76, 38, 56, 62, 40, 70, 18},
     {50, 5, 31, 14, 31, 36, 50, 46, 69, 36, 69, 14, 50, 5, UP,
      50, 46, 26, 58, 25, 84, 50, 95, 75, 84, 74, 58, 50, 46},
     {76, 14, 46, 6, 30, 24, 48, 44, 72, 66, 62, 92, 34, 92, 28, 70, 54, 46, 76, 14}},
    {{72, 28, 52, 6, 28, 20, 30, 44, 52, 52, 72, 30, UP, 72, 28, 70, 60, 62, 95},
     {74, 30, 56, 5, 28, 16, 26, 42, 50, 54, 72, 36, UP, 74, 28, 74, 66, 58, 92, 28, 90},
     {70, 14, 46, 5, 26, 24, 34, 48, 58, 48, 72, 24, UP, 72, 8, 73, 50, 72, 95}},
};

/* ---- random numbers --------------------------------------------------------------------------------------------- */

typedef struct source {
    uint64_t seed, index;
    uint32_t block, used, word[4];
} source;

static uint32_t next_word(source *s)
{
    if (s->used == 4) {
        philox_block(s->word, s->seed, NN_STREAM_GLYPHS, s->index, s->block++);
        s->used = 0;
    }
    return s->word[s->used++];
}

/* Uniform on (-1, 1), exact in double. */
static double even(source *s)
{
    return ((double)next_word(s) - 2147483647.5) * 0x1p-31;
}

/* The mean of two uniforms: triangular on (-1, 1), middling values likelier. */
static double middling(source *s)
{
    double a = even(s), b = even(s);
    return (a + b) * 0.5;
}

/* ---- one sample ------------------------------------------------------------------------------------------------- */

typedef struct hand {
    double bend[2][5];       /* of x^2, x y, y^2, x^3, y^3 for each coordinate */
    double turn[4], shift[2]; /* pixels = turn (point) + shift, row by row */
    double jitter;           /* of a point, in units of the box's half side */
    double width, taper;     /* half width of the pen in pixels, and its relative change along a stroke */
    double ink, noise;       /* grey levels */
} hand;

static void choose_hand(hand *h, source *s, double d)
{
    for (int c = 0; c < 2; c++)
        for (int k = 0; k < 5; k++)
            h->bend[c][k] = (0.04 + 0.26 * d) * middling(s);
    double t = (0.02 + 0.22 * d) * middling(s), slant = 0.1 + (0.1 + 0.6 * d) * middling(s);
    double cosine = (1 - t * t) / (1 + t * t), sine = 2 * t / (1 + t * t);
    double tall = 9.6 * (1 + (0.05 + 0.35 * d) * middling(s) - 0.08 * d);
    double wide = tall * (0.92 + (0.1 + 0.5 * d) * middling(s));
    h->turn[0] = cosine * wide;
    h->turn[1] = -(cosine * slant * tall) - sine * tall;
    h->turn[2] = sine * wide;
    h->turn[3] = cosine * tall - sine * slant * tall;
    for (int c = 0; c < 2; c++)
        h->shift[c] = 0.5 * SIDE + (0.5 + 4.6 * d) * middling(s);
    h->jitter = 0.03 + 0.11 * d;
    h->width = 1.15 + (0.2 + 0.9 * d) * middling(s);
    h->width = h->width < 0.6 ? 0.6 : h->width;
    h->taper = (0.1 + 0.5 * d) * even(s);
    h->ink = 235 - (20 + 70 * d) * (0.5 + 0.5 * even(s));
    h->noise = 4 + 32 * d;
}

/* A point of the skeleton, jittered, bent and placed in pixels. */
static void place(double pixel[2], const hand *h, const int8_t *point, source *s)
{
    double x = point[0] / 50.0 - 1, y = point[1] / 50.0 - 1, bent[2];
    x += h->jitter * middling(s);
    y += h->jitter * middling(s);
    for (int c = 0; c < 2; c++) {
        const double *b = h->bend[c];
        bent[c] = b[0] * (x * x) + b[1] * (x * y) + b[2] * (y * y) + b[3] * (x * x * x) + b[4] * (y * y * y);
    }
    x += bent[0];
    y += bent[1];
    pixel[0] = h->turn[0] * x + h->turn[1] * y + h->shift[0];
    pixel[1] = h->turn[2] * x + h->turn[3] * y + h->shift[1];
}

static int clamp_pixel(double v)
{
    return v < 0 ? 0 : v > SIDE ? SIDE : (int)v;
}

/* cover (28, 28) = max(cover, how far each pixel's centre lies inside the chord a b drawn with half width r). */
static void ink_chord(double *cover, const double a[2], const double b[2], double r)
{
    double ux = b[0] - a[0], uy = b[1] - a[1], square = ux * ux + uy * uy, reach = r + 1;
    double inverse = square > 1e-12 ? 1 / square : 0;
    int left = clamp_pixel((a[0] < b[0] ? a[0] : b[0]) - reach), top = clamp_pixel((a[1] < b[1] ? a[1] : b[1]) - reach);
    int right = clamp_pixel((a[0] < b[0] ? b[0] : a[0]) + reach + 1);
    int bottom = clamp_pixel((a[1] < b[1] ? b[1] : a[1]) + reach + 1);
    for (int i = top; i < bottom; i++) {
        for (int j = left; j < right; j++) {
            double x = j + 0.5 - a[0], y = i + 0.5 - a[1], along = (x * ux + y * uy) * inverse;
            along = along < 0 ? 0 : along > 1 ? 1 : along;
            x -= along * ux;
            y -= along * uy;
            double inside = (r * r - (x * x + y * y)) / (2 * r) + 0.5;
            if (inside > cover[i * SIDE + j])
                cover[i * SIDE + j] = inside < 1 ? inside : 1;
        }
    }
}

/* A spline through the n points of one stroke; the neighbours that the ends lack are the ends themselves. */
static void ink_stroke(double *cover, const hand *h, double points[][2], int n)
{
    double last[2] = {points[0][0], points[0][1]};
    for (int i = 0; i + 1 < n; i++) {
        const double *p0 = points[i ? i - 1 : 0], *p1 = points[i], *p2 = points[i + 1], *p3 = points[i + 2 < n ? i + 2 : n - 1];
        for (int k = 1; k <= CHORDS; k++) {
            double t = k / (double)CHORDS, next[2];
            for (int c = 0; c < 2; c++) {
                double linear = p2[c] - p0[c], cubic = 3 * (p1[c] - p2[c]) + p3[c] - p0[c];
                double square = 2 * p0[c] - 5 * p1[c] + 4 * p2[c] - p3[c];
                next[c] = p1[c] + 0.5 * t * (linear + t * (square + t * cubic));
            }
            double along = (i + t) / (n - 1) - 0.5;
            ink_chord(cover, last, next, h->width * (1 + h->taper * along));
            memcpy(last, next, sizeof last);
        }
    }
}

/* image = ink where covered, plus paper noise: per pixel the difference of two random bytes. */
static void print_image(uint8_t *image, const double *cover, const hand *h, source *s)
{
    for (int i = 0; i < PIXELS; i += 2) {
        uint32_t word = next_word(s);
        for (int k = 0; k < 2; k++, word >>= 16) {
            double grain = ((double)(word & 255) - (double)(word >> 8 & 255)) * (1.0 / 255);
            double v = h->ink * cover[i + k] + h->noise * grain;
            image[i + k] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)(v + 0.5);
        }
    }
}

static void draw(uint8_t *image, int digit, source *s, double difficulty)
{
    double cover[PIXELS] = {0}, points[POINTS][2];
    hand h;
    choose_hand(&h, s, difficulty);
    const int8_t *p = skeletons[digit][next_word(s) % STYLES];
    int n = 0;
    for (;; p += 2) {
        if (p[0] > 0) {
            place(points[n++], &h, p, s);
            continue;
        }
        ink_stroke(cover, &h, points, n);
        n = 0;
        if (p[0] == 0)
            break;
    }
    print_image(image, cover, &h, s);
}

int32_t nn_glyphs(uint8_t *images, uint8_t *labels, uint64_t seed, int32_t split, int64_t n, int64_t begin, int64_t end,
                  double difficulty)
{
    if (split < 0 || begin < 0 || begin > end || end > n || n > (int64_t)1 << 32)
        return NN_ERR_ARGUMENT;
    if (!(difficulty >= 0 && difficulty <= 1))
        return NN_ERR_ARGUMENT;
    for (int64_t i = begin; i < end; i++) {
        /* The order of labels is a shuffle of its own: the training shuffle of the same seed must not undo it. */
        int digit = (int)(nn_shuffle(seed ^ 0x676C797068u, split, n, i) % 10);
        source s = {.seed = seed, .index = (uint64_t)split << 32 | (uint64_t)i, .used = 4};
        labels[i - begin] = (uint8_t)digit;
        draw(images + (i - begin) * PIXELS, digit, &s, difficulty);
    }
    return NN_OK;
}
