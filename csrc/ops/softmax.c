/* softmax.c - softmax and its logarithm, row by row.
 *
 *   softmax_fwd       y = exp(x - m) / s,  m = max_j x_j,  s = sum_j exp(x_j - m)      Bishop 2006, 4.62
 *   softmax_bwd       dx = y (dy - sum_j dy_j y_j)
 *   log_softmax_fwd   y = x - m - log s
 *   log_softmax_bwd   dx = dy - exp(y) sum_j dy_j
 *
 * Shapes: all (N, C). y may be x, dx may be dy. A row's bits depend on that row alone (numerics.md R14).
 * What is hard: exp overflows, so the maximum is subtracted first; the division-free exp(x - log s) would lose
 * |log s| u (numerics.md E4b), so softmax divides. Sums follow R3: element j to lane j mod 16, tree 8-4-2-1, chunks of
 * 4096 pairwise by index.
 * Not finite: -inf is a masked logit and gets probability 0; a row with +inf or NaN, or of -inf alone, is all NaN (a
 * NaN loses every comparison for the maximum, then enters the sum). Rows of no columns are left alone.
 * Error with R = max - min of the row: relative to y (C + 2 R + 2 E + 2) u for softmax, E the ulps of v_exp; absolute
 * (2 R + C + E + E |log s| + |y|) u for log_softmax; the backward sums gamma_C sum |terms|. Derivations: bench/cases.
 * Called by: graph nodes; loss.c uses the row maximum and sum. Rows of at most 16 columns go in blocks: row_block.h.
 */
#ifdef NN_PASS_LIST
NN_OP(softmax_fwd, SOFTMAX_FWD)
NN_OP(softmax_bwd, SOFTMAX_BWD)
NN_OP(log_softmax_fwd, LOG_SOFTMAX_FWD)
NN_OP(log_softmax_bwd, LOG_SOFTMAX_BWD)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static real ref_row_max(const real *x, int64_t C)
{
    real m = x[0];
    for (int64_t j = 1; j < C; j++)
        if (x[j] > m)
            m = x[j];
    return m;
}

static void softmax_fwd(const nn_call *c)
{
    const int64_t C = c->dim[1];
    for (int64_t i = 0; i < c->dim[0] && C; i++) {
        real *y = (real *)c->arg[0] + i * C;
        const real *x = (const real *)c->arg[1] + i * C, m = ref_row_max(x, C);
        real sum = 0;
        for (int64_t j = 0; j < C; j++) {
            y[j] = (real)nn_exp64(x[j] - m);
            sum += y[j];
        }
        for (int64_t j = 0; j < C; j++)
            y[j] = y[j] / sum;
    }
}

static void softmax_bwd(const nn_call *c)
{
    const int64_t C = c->dim[1];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *dx = (real *)c->arg[0] + i * C;
        const real *dy = (const real *)c->arg[1] + i * C, *y = (const real *)c->arg[2] + i * C;
        real sum = 0;
        for (int64_t j = 0; j < C; j++)
            sum += dy[j] * y[j];
        for (int64_t j = 0; j < C; j++)
            dx[j] = y[j] * (dy[j] - sum);
    }
}

static void log_softmax_fwd(const nn_call *c)
{
    const int64_t C = c->dim[1];
    for (int64_t i = 0; i < c->dim[0] && C; i++) {
        real *y = (real *)c->arg[0] + i * C;
        const real *x = (const real *)c->arg[1] + i * C, m = ref_row_max(x, C);
        real sum = 0;
        for (int64_t j = 0; j < C; j++)
            sum += (real)nn_exp64(x[j] - m);
        for (int64_t j = 0; j < C; j++)
            y[j] = x[j] - m - (real)nn_log64(sum);
    }
}

