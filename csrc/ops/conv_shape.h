#pragma once
/* conv_shape.h - what all ways of computing a convolution share: its sizes, and how an axis of the output sees the input. */

/* The dims of all three ops; `last` is act or shards. */
typedef struct conv_shape {
    int64_t N, H, W, C, R, S, K, P, Q, sh, sw, pt, pl, dh, dw, G, last;
    int64_t planes; /* of bfloat16, 0 in math mode f32 and wherever there are groups (G > 1) */
} conv_shape;
_Static_assert(sizeof(conv_shape) <= NN_MAX_DIMS * sizeof(int64_t), "the dims must hold it");

static inline conv_shape conv_shape_of(const nn_call *c)
{
    const int64_t *d = c->dim;
    return (conv_shape){d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15],
                        d[16], c->is_double || d[15] > 1 ? 0 : d[17]};
}

enum {
    CONV_GROUP = 8,  /* images of one chain of the weight gradient */
    CONV_LOW = 7,    /* rows of the tiles that watch the border or are depthwise, at most */
    CONV_CHAIN_ROWS = 6, /* and of those with chains in the lanes */
    CONV_WINDOW = 3, /* taps a side of the window that has kernels of its own where there is one input channel */
    CONV_TURN = 8,   /* multiply-adds that could be done while an element is turned into the lanes */
    CONV_TURNED = 1 << 18 /* elements of x and dy with chains in the lanes, at most: a megabyte of L2 */
};

/* One axis of the output: place j, in [begin, end), is output index out0 + j out_step and sees, through its tap t in
 * [0, taps), input index in0 + j in_step + t in_tap by the kernel's row (or column) tap0 + t tap_step. */
typedef struct conv_axis {
    int64_t out0, out_step, in0, in_step, in_tap, in_size, taps, tap0, tap_step, begin, end;
} conv_axis;

static inline int64_t conv_ceil(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }
static inline int64_t conv_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* Backward: output o = phase + j stride, input (o + pad - r dilation) / stride for the kernel rows r that divide; these are
 * tap0, tap0 + tap_step, ..., and the input falls as they rise. */
static inline conv_axis conv_axis_bwd(int64_t size, int64_t taps, int64_t stride, int64_t pad, int64_t dilation, int64_t phase,
                               int64_t begin, int64_t end)
{
    int64_t step = 1, tap0 = 0;
    while (step * dilation % stride)
        step++;
    while (tap0 < step && (phase + pad - tap0 * dilation) % stride)
        tap0++;
    int64_t count = tap0 < step && tap0 < taps ? (taps - tap0 + step - 1) / step : 0;
    return (conv_axis){phase, stride, count ? (phase + pad - tap0 * dilation) / stride : 0, 1, -(step * dilation / stride),
                       size, count, tap0, step, conv_ceil(begin - phase, stride), conv_ceil(end - phase, stride)};
}

/* The axes of phase (i, j) of a pass backward, or of the only one forward; rows [p, p_end) of the output. */
static inline void conv_axes(const conv_shape *v, int backward, int64_t i, int64_t j, int64_t p, int64_t p_end, conv_axis *rows,
                             conv_axis *columns)
{
    *rows = backward ? conv_axis_bwd(v->P, v->R, v->sh, v->pt, v->dh, i, p, p_end)
                     : (conv_axis){0, 1, -v->pt, v->sh, v->dh, v->H, v->R, 0, 1, p, p_end};
    *columns = backward ? conv_axis_bwd(v->Q, v->S, v->sw, v->pl, v->dw, j, 0, v->W)
                        : (conv_axis){0, 1, -v->pl, v->sw, v->dw, v->W, v->S, 0, 1, 0, v->Q};
}

/* ---- math modes bf16, bf16x3, bf16x6 ----------------------------------------------------------------------------
 * Blocks of 32 terms (bf16.h). Forward they count through (r, s, c), backward through (r, s, k) of the taps that hit the
 * place's phase; a tap outside the image is a term, 0. For the weights they count through an image's output places f, row
 * after row at a pitch that leaves room for the taps beyond the last column; dy is 0 there. */

