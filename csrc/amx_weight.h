#pragma once
/* amx_weight.h - convolutions on tiles: the gradient of the weights. Included by amx.c alone.
 *
 * The terms are places. x becomes pairs of places, 16 channels a line of 64 bytes, in two copies: pairs that begin at an even
 * place and at an odd one. So every tap, however far it reaches, reads whole lines one after the other, and x is never turned;
 * dy is, once. The tiles' product is that of dy by x, so the sums, which wait in squares of 32 x 32 (conv_shape.h), have a
 * row for each output and are turned when their chain ends. Where the channels are no whole lines, the 32 rows (r, s, c) of a
 * unit are copied side by side. */

enum {
    WEIGHT_X_NBYTES = 1 << 20, /* more if one block of many channels takes more */
    WEIGHT_DY_NBYTES = 3 << 18,
    WEIGHT_RUN = 32, /* blocks of a tiles' product at a time */
    WEIGHT_STRIP_NBYTES = WEIGHT_RUN * 3 * T_STEP
};

typedef struct tile_weight {
    const conv_shape *v;
    int64_t images, steps; /* of a band, and blocks of each */
    int64_t pairs, image;  /* pairs of places of a phase of x, bytes of x of an image */
    int64_t panel, panels; /* of dy: the first, how many */
    char *x, *dy, *strip;
} tile_weight;

/* Where a unit's outputs' panel and its strip of rows stand. */
static int64_t weight_panel(const conv_shape *v, int64_t unit) { return unit / conv_strips(v); }

/* The furthest tap, in places; copies of x. */
static int64_t weight_reach(const conv_shape *v) { return conv_reach(v, v->R - 1, v->S - 1); }
static int64_t weight_copies(const conv_shape *v) { return weight_reach(v) > 0 ? 2 : 1; }

static int64_t weight_pairs(const conv_shape *v, int64_t steps) { return steps * (BF16_BLOCK / 2) + weight_reach(v) / 2 + 1; }

/* Bytes of x for so many blocks of an image, and what there is for x; sums get the rest of the scratch, none if it is negative. */
static int64_t weight_image_nbytes(const conv_shape *v, int64_t steps)
{
    return v->sh * v->sw * ((v->C + 15) / 16) * weight_copies(v) * v->planes * weight_pairs(v, steps) * T_ROW;
}

static int64_t weight_x_nbytes(const conv_shape *v) { return conv_max(WEIGHT_X_NBYTES, weight_image_nbytes(v, 1)); }

static int64_t weight_sums_nbytes(const conv_shape *v)
{
    return NN_RANK_NBYTES - weight_x_nbytes(v) - WEIGHT_DY_NBYTES - WEIGHT_STRIP_NBYTES;
}

/* The lines of channels [c, c + 16) of a phase, [copy][plane][pair]. */
static char *weight_lines(const tile_weight *o, int64_t phase, int64_t c)
{
    const conv_shape *v = o->v;
    return o->x + (phase * ((v->C + 15) / 16) + c / 16) * weight_copies(v) * v->planes * o->pairs * T_ROW;
}

/* Where row m = (r, s, c) of the weights has its first pair. */
static const char *weight_row_at(const tile_weight *o, int64_t m)
{
    const conv_shape *v = o->v;
    const int64_t r = m / v->C / v->S, s = m / v->C % v->S, phase = r * v->dh % v->sh * v->sw + s * v->dw % v->sw;
    const int64_t reach = conv_reach(v, r, s), c = m % v->C;
    return weight_lines(o, phase, c) + (reach % 2 * v->planes * o->pairs + reach / 2) * T_ROW + c % 16 * 4;
}

/* 16 channels of a pixel, zeros outside the image. A branch, which is foreseen: a mask would have to be moved by the port that
 * shuffles. */
V_INLINE __m512 weight_load(const float *pixel, int64_t c, vmask m) { return pixel && m ? v_load_m(pixel + c, m) : v_zero(); }