static void log_softmax_bwd(const nn_call *c)
{
    const int64_t C = c->dim[1];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *dx = (real *)c->arg[0] + i * C;
        const real *dy = (const real *)c->arg[1] + i * C, *y = (const real *)c->arg[2] + i * C;
        real sum = 0;
        for (int64_t j = 0; j < C; j++)
            sum += dy[j];
        for (int64_t j = 0; j < C; j++)
            dx[j] = dy[j] - (real)nn_exp64(y[j]) * sum;
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "row_block.h"

/* A pass over a row: what it reads, writes and needs. As in elementwise.c the formula is a constant function. */
typedef struct row_pass {
    const real *a, *b, *c, *d; /* inputs */
    real *y;                   /* output, or NULL */
    vreal k[4];                /* constants */
} row_pass;

/* Takes the vector at j: stores what the pass stores and returns `lanes`, the sums of these lanes so far, with its
 * terms added. Lanes outside m are not of the row: they must not be stored, what is returned for them is dropped. */
typedef vreal row_fn(const row_pass *p, int64_t j, vmask m, int full, vreal lanes);

V_INLINE vreal row_load(const real *x, vmask m, int full) { return full ? v_load(x) : v_load_like(x, m); }
V_INLINE void row_store(real *y, vmask m, int full, vreal v)
{
    if (full)
        v_store(y, v);
    else
        v_store_m(y, m, v);
}

/* Lanes of the chunk [j, end), from `start`: +0 for sums, -inf for maxima. */
V_INLINE vsum16 row_lanes(const row_pass *p, int64_t j, int64_t end, row_fn *f, vreal start)
{
    vsum16 s;
    const vmask all = v_tail(VW);
    for (int b = 0; b < V_BLOCKS; b++)
        s.v[b] = start;
    for (; j + 16 <= end; j += 16)
        for (int b = 0; b < V_BLOCKS; b++)
            s.v[b] = f(p, j + b * VW, all, 1, s.v[b]);
    for (int b = 0; b < V_BLOCKS && j + b * VW < end; b++) {
        vmask m = s16_tail(b, end - j);
        s.v[b] = v_select(m, f(p, j + b * VW, m, 0, s.v[b]), s.v[b]);
    }
    return s;
}

/* The sum of a row of C in R3's order. */
V_INLINE real row_sum(const row_pass *p, int64_t C, row_fn *f)
{
    if (C <= SUM_CHUNK) {
        vsum16 s = row_lanes(p, 0, C, f, v_zero());
        return s16_total(&s);
    }
    pairwise total;
    total.count = total.depth = 0;
    for (int64_t j = 0; j < C; j += SUM_CHUNK) {
        vsum16 s = row_lanes(p, j, C - j < SUM_CHUNK ? C : j + SUM_CHUNK, f, v_zero());
        pairwise_push(&total, s16_total(&s));
    }
    return pairwise_total(&total);
}

V_INLINE vreal take_max(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    return v_max(row_load(p->a + j, m, full), lanes); /* a NaN loses: v_max gives its second operand */
}

/* The maximum of a row, -inf if it is empty; NaN ignored. Which of two zeros is left to the (fixed) order. */
V_INLINE real row_max(const real *x, int64_t C)
{
    const row_pass p = {.a = x};
    const real nothing = -(real)__builtin_inf();
    vsum16 s = row_lanes(&p, 0, C, take_max, v_set1(nothing));
    real lane[16];
    for (int b = 0; b < V_BLOCKS; b++)
        v_store(lane + b * VW, s.v[b]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] = lane[i + half] > lane[i] ? lane[i + half] : lane[i];
    return lane[0];
}

V_INLINE real log1(real x)
{
    real lane[VW];
    v_store(lane, v_log(v_set1(x)));
    return lane[0];
}

/* y = exp(x - m), summed. k = m */
V_INLINE vreal exp_shifted(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal e = v_exp(v_sub(row_load(p->a + j, m, full), p->k[0]));
    row_store(p->y + j, m, full, e);
    return v_add(lanes, e);
}

/* y = x - m, the sum that of exp(y). k = m */
V_INLINE vreal shift_and_exp(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal d = v_sub(row_load(p->a + j, m, full), p->k[0]);
    row_store(p->y + j, m, full, d);
    return v_add(lanes, v_exp(d));
}

V_INLINE vreal dot(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    return v_fma(row_load(p->a + j, m, full), row_load(p->b + j, m, full), lanes);
}

V_INLINE vreal plain(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    return v_add(lanes, row_load(p->a + j, m, full));
}

/* Elementwise over a row, in the loops of elementwise.c. */
V_INLINE vreal divide_v(vreal e, const vreal *k) { return v_div(e, k[0]); }
V_INLINE vreal minus_v(vreal d, const vreal *k) { return v_sub(d, k[0]); }
V_INLINE vreal softmax_dx(vreal dy, vreal y, const vreal *k) { return v_mul(y, v_sub(dy, k[0])); }
V_INLINE vreal log_softmax_dx(vreal dy, vreal y, const vreal *k) { return v_fnma(v_exp(y), k[0], dy); }

static void softmax_block(real *y, const real *x, int64_t C)
{
    vreal e[BLOCK_COLUMNS];
    block_load(e, x, C);
    block_shift(e, C);
    const vreal sum = block_exp(e, e, C);
    for (int64_t j = 0; j < C; j++)
        e[j] = v_div(e[j], sum);
    block_store(y, e, C);
}

static void softmax_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    for (; block_fits(C) && i + VW <= end; i += VW)
        softmax_block((real *)c->arg[0] + i * C, (const real *)c->arg[1] + i * C, C);
    for (; i < end; i++) {
        real *y = (real *)c->arg[0] + i * C;
        const real *x = (const real *)c->arg[1] + i * C;
        const row_pass p = {.a = x, .y = y, .k = {v_set1(row_max(x, C))}};
        const vreal sum = v_set1(row_sum(&p, C, exp_shifted));
        map1(y, y, 0, C, divide_v, &sum);
    }
}

