/* augment.c - other views of the same image: shifted, mirrored, turned, stretched, bent. Applied to the raw values of a step.
 *
 *   warp            y[i,j] = x at the place (sy, sx), all transformations composed into that one mapping:
 *                     (vx, vy) = inverse of rotation, shear and scaling, applied to (j - cx - tx, i - cy - ty)
 *                     sx = cx + flip vx + dx[i,j],   sy = cy + vy + dy[i,j],   (cy, cx) = ((H - 1) / 2, (W - 1) / 2)
 *                   a place between pixels is interpolated bilinearly; everything outside the image is 0
 *   elastic_field   (dy, dx) = alpha G_sigma * U,   U[i,j] uniform in (-1, 1), 0 outside the image, for both components
 *
 * Elastic: Simard, Steinkraus, Platt 2003, section 2, with a Gaussian of sum 1 cut at 3 sigma (they normalise the field in a
 * way the paper leaves open; this is the form alpha = 36, sigma = 6 of Ciresan, Meier, Gambardella, Schmidhuber 2010 is used
 * with). Rotation, horizontal shear and two scalings are Ciresan's, 2010, section 3. With k = tan(shear) and y downwards,
 * seen counter-clockwise:  vx = ((cos a - k sin a) u - (sin a + k cos a) v) / zx,  vy = (sin a u + cos a v) / zy.
 *
 * Shapes: x, y (N, H, W, C), d (N, 2, H, W), dy before dx, or absent. Nothing aliases. H W <= 2^22.
 * dims of warp: N H W C shift crop flip; scalars rotate scale shear. Drawn for each sample, uniformly:
 *   tx, ty      whole pixels of [-shift, shift] each, plus as many of [-crop, crop]: padding by `crop` zeros and cutting out
 *               H x W at random is a shift. shift = -1: one of none, up, down, left, right by one pixel (the lectures')
 *   flip        left and right exchanged with probability 1/2
 *   rotate, shear in degrees: an angle of [-rotate, rotate];   zx, zy of [1 - scale, 1 + scale] each
 * Without rotation, scaling, shear and d every value is copied, whatever it is; else NaN and infinities of one pixel spread
 * to those computed from it.
 *
 * Random numbers depend on (seed, epoch, position of the sample in the epoch, kind, number) alone; row r of the step has the
 * position p = cursor + r. A draw is a word of the Philox block, or two,
 *
 *   (block, index = p + epoch 2^40, stream = NN_STREAM_AUGMENT + 2^8 kind),   p < 2^40, epoch < 2^24
 *
 * kind WARP: block 0 shift y, x, crop y, x; 1 flip; 2 rotate, shear; 3 scale y, x: a word w chooses floor(n w / 2^32) of n, and
 * two are uniform53 of random.h. Kind FIELD: element e of (2, H, W) is word e mod 4 of block e / 4: the number
 * (2 (w >> 9) + 1 - 2^23) 2^-23, exact in either real type.
 * Errors: sines, cosines and the six coefficients of the mapping are computed in double and rounded once; sx and sy take two
 * fma each, so a place is wrong by at most (2 |a| W + 3 |b| H + 3 |o|) u pixels, a value by that times the steepest step
 * between neighbours, and 4 u of the largest. The field is gamma_(2 R + 2) alpha exact, R = floor(3 sigma) + 1. */
#ifdef NN_PASS_LIST
NN_OP(warp, WARP)
NN_OP(elastic_field, ELASTIC_FIELD)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL) || defined(NN_PASS_DRIVER)
/* What a draw is for; the random numbers of mix.c too. */
typedef enum augment_kind {
    AUGMENT_WARP = 0, AUGMENT_FIELD = 1, AUGMENT_ERASE = 2, AUGMENT_FILL = 3, AUGMENT_NOISE = 4, AUGMENT_MIX = 5
} augment_kind;

static inline uint32_t augment_stream(augment_kind kind) { return NN_STREAM_AUGMENT | (uint32_t)kind << 8; }

static inline uint64_t augment_index(const nn_call *c, int64_t row)
{
    return (uint64_t)(c->run->cursor + row) + ((uint64_t)c->run->epoch << 40);
}

static inline void augment_draw(uint32_t word[4], const nn_call *c, int64_t row, augment_kind kind, uint32_t block)
{
    philox_block(word, c->run->seed, augment_stream(kind), augment_index(c, row), block);
}

/* One of n, from 0. */
static inline int64_t augment_choice(uint32_t word, int64_t n) { return (int64_t)((uint64_t)word * (uint64_t)n >> 32); }
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL)
/* The mapping of one sample: sx = xj j + xi i + x0, sy = yj j + yi i + y0, and its whole numbers. */
typedef struct warp_map {
    real xj, xi, x0, yj, yi, y0;
    int64_t ty, tx;
    int flip;
} warp_map;

typedef double warp_fn(double);

static inline int warp_copies(const nn_call *c)
{
    return !c->arg[2] && c->scalar[0] == 0 && c->scalar[1] == 0 && c->scalar[2] == 0;
}

static inline void warp_shift(const nn_call *c, int64_t row, warp_map *m)
{
    uint32_t w[4];
    int64_t shift = c->dim[4], crop = c->dim[5];
    augment_draw(w, c, row, AUGMENT_WARP, 0);
    if (shift < 0) {
        int64_t way = augment_choice(w[0], 5);
        m->ty = (way == 2) - (way == 1);
        m->tx = (way == 4) - (way == 3);
    } else {
        m->ty = augment_choice(w[0], 2 * shift + 1) - shift;
        m->tx = augment_choice(w[1], 2 * shift + 1) - shift;
    }
    m->ty += augment_choice(w[2], 2 * crop + 1) - crop;
    m->tx += augment_choice(w[3], 2 * crop + 1) - crop;
    m->flip = 0;
    if (c->dim[6]) {
        augment_draw(w, c, row, AUGMENT_WARP, 1);
        m->flip = augment_choice(w[0], 2) == 1;
    }
}

