/* conv.c - two-dimensional convolution (cross-correlation), its data gradient, its weight gradient.
 *
 *   conv_fwd         y (N, P, Q, K)  = act(sum_{r,s,c} x[n, p sh - pt + r dh, q sw - pl + s dw, c] w[r,s,c,k] + b[k])
 *   conv_bwd_data    dx (N, H, W, C) = act(sum_{r,s,k} dy[n,p,q,k] w[r,s,c,k] + b[c]) over the p, q, r, s with
 *                                      h = p sh - pt + r dh and w = q sw - pl + s dw
 *   conv_bwd_weight  dw (shards, R, S, C/G, K): dw[z,r,s,c,k] = sum_{n,p,q} x[n, p sh - pt + r dh, ...] dy[n,p,q,k]
 *
 * Shapes: x (N, H, W, C), w (R, S, C/G, K), y and dy (N, P, Q, K); b optional. Strides sh sw, padding pt pl at the top and
 * the left - at the bottom and the right it is what P and Q ask for -, dilations dh dw, G groups: channel k of the output
 * sees the C/G input channels of its group alone. Source: Dumoulin and Visin 2016, arXiv 1603.07285; Goodfellow, Bengio,
 * Courville 2016, eq. 9.7 and 9.11 to 9.13. A transposed convolution is conv_bwd_data read forwards, hence its b and act.
 * Outputs alias no input.
 *
 * Numerics (numerics.md R11): forward ONE fma chain an output over (r, s, c) ascending from +0; backward-data the same
 * over (r, s, k); weights one chain for every eight images (n, p, q ascending), these in tree_sum's binary tree. A tap
 * that falls outside the image is no term: skipped, not multiplied by 0. The bias is added once, last, then act.
 * Error: gamma_T sum |terms|, T the number of terms, and u |y| for the bias; weights gamma_(T8 + ceil(log2 (N / 8))), T8
 * the terms of eight images (Higham 2002, eq. 3.5 and 4.6).
 * Math modes bf16, bf16x3, bf16x6: blocks of 32 terms (bf16.h, conv_shape.h); where there are groups f32 is used all the same.
 * What is hard is the border. No patch matrix and no padded copy is made: places of the output whose valid taps are the
 * same make a rectangle, and the register tile runs over that (conv_kernel.h, conv_weight_kernel.h). Layers of few channels
 * put images or chains in the lanes (conv_image_kernel.h); a first layer keeps its weights in registers
 * (conv_window_kernel.h).
 * Threads own whole outputs, rows of y and dx, tiles of dw; or branches of the tree of images, which are added at the end.
 * A 1x1 convolution of stride 1 is the matrix product it is.
 */
#ifdef NN_PASS_LIST
NN_OP(conv_fwd, CONV_FWD)
NN_OP(conv_bwd_data, CONV_BWD_DATA)
NN_OP(conv_bwd_weight, CONV_BWD_WEIGHT)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL) || defined(NN_PASS_DRIVER)
#include <string.h>

#include "conv_shape.h"
#endif

#if defined(NN_PASS_KERNEL) || defined(NN_PASS_DRIVER)
/* How the weights of a layer are cut into units: tiles of at most mr rows by nr output channels. The rows of a strip are
 * the channels of one tap or, if flat, of a row of taps, which lie side by side in x as they do in w. */
typedef struct conv_weight_plan {
    int flat, across; /* across: depthwise; a row is a tap, its channels stand in the lanes */
    int lanes;        /* chains stand in the lanes, and an output channel is a vector */
    int window;       /* one input channel under 3 x 3 taps: one strip of one block */
    int64_t strips, rows, blocks, groups, nr, panels, units; /* rows of a strip, blocks of rows, panels of a group */
} conv_weight_plan;