/* Pairs [i, end) of channels c to c + 15, as many as m has. */
V_INLINE void weight_pairs_of(char *to, const int planes, const tile_weight *o, const float *const *pixel, int64_t c, vmask m,
                              int64_t i, int64_t end)
{
    const int64_t plane = o->pairs * T_ROW, copy = weight_copies(o->v) > 1 ? planes * plane : 0;
    __m512i last[3], part[3];
    V_UNROLL for (int p = 0; p < planes; p++)
        last[p] = i ? _mm512_loadu_si512(to + p * plane + (i - 1) * T_ROW) : _mm512_setzero_si512();
    for (int64_t j = 0; i < end; i++, j += 2) {
        planes_of(part, planes, 1, weight_load(pixel[j], c, m), weight_load(pixel[j + 1], c, m));
        V_UNROLL for (int p = 0; p < planes; p++) {
            _mm512_storeu_si512(to + p * plane + i * T_ROW, part[p]);
            if (copy && i) /* the second of a pair and the first of the next */
                _mm512_storeu_si512(to + copy + p * plane + (i - 1) * T_ROW,
                                    _mm512_shrdi_epi32(last[p], part[p], 16));
            last[p] = part[p];
        }
    }
}

/* x of one image from place f on. */
V_INLINE void weight_x(const int planes, const tile_weight *o, int64_t image, const float *x, int64_t f)
{
    const conv_shape *v = o->v;
    const int64_t pitch = conv_pitch(v);
    for (int64_t phase = 0; phase < v->sh * v->sw; phase++) {
        int64_t row = f / pitch, column = f % pitch;
        for (int64_t i = 0; i < o->pairs; i += BF16_BLOCK / 2) {
            const float *pixel[BF16_BLOCK];
            for (int64_t j = 0; j < BF16_BLOCK; j++) {
                const int64_t h = row * v->sh + phase / v->sw - v->pt, w = column * v->sw + phase % v->sw - v->pl;
                pixel[j] = h >= 0 && h < v->H && w >= 0 && w < v->W ? x + (h * v->W + w) * v->C : NULL;
                row += ++column == pitch;
                column = column == pitch ? 0 : column;
            }
            for (int64_t c = 0; c < v->C; c += 16)
                weight_pairs_of(weight_lines(o, phase, c) + image * o->image, planes, o, pixel, c,
                                v_tail(at_most(v->C - c, 16)), i, at_most(o->pairs, i + BF16_BLOCK / 2));
        }
    }
}

/* dy of one image turned, [panel][step][plane][tile], blocks from place f on. */
V_INLINE void weight_dy(const int planes, const tile_weight *o, int64_t image, const float *dy, int64_t f)
{
    const conv_shape *v = o->v;
    const int64_t pitch = conv_pitch(v);
    char turned[3 * T_NBYTES];
    int64_t row = f / pitch, column = f % pitch;
    for (int64_t s = 0; s < o->steps; s++) {
        const float *place[BF16_BLOCK]; /* conv_place_at of each, counted on */
        for (int64_t i = 0; i < BF16_BLOCK; i++) {
            place[i] = row < v->P && column < v->Q ? dy + (row * v->Q + column) * v->K : NULL;
            row += ++column == pitch;
            column = column == pitch ? 0 : column;
        }
        for (int64_t q = 0; q < o->panels; q++)
            for (int64_t t = 0; t < 2; t++) {
                const int64_t k = (o->panel + q) * T_SIDE + t * 16;
                const vmask m = v_tail(at_least_zero(at_most(v->K - k, 16)));
                for (int64_t i = 0; i < BF16_BLOCK; i += 2)
                    put_planes(turned + i / 2 * T_ROW, T_NBYTES, planes, 1, weight_load(place[i], k, m),
                               weight_load(place[i + 1], k, m));
                char *to = o->dy + (((q * o->images + image) * o->steps + s) * planes * 2 + t) * T_NBYTES;
                for (int p = 0; p < planes; p++)
                    turn(to + p * T_STEP, T_ROW, turned + p * T_NBYTES, 16);
            }
    }
}

