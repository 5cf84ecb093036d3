/* pool.c - pooling: maximum, average and Euclidean norm over windows of an image, channel by channel.
 *
 *   max_pool_fwd  y = max x[r,s],  index = the tap r S + s it came from     max_pool_bwd  dx = sum_{index = tap} dy
 *   avg_pool_fwd  y = (1 / n) sum x[r,s]                                    avg_pool_bwd  dx = sum dy / n
 *   l2_pool_fwd   y = sqrt(sum x[r,s]^2)                                    l2_pool_bwd   dx = x sum dy / y
 *
 * Sources: LeCun et al. 1998, section II.B (average); Goodfellow, Bengio, Courville 2016, section 9.3; Boureau, Ponce,
 * LeCun 2010. Window (p, q) has its first tap at row p sh - ph, column q sw - pw; what lies outside the image is left out,
 * so n counts taps inside. Shapes: x, dx (N, H, W, C), y, dy, index (N, P, Q, C), P = floor((H + 2 ph - R) / sh) + 1, Q
 * alike, ph < R, pw < S: no window is empty. Nothing aliases.
 * Definitions (numerics.md R9): of equal maxima the first tap counts, -0 equal to +0; a NaN is the maximum, and the first
 * one is the index. The L2 gradient at y = 0 is 0; every gradient of an element in no window is 0, NaN or not.
 * Order: forward one chain per output, taps (r, s) ascending: max none, average additions, L2 fma(x, x, sum). Backward one
 * chain per element of dx from +0, windows (p, q) ascending; average fma(1 / n, dy, sum), 1 / n rounded to real; L2
 * divides first and multiplies the sum by x last. Threads split rows of the image or of windows, never a chain.
 * Errors, k windows over an element: max exact, backward gamma_{k-1} sum |dy|; average gamma_{n-1} + 2 u of mean |x|,
 * backward (gamma_k + u) sum |dy| / n; L2 (gamma_n / 2 + u) y and, where squares underflow, sqrt(n) 2^-74.5 (float;
 * |x| > 1.8e19 overflows), backward (gamma_k + u) |x| sum |dy / y|.
 */
#ifdef NN_PASS_LIST
NN_OP(max_pool_fwd, MAX_POOL_FWD)
NN_OP(max_pool_bwd, MAX_POOL_BWD)
NN_OP(avg_pool_fwd, AVG_POOL_FWD)
NN_OP(avg_pool_bwd, AVG_POOL_BWD)
NN_OP(l2_pool_fwd, L2_POOL_FWD)
NN_OP(l2_pool_bwd, L2_POOL_BWD)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL) || defined(NN_PASS_DRIVER)
enum { POOL_BYTE_TAPS = 256 /* windows of so many taps have indices of one byte, larger ones i32 */ };

/* Sizes of a pooling. */
typedef struct pool {
    int64_t N, H, W, C, R, S, sh, sw, ph, pw, P, Q;
} pool;

static inline pool pool_sizes(const nn_call *c)
{
    const int64_t *d = c->dim;
    pool g = {d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], 0, 0};
    g.P = (g.H + 2 * g.ph - g.R) / g.sh + 1;
    g.Q = (g.W + 2 * g.pw - g.S) / g.sw + 1;
    return g;
}

/* Rows (or columns) [begin, end) of the image that window p covers. */
typedef struct pool_span {
    int64_t begin, end;
} pool_span;

static inline pool_span pool_covers(int64_t p, int64_t stride, int64_t padding, int64_t window, int64_t size)
{
    int64_t begin = p * stride - padding, end = begin + window;
    return (pool_span){begin < 0 ? 0 : begin, end > size ? size : end};
}

static inline int pool_has_bytes(const pool *g) { return g->R * g->S <= POOL_BYTE_TAPS; }
static inline int pool_is_disjoint(const pool *g) { return g->sh >= g->R && g->sw >= g->S; }
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
/* Every tap: its place in x, its window's in y, its number in the window, and how many taps the window has. */
typedef void ref_tap_fn(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n);

static void ref_taps(const nn_call *c, ref_tap_fn *f)
{
    pool g = pool_sizes(c);
    for (int64_t y = 0; y < g.N * g.P * g.Q * g.C; y++) {
        int64_t k = y % g.C, q = y / g.C % g.Q, p = y / g.C / g.Q % g.P, n = y / g.C / g.Q / g.P;
        pool_span h = pool_covers(p, g.sh, g.ph, g.R, g.H), w = pool_covers(q, g.sw, g.pw, g.S, g.W);
        for (int64_t i = h.begin; i < h.end; i++)
            for (int64_t j = w.begin; j < w.end; j++)
                f(c, ((n * g.H + i) * g.W + j) * g.C + k, y, (i - p * g.sh + g.ph) * g.S + j - q * g.sw + g.pw,
                  i == h.begin && j == w.begin, (h.end - h.begin) * (w.end - w.begin));
    }
}