/* Whether chains in the lanes pay, in multiply-adds an image: lanes that idle without against turning x and dy with it. */
static inline int conv_lanes_suit(const conv_shape *v, int64_t vw)
{
    const int64_t chains = v->N / v->last / CONV_GROUP, lanes = (chains + vw - 1) / vw * vw, terms = v->R * v->S * v->C;
    const int64_t pixels = v->P * v->Q, size = v->H * v->W * v->C + pixels * v->K, vectors = (v->K + vw - 1) / vw;
    const int64_t here = lanes * (pixels * terms * v->K + CONV_TURN * size), there = chains * pixels * terms * vectors * vw;
    return vw > 1 && v->G == 1 && v->K < 4 * vw && chains > 0 && v->N % (v->last * CONV_GROUP) == 0 &&
           size * vw <= CONV_TURNED && (vectors == 1 ? 8 * here < 9 * there : 9 * here < 8 * there);
}

/* Flat strips fill tiles better; but where columns are padded, a tile of several taps has to watch every border pixel. */
static inline conv_weight_plan conv_plan_weight(const conv_shape *v, int64_t mr, int64_t nr)
{
    int inside = v->pl == 0 && (v->Q - 1) * v->sw + v->S <= v->W;
    conv_weight_plan u = {.across = v->G == v->C && v->G == v->K && v->G > 1, .lanes = conv_lanes_suit(v, nr / 2)};
    u.flat = v->dw == 1 && v->S > 1 && (u.across || (v->G == 1 && (inside || v->C < 6)));
    u.window = !u.lanes && u.flat && nr > 2 && v->C == 1 && v->R == CONV_WINDOW && v->S == CONV_WINDOW;
    u.strips = u.flat ? v->R : v->R * v->S;
    u.rows = (u.flat ? v->S : 1) * (v->C / v->G);
    if ((u.across || (u.flat && !inside)) && mr > CONV_LOW)
        mr = CONV_LOW;
    if (u.lanes) {
        nr = mr > CONV_CHAIN_ROWS ? 4 : 2; /* registers for 24 sums or 12 */
        mr = CONV_CHAIN_ROWS;
    }
    if (u.window) {
        nr /= 2;
        u.strips = 1;
        u.rows = mr = v->R * v->S;
    }
    u.nr = nr;
    u.groups = u.across ? 1 : v->G;
    u.blocks = (u.rows + mr - 1) / mr;
    u.panels = (v->K / u.groups + nr - 1) / nr;
    u.units = u.groups * u.panels * u.strips * u.blocks;
    return u;
}
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void conv_fwd(const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t C = v.C / v.G, K = v.K / v.G;
    real *y = c->arg[0];
    const real *x = c->arg[1], *w = c->arg[2], *b = c->arg[3];
    for (int64_t o = 0; o < v.N * v.P * v.Q * v.K; o++) {
        int64_t k = o % v.K, q = o / v.K % v.Q, p = o / v.K / v.Q % v.P, n = o / v.K / v.Q / v.P;
        ref_sum sum = ref_sum_of(v.planes);
        for (int64_t r = 0; r < v.R; r++)
            for (int64_t s = 0; s < v.S; s++) {
                int64_t i = p * v.sh - v.pt + r * v.dh, j = q * v.sw - v.pl + s * v.dw;
                int inside = i >= 0 && i < v.H && j >= 0 && j < v.W;
                for (int64_t a = 0; a < C && (inside || v.planes); a++)
                    ref_term(&sum, inside ? x[((n * v.H + i) * v.W + j) * v.C + k / K * C + a] : 0,
                             w[((r * v.S + s) * C + a) * v.K + k]);
            }
        real total = ref_total(&sum);
        y[o] = b ? total + b[k] : total;
    }
    ref_activate(c, y, v.N * v.P * v.Q * v.K, v.last);
}

