/* mix.c - what augmentation does to values rather than to places, and the standardisation behind it.
 *
 *   standardise   y[r,j] = (x[r,j] - mean[j]) scale[j]            what gather.c does, bit for bit
 *   erase         y = x but for one rectangle of some samples     Zhong, Zheng, Kang, Li, Yang 2020, algorithm 1
 *   noise         y = x + sigma N(0, 1)
 *   mix_draw      share[r] of Beta(alpha, alpha), partner[r]      Zhang, Cisse, Dauphin, Lopez-Paz 2018, eq. 1
 *   mix_rows      y[r] = share[r] x[r] + (1 - share[r]) x[partner[r]]: of images and, with the same draw, of their targets
 *   cutmix        y[r] = x[r] but for one rectangle, which is x[partner[r]]'s; share[r] = 1 - its area
 *                                                                 Yun, Han, Oh, Chun, Choe, Yoo 2019, section 3.1
 * Shapes: images (N, H, W, C), rows (N, D), share (N) real, partner (N) i32, mean and scale of D or 1 elements. In standardise,
 * erase and noise y may alias x. Random numbers: by seed, epoch and position as in augment.c; u is uniform53 of two words.
 *
 * erase: with probability p a rectangle of area s H W, s uniform in [low, high], and height : width = aspect^(1 - 2 u), so that
 *   upright and lying ones are alike; sides rounded and cut to the image, its place uniform among those inside (Zhong draws
 *   again until it fits). fill 0: zeros; 1: mean; 2: uniform in [0, full), anew for each value.
 * noise: Box and Muller as in init.c, computed in double: elements 2 i and 2 i + 1 of a sample come from block i.
 * mix_draw: from u, v by Devroye 1996, "Random variate generation in one line of code", theorem 4: with t = (u^(-1/alpha) - 1)
 *   cos^2(2 pi v), 1/2 +- 1/2 / sqrt(1 + 1/t) is exactly Beta(alpha, alpha), without rejection. The sign is always +: a pair
 *   mixed the other way round is the partner's own (fastai's habit), so a sample's label stays the likeliest one.
 *   The partner is any row of the same shard, itself included: the one place where a sample meets others of its batch.
 * cutmix: the sides are sqrt(1 - share) of the image's, rounded, and share then what is really left.
 * Hazard: a partner outside the step faults with NN_ERR_RANGE (row, partner).
 * Errors: shares are rounded once; mix_rows errs by 2 u (|share x| + |(1 - share) x'|), 1 - share being exact. */
#ifdef NN_PASS_LIST
NN_OP(standardise, STANDARDISE)
NN_OP(erase, ERASE)
NN_OP_DRIVEN(noise, NOISE)
NN_OP_DRIVEN(mix_draw, MIX_DRAW)
NN_OP(mix_rows, MIX_ROWS)
NN_OP(cutmix, CUTMIX)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL) || defined(NN_PASS_DRIVER)
typedef double mix_fn(double);
typedef double mix_fn2(double, double);

/* The share that row r keeps of itself. */
static inline double mix_share(const nn_call *c, int64_t r, double alpha, mix_fn2 *power, mix_fn *cosine)
{
    uint32_t w[4];
    augment_draw(w, c, r, AUGMENT_MIX, 0);
    double q = power(uniform53(w[0], w[1]), -1 / alpha) - 1, a = cosine(0x1.921fb54442d18p2 * uniform53(w[2], w[3]));
    return 0.5 + 0.5 / __builtin_sqrt(1 + 1 / (q * a * a));
}

/* Whom row r is mixed with, a row of its shard; w: two more words, for the place of a rectangle. */
static inline int32_t mix_partner(const nn_call *c, int64_t r, int64_t N, int64_t shards, uint32_t w[4])
{
    int64_t group = N / shards;
    augment_draw(w, c, r, AUGMENT_MIX, 1);
    return (int32_t)(r / group * group + augment_choice(w[0], group));
}
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL)
typedef struct mix_box {
    int64_t top, left, height, width;
} mix_box;

/* The nearest whole number of pixels, 0 to most. */
static inline int64_t mix_side(double side, int64_t most) { return side + 0.5 < (double)most ? (int64_t)(side + 0.5) : most; }

/* The rectangle to erase in row r; of no height for most rows if p is small. */
static inline mix_box erase_box(const nn_call *c, int64_t r, mix_fn2 *power)
{
    uint32_t w[4], z[4];
    int64_t H = c->dim[1], W = c->dim[2];
    augment_draw(w, c, r, AUGMENT_ERASE, 0);
    if (!(uniform53(w[0], w[1]) < c->scalar[0]))
        return (mix_box){0, 0, 0, 0};
    augment_draw(z, c, r, AUGMENT_ERASE, 1);
    double area = (double)(H * W) * (c->scalar[1] + (c->scalar[2] - c->scalar[1]) * uniform53(w[2], w[3]));
    double aspect = power(c->scalar[3], 1 - 2 * uniform53(z[0], z[1]));
    mix_box b = {0, 0, mix_side(__builtin_sqrt(area * aspect), H), mix_side(__builtin_sqrt(area / aspect), W)};
    b.height += b.height == 0;
    b.width += b.width == 0;
    b.top = augment_choice(z[2], H - b.height + 1);
    b.left = augment_choice(z[3], W - b.width + 1);
    return b;
}

static inline mix_box cutmix_box(const nn_call *c, double share, const uint32_t w[4])
{
    double side = __builtin_sqrt(1 - share);
    mix_box b = {0, 0, mix_side(side * (double)c->dim[1], c->dim[1]), mix_side(side * (double)c->dim[2], c->dim[2])};
    b.top = augment_choice(w[1], c->dim[1] - b.height + 1);
    b.left = augment_choice(w[2], c->dim[2] - b.width + 1);
    return b;
}