static void ref_clear(const nn_call *c)
{
    for (int64_t i = 0; i < c->dim[0] * c->dim[1] * c->dim[2] * c->dim[3]; i++)
        ((real *)c->arg[0])[i] = 0;
}

static int64_t ref_index(const nn_call *c, const void *index, int64_t i)
{
    return c->dim[4] * c->dim[5] <= POOL_BYTE_TAPS ? ((const uint8_t *)index)[i] : ((const int32_t *)index)[i];
}

static void max_tap(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    real v = ((const real *)c->arg[2])[x], *best = (real *)c->arg[0] + y;
    (void)n;
    if (!first && (*best != *best || v <= *best))
        return;
    *best = v;
    if (c->dim[4] * c->dim[5] <= POOL_BYTE_TAPS)
        ((uint8_t *)c->arg[1])[y] = (uint8_t)tap;
    else
        ((int32_t *)c->arg[1])[y] = (int32_t)tap;
}

static void max_back(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    (void)first, (void)n;
    if (ref_index(c, c->arg[2], y) == tap)
        ((real *)c->arg[0])[x] += ((const real *)c->arg[1])[y];
}

static void sum_tap(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    real v = ((const real *)c->arg[1])[x], *sum = (real *)c->arg[0] + y;
    (void)tap, (void)n;
    *sum = first ? v : *sum + v;
}

static void avg_scale(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    (void)x, (void)tap;
    if (first)
        ((real *)c->arg[0])[y] *= (real)(1.0 / (double)n);
}

static void avg_back(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    real *dx = (real *)c->arg[0] + x;
    (void)tap, (void)first;
    *dx = v_fma((real)(1.0 / (double)n), ((const real *)c->arg[1])[y], *dx);
}

static void square_tap(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    real v = ((const real *)c->arg[1])[x], *sum = (real *)c->arg[0] + y;
    (void)tap, (void)n;
    *sum = v_fma(v, v, first ? 0 : *sum);
}

static void l2_root(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    real *root = (real *)c->arg[0] + y;
    (void)x, (void)tap, (void)n;
    if (first)
        *root = v_sqrt(*root);
}

static void l2_back(const nn_call *c, int64_t x, int64_t y, int64_t tap, int64_t first, int64_t n)
{
    real dy = ((const real *)c->arg[1])[y], root = ((const real *)c->arg[3])[y];
    (void)tap, (void)first, (void)n;
    ((real *)c->arg[0])[x] += root == 0 ? 0 : dy / root;
}

/* Whether row i of the image is in any window: in the last that begins no later. */
static int ref_is_covered(int64_t i, int64_t stride, int64_t padding, int64_t window, int64_t windows)
{
    int64_t p = (i + padding) / stride;
    return (p < windows ? p : windows - 1) * stride - padding + window > i;
}

static void max_pool_fwd(const nn_call *c) { ref_taps(c, max_tap); }
static void max_pool_bwd(const nn_call *c) { ref_clear(c), ref_taps(c, max_back); }
static void avg_pool_fwd(const nn_call *c) { ref_taps(c, sum_tap), ref_taps(c, avg_scale); }
static void avg_pool_bwd(const nn_call *c) { ref_clear(c), ref_taps(c, avg_back); }
static void l2_pool_fwd(const nn_call *c) { ref_taps(c, square_tap), ref_taps(c, l2_root); }

static void l2_pool_bwd(const nn_call *c)
{
    pool g = pool_sizes(c);
    ref_clear(c), ref_taps(c, l2_back);
    for (int64_t i = 0; i < g.N * g.H * g.W * g.C; i++)
        if (ref_is_covered(i / g.C / g.W % g.H, g.sh, g.ph, g.R, g.P) && ref_is_covered(i / g.C % g.W, g.sw, g.pw, g.S, g.Q))
            ((real *)c->arg[0])[i] *= ((const real *)c->arg[2])[i];
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "pool_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static void drive_windows(const nn_call *c, int32_t op)
{
    pool g = pool_sizes(c);
    nn_drive_range(c, op, g.N * g.P, 1);
}

/* Windows that do not overlap are taken in their rows, others in the image's. */
static void drive_back(const nn_call *c, int32_t op)
{
    pool g = pool_sizes(c);
    nn_drive_range(c, op, g.N * (pool_is_disjoint(&g) ? g.P : g.H), 1);
}

static void max_pool_fwd(const nn_call *c) { drive_windows(c, NN_OP_MAX_POOL_FWD); }
static void max_pool_bwd(const nn_call *c) { drive_back(c, NN_OP_MAX_POOL_BWD); }
static void avg_pool_fwd(const nn_call *c) { drive_windows(c, NN_OP_AVG_POOL_FWD); }
static void avg_pool_bwd(const nn_call *c) { drive_back(c, NN_OP_AVG_POOL_BWD); }
static void l2_pool_fwd(const nn_call *c) { drive_windows(c, NN_OP_L2_POOL_FWD); }
static void l2_pool_bwd(const nn_call *c) { drive_back(c, NN_OP_L2_POOL_BWD); }
#endif