static void softmax_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    for (; i < end; i++) {
        const real *dy = (const real *)c->arg[1] + i * C, *y = (const real *)c->arg[2] + i * C;
        const row_pass p = {.a = dy, .b = y};
        const vreal sum = v_set1(row_sum(&p, C, dot));
        map2((real *)c->arg[0] + i * C, dy, y, 0, C, softmax_dx, &sum);
    }
}

static void log_softmax_block(real *y, const real *x, int64_t C)
{
    vreal d[BLOCK_COLUMNS], e[BLOCK_COLUMNS];
    block_load(d, x, C);
    block_shift(d, C);
    const vreal log_sum = v_log(block_exp(e, d, C));
    for (int64_t j = 0; j < C; j++)
        d[j] = v_sub(d[j], log_sum);
    block_store(y, d, C);
}

static void log_softmax_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    for (; block_fits(C) && i + VW <= end; i += VW)
        log_softmax_block((real *)c->arg[0] + i * C, (const real *)c->arg[1] + i * C, C);
    for (; i < end; i++) {
        real *y = (real *)c->arg[0] + i * C;
        const real *x = (const real *)c->arg[1] + i * C;
        const row_pass p = {.a = x, .y = y, .k = {v_set1(row_max(x, C))}};
        const vreal log_sum = v_set1(log1(row_sum(&p, C, shift_and_exp)));
        map1(y, y, 0, C, minus_v, &log_sum);
    }
}

static void log_softmax_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    for (; i < end; i++) {
        const real *dy = (const real *)c->arg[1] + i * C, *y = (const real *)c->arg[2] + i * C;
        const row_pass p = {.a = dy};
        const vreal sum = v_set1(row_sum(&p, C, plain));
        map2((real *)c->arg[0] + i * C, dy, y, 0, C, log_softmax_dx, &sum);
    }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(softmax_fwd, SOFTMAX_FWD)
NN_DRIVE_ROWS(softmax_bwd, SOFTMAX_BWD)
NN_DRIVE_ROWS(log_softmax_fwd, LOG_SOFTMAX_FWD)
NN_DRIVE_ROWS(log_softmax_bwd, LOG_SOFTMAX_BWD)
#endif