static inline int64_t conv_pitch(const conv_shape *v) { return v->Q + (v->S - 1) * v->dw / v->sw; }

/* How far tap (r, s) lies from f in places of its phase. */
static inline int64_t conv_reach(const conv_shape *v, int64_t r, int64_t s)
{
    return r * v->dh / v->sh * conv_pitch(v) + s * v->dw / v->sw;
}

/* The input pixel at place `at` of the phase of tap (r, s), -1 outside the image. */
static inline int64_t conv_pixel_at(const conv_shape *v, int64_t r, int64_t s, int64_t at)
{
    const int64_t pitch = conv_pitch(v), i = at / pitch * v->sh + r * v->dh % v->sh - v->pt;
    const int64_t j = at % pitch * v->sw + s * v->dw % v->sw - v->pl;
    return i >= 0 && i < v->H && j >= 0 && j < v->W ? i * v->W + j : -1;
}

/* The output pixel at place f, -1 between rows and behind the last. */
static inline int64_t conv_place_at(const conv_shape *v, int64_t f)
{
    const int64_t pitch = conv_pitch(v);
    return f < v->P * pitch && f % pitch < v->Q ? f / pitch * v->Q + f % pitch : -1;
}

/* Blocks of terms of an image. */
static inline int64_t conv_blocks(const conv_shape *v) { return (v->P * conv_pitch(v) + 31) / 32; }

/* A unit of the weights: 32 rows (r, s, c) by 32 output channels. */
enum { CONV_SIDE = 32 };
static inline int64_t conv_strips(const conv_shape *v) { return (v->R * v->S * v->C + CONV_SIDE - 1) / CONV_SIDE; }
static inline int64_t conv_panels(const conv_shape *v) { return (v->K + CONV_SIDE - 1) / CONV_SIDE; }

/* Sums of units [unit, unit + units) over images [n, end), 32 x 32 each, one after the other: one chain. */
typedef void conv_chain_fn(const nn_call *c, const conv_shape *v, float *sums, int64_t unit, int64_t units, int64_t n,
                           int64_t end);

/* dw of units: a chain for every eight images, chains combined as they come by the binary counter of tree_sum. */
static inline void conv_units(const nn_call *c, const conv_shape *v, conv_chain_fn *chain, float *sums, int64_t unit,
                              int64_t units)
{
    const int64_t images = v->N / v->last, chains = conv_max(1, (images + CONV_GROUP - 1) / CONV_GROUP);
    const int64_t side = CONV_SIDE * CONV_SIDE, level = units * side, rows = v->R * v->S * v->C, strips = conv_strips(v);
    for (int64_t z = 0; z < v->last; z++) {
        int64_t depth = 0;
        for (int64_t g = 0; g < chains; g++, depth++) {
            const int64_t n = z * images + g * CONV_GROUP, end = (z + 1) * images;
            chain(c, v, sums + depth * level, unit, units, n, n + CONV_GROUP < end ? n + CONV_GROUP : end);
            for (int64_t bit = 1; g & bit; bit *= 2, depth--)
                for (int64_t i = 0; i < level; i++)
                    sums[(depth - 1) * level + i] += sums[depth * level + i];
        }
        for (; depth > 1; depth--)
            for (int64_t i = 0; i < level; i++)
                sums[(depth - 2) * level + i] += sums[(depth - 1) * level + i];
        float *dw = (float *)c->arg[0] + z * rows * v->K;
        for (int64_t u = 0; u < units; u++) {
            const int64_t m = (unit + u) % strips * CONV_SIDE, k = (unit + u) / strips * CONV_SIDE;
            for (int64_t i = 0; i < CONV_SIDE && m + i < rows; i++)
                for (int64_t j = 0; j < CONV_SIDE && k + j < v->K; j++)
                    dw[(m + i) * v->K + k + j] = sums[u * side + i * CONV_SIDE + j];
        }
    }
}

/* Levels of sums that conv_units keeps. */
static inline int64_t conv_levels(const conv_shape *v)
{
    int64_t levels = 1;
    for (int64_t chains = (v->N / v->last + CONV_GROUP - 1) / CONV_GROUP; chains >> levels;)
        levels++;
    return levels;
}