typedef void weight_planes_fn(const tile_weight *o, int64_t image, const float *x, const float *dy, int64_t f);
#define WEIGHT_PLANES(planes)                                                                                               \
    static void weight_planes_##planes(const tile_weight *o, int64_t image, const float *x, const float *dy, int64_t f)     \
    {                                                                                                                       \
        weight_x(planes, o, image, x, f);                                                                                   \
        weight_dy(planes, o, image, dy, f);                                                                                 \
    }
WEIGHT_PLANES(1)
WEIGHT_PLANES(2)
WEIGHT_PLANES(3)
static weight_planes_fn *const weight_planes[4] = {NULL, weight_planes_1, weight_planes_2, weight_planes_3};

/* Where block s of a band is in the lines of x. */
static int64_t weight_block_at(const tile_weight *o, int64_t s) { return s / o->steps * o->image + s % o->steps * T_NBYTES; }

/* Rows [m, m + 32) over blocks [s, s + steps) copied to the strip, [step][plane][tile]: a run of channels is a part of a line. */
static void weight_strip(const tile_weight *o, int64_t m, int64_t s, int64_t steps)
{
    const conv_shape *v = o->v;
    const int64_t rows = v->R * v->S * v->C;
    memset(o->strip, 0, (size_t)(steps * v->planes * T_STEP));
    for (int64_t i = 0, run; i < T_SIDE && m + i < rows; i += run) {
        const int64_t c = (m + i) % v->C;
        run = at_most(at_most(16 - c % 16, v->C - c), at_most(16 - i % 16, rows - m - i));
        const char *from = weight_row_at(o, m + i);
        char *to = o->strip + i / 16 * T_NBYTES + i % 16 * 4;
        for (int64_t b = 0; b < steps; b++)
            for (int64_t p = 0; p < v->planes; p++, to += T_STEP)
                for (int64_t j = 0; j < BF16_BLOCK / 2; j++)
                    _mm512_mask_storeu_epi32(
                        to + j * T_ROW, v_tail(run),
                        _mm512_maskz_loadu_epi32(v_tail(run), from + weight_block_at(o, s + b) + (p * o->pairs + j) * T_ROW));
    }
}

/* Blocks [s, s + steps) of a unit's square of sums by a band of an image. */
static void weight_unit(const tile_weight *o, int64_t unit, float *sums, int64_t s, int64_t steps, int resume)
{
    const conv_shape *v = o->v;
    const int64_t m = unit % conv_strips(v) * T_SIDE, lines = v->C % 16 == 0, size = v->planes * T_STEP;
    int64_t at[CONV_STEPS];
    for (int64_t i = 0; i < steps; i++)
        at[i] = lines ? weight_block_at(o, s + i) : i * size;
    tile_run run = {.a = o->strip, .at = at, .steps = steps, .a_stride = T_ROW, .a_plane = T_STEP, .a_tile = T_NBYTES,
                    .b = o->dy + ((weight_panel(v, unit) - o->panel) * o->images * o->steps + s) * size, .c = sums,
                    .c_stride = T_SIDE * 4, .resume = resume};
    if (lines) {
        run.a = weight_row_at(o, m);
        run.a_plane = o->pairs * T_ROW;
        run.a_tile = m + 16 < v->R * v->S * v->C ? weight_row_at(o, m + 16) - run.a : 0;
    } else
        weight_strip(o, m, s, steps);
    tile_products_turned[v->planes](&run);
}

/* A square of sums turned where it is. */
static void weight_turn(float *sums)
{
    for (int64_t i = 0; i < T_SIDE; i++)
        for (int64_t j = 0; j < i; j++) {
            const float sum = sums[i * T_SIDE + j];
            sums[i * T_SIDE + j] = sums[j * T_SIDE + i];
            sums[j * T_SIDE + i] = sum;
        }
}