static inline void warp_draw(const nn_call *c, int64_t row, warp_map *m, warp_fn *sine, warp_fn *cosine)
{
    warp_shift(c, row, m);
    uint32_t w[4], z[4];
    augment_draw(w, c, row, AUGMENT_WARP, 2);
    augment_draw(z, c, row, AUGMENT_WARP, 3);
    const double degree = 0x1.1df46a2529d39p-6; /* pi / 180 */
    double angle = degree * c->scalar[0] * (2 * uniform53(w[0], w[1]) - 1);
    double shear = degree * c->scalar[2] * (2 * uniform53(w[2], w[3]) - 1);
    double zy = 1 + c->scalar[1] * (2 * uniform53(z[0], z[1]) - 1), zx = 1 + c->scalar[1] * (2 * uniform53(z[2], z[3]) - 1);
    double sa = sine(angle), ca = cosine(angle), k = sine(shear) / cosine(shear), mirror = m->flip ? -1 : 1;
    double xj = mirror * (ca - k * sa) / zx, xi = -mirror * (sa + k * ca) / zx, yj = sa / zy, yi = ca / zy;
    double cy = 0.5 * (double)(c->dim[1] - 1), cx = 0.5 * (double)(c->dim[2] - 1);
    double u = cx + (double)m->tx, v = cy + (double)m->ty;
    m->xj = (real)xj, m->xi = (real)xi, m->x0 = (real)(cx - (xj * u + xi * v));
    m->yj = (real)yj, m->yi = (real)yi, m->y0 = (real)(cy - (yj * u + yi * v));
}
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static real ref_pixel(const nn_call *c, int64_t row, int64_t i, int64_t j, int64_t k)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3];
    return i < 0 || i >= H || j < 0 || j >= W ? 0 : ((const real *)c->arg[1])[((row * H + i) * W + j) * C + k];
}

static int64_t ref_floor(real s)
{
    int64_t n = (int64_t)s; /* towards 0 */
    return (real)n > s ? n - 1 : n;
}

static real ref_between(const nn_call *c, int64_t row, real sy, real sx, int64_t k)
{
    int64_t i = ref_floor(sy), j = ref_floor(sx);
    real fx = sx - (real)j, fy = sy - (real)i;
    real a = ref_pixel(c, row, i, j, k), b = ref_pixel(c, row, i, j + 1, k);
    real p = ref_pixel(c, row, i + 1, j, k), q = ref_pixel(c, row, i + 1, j + 1, k);
    real top = v_fma(fx, b - a, a), bottom = v_fma(fx, q - p, p);
    return v_fma(fy, bottom - top, top);
}

static real ref_clamp(real s, int64_t size) { return s > -1 ? s < (real)size ? s : (real)size : -1; }

static void warp(const nn_call *c)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3];
    real *y = c->arg[0];
    const real *d = c->arg[2];
    for (int64_t row = 0; row < c->dim[0]; row++) {
        warp_map m;
        warp_draw(c, row, &m, nn_sin64, nn_cos64);
        for (int64_t i = 0; i < H; i++)
            for (int64_t j = 0; j < W; j++, y += C) {
                real sx = v_fma(m.xj, (real)j, v_fma(m.xi, (real)i, m.x0));
                real sy = v_fma(m.yj, (real)j, v_fma(m.yi, (real)i, m.y0));
                if (d) {
                    sy += d[(row * 2 * H + i) * W + j];
                    sx += d[((row * 2 + 1) * H + i) * W + j];
                }
                int64_t from = j - m.tx;
                for (int64_t k = 0; k < C; k++)
                    y[k] = warp_copies(c) ? ref_pixel(c, row, i - m.ty, m.flip ? W - 1 - from : from, k)
                                          : ref_between(c, row, ref_clamp(sy, H), ref_clamp(sx, W), k);
            }
    }
}

static real ref_bell(int64_t t, double sigma) { return (real)nn_exp64(-0.5 * (double)(t * t) / (sigma * sigma)); }

static real ref_uniform(const nn_call *c, int64_t row, int64_t e)
{
    uint32_t w[4];
    augment_draw(w, c, row, AUGMENT_FIELD, (uint32_t)(e / 4));
    return (real)(2 * (int32_t)(w[e % 4] >> 9) + 1 - (1 << 23)) * (real)0x1p-23;
}

static void elastic_field(const nn_call *c)
{
    int64_t H = c->dim[1], W = c->dim[2];
    real *d = c->arg[0];
    double alpha = c->scalar[0], sigma = c->scalar[1], all = 0;
    int64_t reach = (int64_t)(3 * sigma) + 1;
    for (int64_t t = -reach; t <= reach; t++)
        all += nn_exp64(-0.5 * (double)(t * t) / (sigma * sigma));
    for (int64_t e = 0; e < c->dim[0] * 2 * H * W; e++) {
        int64_t row = e / (2 * H * W), plane = e / (H * W) % 2, i = e / W % H, j = e % W;
        real sum = 0;
        for (int64_t p = 0; p < H; p++)
            for (int64_t q = 0; q < W && p >= i - reach && p <= i + reach; q++)
                if (q >= j - reach && q <= j + reach)
                    sum += ref_bell(p - i, sigma) * ref_bell(q - j, sigma) * ref_uniform(c, row, (plane * H + p) * W + q);
        d[e] = (real)(alpha / (all * all)) * sum;
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "augment_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(warp, WARP)
NN_DRIVE_ROWS(elastic_field, ELASTIC_FIELD)
#endif