static void conv_bwd_data(const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t C = v.C / v.G, K = v.K / v.G;
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *w = c->arg[2], *b = c->arg[3];
    for (int64_t o = 0; o < v.N * v.H * v.W * v.C; o++) {
        int64_t a = o % v.C, j = o / v.C % v.W, i = o / v.C / v.W % v.H, n = o / v.C / v.W / v.H;
        ref_sum sum = ref_sum_of(v.planes);
        for (int64_t r = 0; r < v.R; r++)
            for (int64_t s = 0; s < v.S; s++) {
                int64_t p = i + v.pt - r * v.dh, q = j + v.pl - s * v.dw;
                int inside = p >= 0 && q >= 0 && p / v.sh < v.P && q / v.sw < v.Q;
                if (p % v.sh || q % v.sw || !(inside || v.planes))
                    continue;
                const real *row = inside ? dy + ((n * v.P + p / v.sh) * v.Q + q / v.sw) * v.K + a / C * K : NULL;
                for (int64_t k = 0; k < K; k++)
                    ref_term(&sum, row ? row[k] : 0, w[((r * v.S + s) * C + a % C) * v.K + a / C * K + k]);
            }
        real total = ref_total(&sum);
        dx[o] = b ? total + b[a] : total;
    }
    ref_activate(c, dx, v.N * v.H * v.W * v.C, v.last);
}

/* One weight's sum over images [n, end): a chain for at most eight, else the tree of reduce.c over such chains. */
static real conv_weight(const nn_call *c, const conv_shape *v, int64_t o, int64_t n, int64_t end)
{
    if (end - n > CONV_GROUP) {
        int64_t half = CONV_GROUP;
        while (2 * half < end - n)
            half *= 2;
        return conv_weight(c, v, o, n, n + half) + conv_weight(c, v, o, n + half, end);
    }
    const int64_t C = v->C / v->G, k = o % v->K, a = o / v->K % C, s = o / v->K / C % v->S, r = o / v->K / C / v->S;
    const real *x = c->arg[1], *dy = c->arg[2];
    ref_sum sum = ref_sum_of(v->planes);
    for (; n < end && v->planes; n++)
        for (int64_t f = 0; f < 32 * conv_blocks(v); f++) {
            int64_t pixel = conv_pixel_at(v, r, s, f + conv_reach(v, r, s)), place = conv_place_at(v, f);
            ref_term(&sum, pixel < 0 ? 0 : x[(n * v->H * v->W + pixel) * v->C + a],
                     place < 0 ? 0 : dy[(n * v->P * v->Q + place) * v->K + k]);
        }
    for (; n < end; n++)
        for (int64_t p = 0; p < v->P; p++)
            for (int64_t q = 0; q < v->Q; q++) {
                int64_t i = p * v->sh - v->pt + r * v->dh, j = q * v->sw - v->pl + s * v->dw;
                if (i >= 0 && i < v->H && j >= 0 && j < v->W)
                    ref_term(&sum, x[((n * v->H + i) * v->W + j) * v->C + k / (v->K / v->G) * C + a],
                             dy[((n * v->P + p) * v->Q + q) * v->K + k]);
            }
    return ref_total(&sum);
}