/* Sizes of a band: some blocks of an image, or several small images whose blocks are one run of tiles; 0 if nothing fits. */
static int weight_sizes(tile_weight *o)
{
    const conv_shape *v = o->v;
    const int64_t x_nbytes = weight_x_nbytes(v), dy = o->panels * v->planes * T_STEP;
    const int64_t blocks = conv_max(1, conv_blocks(v));
    o->steps = at_most(blocks, CONV_STEPS);
    while (o->steps > 0 && (weight_image_nbytes(v, o->steps) > x_nbytes || o->steps * dy > WEIGHT_DY_NBYTES))
        o->steps = o->steps > 8 ? o->steps * 3 / 4 : o->steps - 1;
    o->pairs = weight_pairs(v, o->steps);
    o->image = weight_image_nbytes(v, o->steps);
    o->images = 1;
    while (o->steps == blocks && (o->images + 1) * o->steps <= WEIGHT_RUN && (o->images + 1) * o->image <= x_nbytes &&
           (o->images + 1) * o->steps * dy <= WEIGHT_DY_NBYTES)
        o->images++;
    return o->steps > 0;
}

/* Images [n, n + images), blocks from f on. */
static void weight_band(const nn_call *c, const tile_weight *o, float *sums, int64_t unit, int64_t units, int64_t n, int64_t f,
                        int resume)
{
    const conv_shape *v = o->v;
    for (int64_t i = 0; i < o->images; i++)
        weight_planes[v->planes](o, i, (const float *)c->arg[1] + (n + i) * v->H * v->W * v->C,
                                 (const float *)c->arg[2] + (n + i) * v->P * v->Q * v->K, f * BF16_BLOCK);
    const int64_t blocks = o->images * o->steps;
    for (int64_t s = 0; s < blocks; s += WEIGHT_RUN, resume = 1)
        for (int64_t u = 0; u < units; u++)
            weight_unit(o, unit + u, sums + u * T_SIDE * T_SIDE, s, at_most(WEIGHT_RUN, blocks - s), resume);
}

static void weight_chain(const nn_call *c, const conv_shape *v, float *sums, int64_t unit, int64_t units, int64_t n, int64_t end)
{
    tile_weight o = {.v = v, .panel = weight_panel(v, unit), .x = c->team->scratch + weight_sums_nbytes(v)};
    o.panels = weight_panel(v, unit + units - 1) - o.panel + 1;
    o.dy = o.x + weight_x_nbytes(v);
    o.strip = o.dy + WEIGHT_DY_NBYTES;
    weight_sizes(&o);
    const int64_t blocks = conv_blocks(v), band = o.steps, begin = n;
    if (n >= end || blocks == 0) {
        memset(sums, 0, (size_t)(units * T_SIDE * T_SIDE) * sizeof(float));
        return;
    }
    for (; n < end; n += o.images) {
        o.images = at_most(o.images, end - n);
        for (int64_t f = 0; f < blocks; f += band) {
            o.steps = at_most(band, blocks - f);
            weight_band(c, &o, sums, unit, units, n, f, n > begin || f > 0);
        }
    }
    for (int64_t u = 0; u < units; u++)
        weight_turn(sums + u * T_SIDE * T_SIDE);
}

static void tile_conv_bwd_weight(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t fit = weight_sums_nbytes(&v) / (conv_levels(&v) * T_SIDE * T_SIDE * (int64_t)sizeof(float));
    tile_weight largest = {.v = &v, .panels = at_most(conv_panels(&v), fit / conv_strips(&v) + 2)};
    if (fit < 1 || !weight_sizes(&largest)) { /* too large for the scratch: the same bits, slowly */
        c->set->bf16.conv_bwd_weight(c, begin, end);
        return;
    }
    tiles_open();
    for (int64_t units; begin < end; begin += units) {
        units = at_most(end - begin, fit);
        conv_units(c, &v, weight_chain, (float *)(void *)c->team->scratch, begin, units);
    }
    _tile_release();
}