static inline int mix_partner_ok(const nn_call *c, int64_t r, int64_t partner)
{
    if (partner >= 0 && partner < c->dim[0])
        return 1;
    nn_raise(c, NN_ERR_RANGE, r, (double)partner);
    return 0;
}
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void standardise(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], *mean = c->arg[2], *scale = c->arg[3];
    int64_t d = c->dim[1], step = c->dim[2] == 1 ? 0 : 1;
    for (int64_t i = 0; i < c->dim[0] * d; i++)
        y[i] = (x[i] - mean[i % d * step]) * scale[i % d * step];
}

static int ref_inside(mix_box b, int64_t i, int64_t j)
{
    return i >= b.top && i < b.top + b.height && j >= b.left && j < b.left + b.width;
}

static void erase(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], *mean = c->arg[2];
    int64_t W = c->dim[2], C = c->dim[3], size = c->dim[1] * W * C, fill = c->dim[5];
    for (int64_t r = 0; r < c->dim[0]; r++) {
        mix_box b = erase_box(c, r, nn_pow64);
        for (int64_t e = 0; e < size; e++) {
            uint32_t w[4];
            augment_draw(w, c, r, AUGMENT_FILL, (uint32_t)(e / 4));
            real drawn = (real)(w[e % 4] >> 8) * (real)0x1p-24 * (real)c->scalar[4];
            real other = fill == 0 ? 0 : fill == 1 ? mean[c->dim[4] == 1 ? 0 : e] : drawn;
            y[r * size + e] = ref_inside(b, e / C / W, e / C % W) ? other : x[r * size + e];
        }
    }
}

static void noise(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    int64_t d = c->dim[1];
    for (int64_t i = 0; i < c->dim[0] * d; i++) {
        uint32_t w[4];
        augment_draw(w, c, i / d, AUGMENT_NOISE, (uint32_t)(i % d / 2));
        double radius = __builtin_sqrt(-2 * nn_log64(uniform53(w[0], w[1]))), angle = 0x1.921fb54442d18p2 * uniform53(w[2], w[3]);
        y[i] = (real)((double)x[i] + c->scalar[0] * radius * (i % d % 2 ? nn_sin64(angle) : nn_cos64(angle)));
    }
}

static void mix_draw(const nn_call *c)
{
    for (int64_t r = 0; r < c->dim[0]; r++) {
        uint32_t w[4];
        ((real *)c->arg[0])[r] = (real)mix_share(c, r, c->scalar[0], nn_pow64, nn_cos64);
        ((int32_t *)c->arg[1])[r] = mix_partner(c, r, c->dim[0], c->dim[1], w);
    }
}

static void mix_rows(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], *share = c->arg[2];
    const int32_t *partner = c->arg[3];
    int64_t d = c->dim[1];
    for (int64_t r = 0; r < c->dim[0] && mix_partner_ok(c, r, partner[r]); r++)
        for (int64_t j = 0; j < d; j++)
            y[r * d + j] = v_fma(share[r], x[r * d + j], (1 - share[r]) * x[partner[r] * d + j]);
}

static void cutmix(const nn_call *c)
{
    real *y = c->arg[0], *share = c->arg[1];
    int32_t *partner = c->arg[2];
    const real *x = c->arg[3];
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], size = H * W * C;
    for (int64_t r = 0; r < c->dim[0]; r++) {
        uint32_t w[4];
        partner[r] = mix_partner(c, r, c->dim[0], c->dim[4], w);
        mix_box b = cutmix_box(c, mix_share(c, r, c->scalar[0], nn_pow64, nn_cos64), w);
        share[r] = (real)(1 - (double)(b.height * b.width) / (double)(H * W));
        for (int64_t e = 0; e < size; e++)
            y[r * size + e] = x[(ref_inside(b, e / C / W, e / C % W) ? partner[r] : r) * size + e];
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "mix_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(standardise, STANDARDISE)
NN_DRIVE_ROWS(erase, ERASE)
NN_DRIVE_ROWS(mix_rows, MIX_ROWS)
NN_DRIVE_ROWS(cutmix, CUTMIX)

static void noise_row(const nn_call *c, int64_t r)
{
    const nn_numbers how = {c->run->seed, augment_index(c, r), augment_stream(AUGMENT_NOISE), NN_NUMBERS_NORMAL,
                            NN_STORED_DOUBLE, 1};
    double z[NN_NUMBERS], sigma = c->scalar[0];
    int64_t d = c->dim[1];
    for (int64_t j = 0; j < d; j += NN_NUMBERS) {
        const int64_t n = d - j < NN_NUMBERS ? d - j : NN_NUMBERS;
        c->math->numbers(z, &how, j, j + n);
        for (int64_t i = r * d + j, l = 0; l < n; l++) {
            if (c->is_double)
                ((double *)c->arg[0])[i + l] = ((const double *)c->arg[1])[i + l] + sigma * z[l];
            else
                ((float *)c->arg[0])[i + l] = (float)((double)((const float *)c->arg[1])[i + l] + sigma * z[l]);
        }
    }
}

static void noise(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 1, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        noise_row(c, r);
}

static void mix_draw(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 16, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        uint32_t w[4];
        double share = mix_share(c, r, c->scalar[0], c->math->pow, c->math->cos);
        if (c->is_double)
            ((double *)c->arg[0])[r] = share;
        else
            ((float *)c->arg[0])[r] = (float)share;
        ((int32_t *)c->arg[1])[r] = mix_partner(c, r, c->dim[0], c->dim[1], w);
    }
}
#endif