static void conv_bwd_weight(const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t count = v.R * v.S * (v.C / v.G) * v.K, rows = v.N / v.last;
    for (int64_t o = 0; o < count * v.last; o++)
        ((real *)c->arg[0])[o] = conv_weight(c, &v, o % count, o / count * rows, (o / count + 1) * rows);
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "conv_kernel.h"
#include "conv_image_kernel.h"
#include "conv_window_kernel.h"
#include "conv_gather_kernel.h"
#include "conv_weight_kernel.h"
#if !NN_REAL_IS_DOUBLE
#include "conv_bf16_kernel.h"
#endif
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
/* Whether it is a matrix product of pixels by channels: the chain over (r, s, c) is then that over c. */
static int conv_is_product(const conv_shape *v)
{
    return v->R == 1 && v->S == 1 && v->sh == 1 && v->sw == 1 && v->pt == 0 && v->pl == 0 && v->G == 1 && v->P == v->H &&
           v->Q == v->W;
}

static void conv_product(const nn_call *c, const conv_shape *v, int64_t inputs, int64_t outputs, int64_t rsb, int64_t csb)
{
    nn_gemm_args g = {.m = v->N * v->H * v->W, .n = outputs, .k = inputs, .a = c->arg[1], .rsa = inputs, .csa = 1,
                      .b = c->arg[2], .rsb = rsb, .csb = csb, .c = c->arg[0], .rsc = outputs, .bias = c->arg[3],
                      .act = v->last < 0 ? NULL : nn_kernel_of(c, v->last), .scalar = c->scalar,
                      .planes = v->planes};
    gemm_team(c->team, c->set, c->bf16, g, c->is_double ? 8 : 4);
}

/* A kernel over this rank's part of n images, or of n units of the weights. */
static void conv_drive(const nn_call *c, nn_range_fn *kernel, int64_t n)
{
    int64_t begin, end;
    nn_team_split(c->team, n, 1, &begin, &end);
    if (begin < end)
        kernel(c, begin, end);
}

static void conv_fwd(const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    if (conv_is_product(&v))
        conv_product(c, &v, v.C, v.K, v.K, 1);
    else if (v.planes)
        conv_drive(c, c->bf16->conv_fwd, v.N);
    else
        nn_drive_range(c, NN_OP_CONV_FWD, v.N * v.P, 1);
}

static void conv_bwd_data(const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    if (conv_is_product(&v))
        conv_product(c, &v, v.K, v.C, 1, v.K);
    else if (v.planes)
        conv_drive(c, c->bf16->conv_bwd_data, v.N);
    else
        nn_drive_range(c, NN_OP_CONV_BWD_DATA, v.N * v.H, 1);
}

/* Whether each rank takes a part of the images, so that all of them together read x and dy once: parts that are whole branches of
 * the tree of sums, whose lanes are full where chains stand in them, and whose weights the shared memory holds. */
static int conv_parts_images(const nn_call *c, const conv_shape *v, int64_t nbytes)
{
    const int lanes = !v->planes && conv_plan_weight(v, c->set->mr, c->set->nr).lanes;
    const int64_t size = c->team->size, group = CONV_GROUP * (lanes ? c->set->nr / 2 : 1), chains = v->N / size / group;
    return size > 1 && v->last == 1 && chains > 0 && v->N == chains * size * group &&
           (chains & (chains - 1)) == 0 && (size & (size - 1)) == 0 && size * nbytes <= NN_SHARED_NBYTES;
}

/* The `count` weights of this rank's part v of the images, and then of all parts this rank's share of their sum. */
static void conv_weight_by_images(const nn_call *c, const conv_shape *v, nn_range_fn *kernel, int64_t count, int64_t units)
{
    const int64_t nbytes = c->is_double ? 8 : 4, rank = c->team->rank, image = rank * v->N;
    int64_t dim[NN_MAX_DIMS], sum_dim[] = {count, c->team->size};
    void *arg[] = {c->team->shared + rank * count * nbytes, (char *)c->arg[1] + image * v->H * v->W * v->C * nbytes,
                   (char *)c->arg[2] + image * v->P * v->Q * v->K * nbytes};
    void *sum_arg[] = {c->arg[0], c->team->shared};
    nn_call own = *c, sum = *c;
    memcpy(dim, c->dim, sizeof dim);
    dim[0] = v->N;
    own.dim = dim;
    own.arg = arg;
    sum.dim = sum_dim;
    sum.arg = sum_arg;
    kernel(&own, 0, units);
    nn_team_barrier(c->team, &c->fault->code);
    nn_drive_range(&sum, NN_OP_TREE_SUM, count, NN_GRAIN);
}

static void conv_bwd_weight(const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t count = v.R * v.S * (v.C / v.G) * v.K;
    const int by_images = conv_parts_images(c, &v, count * (c->is_double ? 8 : 4));
    nn_range_fn *kernel = v.planes ? c->bf16->conv_bwd_weight : nn_kernel_of(c, NN_OP_CONV_BWD_WEIGHT);
    conv_shape part = v; /* what a rank computes */
    part.N = by_images ? v.N / c->team->size : v.N;
    const int64_t units =
        v.planes ? conv_strips(&part) * conv_panels(&part) : conv_plan_weight(&part, c->set->mr, c->set->nr).units;
    if (by_images)
        conv_weight_by_images(c, &part, kernel, count, units);
    else
        conv_drive(c, kernel, units);
}
#endif
