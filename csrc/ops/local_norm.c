/* local_norm.c - local response normalisation: every channel is damped by its neighbours at the same place.
 *
 *   local_norm_fwd  y_c = x_c s_c^-beta,  s_c = k + alpha sum_{|j - c| <= size / 2} x_j^2      Krizhevsky et al. 2012, 3.3
 *   local_norm_bwd  dx_c = dy_c s_c^-beta - 2 alpha beta x_c sum_{|j - c| <= size / 2} dy_j x_j s_j^(-beta - 1)
 *
 * Shapes: x, y, s, dx, dy (N, C), rows being samples and pixels (NHWC); size odd, at most 2 LRN_HALF + 1; channels outside
 * [0, C) do not exist. torch divides alpha by size: its alpha is size times this one. No aliasing.
 * A row depends on that row alone (numerics.md R14). Order: the window's sum is one chain, j ascending from +0 (a channel
 * outside adds a zero), squares by fma; then s = fma(alpha, sum, k). s^-beta = exp(-beta log s) by our own functions, whatever
 * beta, for which k must be positive. Not finite: an infinite x gives NaN there and 0 around it, NaN spreads over its windows.
 * Error: relative to s (size + 3) u; to s^-beta beta times that, + E + (E + 2) beta |log s|, E u the error of exp and log.
 */
#ifdef NN_PASS_LIST
NN_OP(local_norm_fwd, LOCAL_NORM_FWD)
NN_OP(local_norm_bwd, LOCAL_NORM_BWD)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void local_norm_fwd(const nn_call *c)
{
    const int64_t C = c->dim[1], half = c->dim[2] / 2;
    const real k = (real)c->scalar[0], alpha = (real)c->scalar[1];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *y = (real *)c->arg[0] + i * C, *s = (real *)c->arg[1] + i * C;
        const real *x = (const real *)c->arg[2] + i * C;
        for (int64_t j = 0; j < C; j++) {
            real sum = 0;
            for (int64_t n = j - half; n <= j + half; n++)
                if (n >= 0 && n < C)
                    sum += x[n] * x[n];
            s[j] = k + alpha * sum;
            y[j] = x[j] * (real)nn_pow64(s[j], -c->scalar[2]);
        }
    }
}

static void local_norm_bwd(const nn_call *c)
{
    const int64_t C = c->dim[1], half = c->dim[2] / 2;
    const real factor = (real)(2 * c->scalar[1] * c->scalar[2]);
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *dx = (real *)c->arg[0] + i * C;
        const real *dy = (const real *)c->arg[1] + i * C, *x = (const real *)c->arg[2] + i * C;
        const real *s = (const real *)c->arg[3] + i * C;
        for (int64_t j = 0; j < C; j++) {
            real sum = 0;
            for (int64_t n = j - half; n <= j + half; n++)
                if (n >= 0 && n < C)
                    sum += dy[n] * x[n] * (real)nn_pow64(s[n], -c->scalar[2] - 1);
            dx[j] = dy[j] * (real)nn_pow64(s[j], -c->scalar[2]) - factor * x[j] * sum;
        }
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
enum { LRN_ROOM = 4096, LRN_HALF = 64 };

/* Rows of a tile: channels [from, from + width) with `half` neighbours on both sides, zeros where there are none. Windows are
 * unaligned loads: many rows to a tile, so that none meets a store that is still on its way. */
typedef struct lrn_tile {
    int64_t C, half, from, width, rows;
    real t[LRN_ROOM];
} lrn_tile;

typedef struct lrn_pass {
    const real *a, *b, *s; /* inputs */
    real *y, *z;           /* outputs */
    vreal k[3];            /* constants */
} lrn_pass;

/* What is summed, and what is made of the sum, for the vector at j. */
typedef vreal lrn_term_fn(const lrn_pass *p, int64_t j, vmask m, int full);
typedef void lrn_result_fn(const lrn_pass *p, int64_t j, vmask m, int full, vreal sum);

/* Row t of the tile, whose channel 0 is element `row`. */
V_INLINE void lrn_fill(const lrn_tile *tile, real *t, const lrn_pass *p, int64_t row, lrn_term_fn *f)
{
    const int64_t first = tile->from - tile->half, end = tile->from + tile->width + tile->half;
    int64_t j = first;
    for (; j < 0; j++)
        t[j - first] = 0;
    const int64_t last = end < tile->C ? end : tile->C;
    for (; j + VW <= last; j += VW)
        v_store(t + (j - first), f(p, row + j, v_tail(VW), 1));
    if (j < last) {
        const vmask m = v_tail(last - j);
        v_store_m(t + (j - first), m, f(p, row + j, m, 0));
    }
    for (j = last; j < end; j++)
        t[j - first] = 0;
}

/* The window's sum for a vector of channels, t its first neighbours. */
V_INLINE vreal lrn_sum(const real *t, int64_t half, vmask m, int full, vreal (*add)(vreal, vreal))
{
    vreal sum = v_zero();
    for (int64_t n = 0; n <= 2 * half; n++)
        sum = add(sum, row_load(t + n, m, full));
    return sum;
}

V_INLINE void lrn_results(const lrn_tile *tile, const real *t, const lrn_pass *p, int64_t row, vreal (*add)(vreal, vreal),
                          lrn_result_fn *g)
{
    int64_t j = 0;
    for (; j + VW <= tile->width; j += VW)
        g(p, row + tile->from + j, v_tail(VW), 1, lrn_sum(t + j, tile->half, v_tail(VW), 1, add));
    if (j < tile->width) {
        const vmask m = v_tail(tile->width - j);
        g(p, row + tile->from + j, m, 0, lrn_sum(t + j, tile->half, m, 0, add));
    }
}

/* Rows [i, end). */
V_INLINE void lrn_rows(const nn_call *c, const lrn_pass *p, int64_t i, int64_t end, lrn_term_fn *f, vreal (*add)(vreal, vreal),
                       lrn_result_fn *g)
{
    lrn_tile tile;
    tile.C = c->dim[1];
    tile.half = c->dim[2] / 2;
    const int64_t room = LRN_ROOM - 2 * tile.half, most = tile.C < room ? tile.C : room, stride = most + 2 * tile.half;
    for (; i < end; i += tile.rows) {
        tile.rows = end - i < LRN_ROOM / stride ? end - i : LRN_ROOM / stride;
        for (tile.from = 0; tile.from < tile.C; tile.from += most) {
            tile.width = tile.C - tile.from < most ? tile.C - tile.from : most;
            for (int pass = 0; pass < 2; pass++)
                for (int64_t r = 0; r < tile.rows; r++) {
                    if (pass == 0)
                        lrn_fill(&tile, tile.t + r * stride, p, (i + r) * tile.C, f);
                    else
                        lrn_results(&tile, tile.t + r * stride, p, (i + r) * tile.C, add, g);
                }
        }
    }
}

/* s^-beta. k[0] = -beta. Lanes outside a row have s = 0, which is not a number's power: they become 1. */
V_INLINE vreal lrn_power(const lrn_pass *p, vreal s) { return v_exp(v_mul(p->k[0], v_log(s))); }
V_INLINE vreal lrn_load_s(const real *s, vmask m, int full)
{
    return full ? v_load(s) : v_select(m, v_load_m(s, m), v_set1(1));
}


/* Forward: a = x, z = s; the constants are -beta, k, alpha. */
V_INLINE vreal lrn_value(const lrn_pass *p, int64_t j, vmask m, int full) { return row_load(p->a + j, m, full); }

V_INLINE void lrn_forward(const lrn_pass *p, int64_t j, vmask m, int full, vreal sum)
{
    const vreal s = v_fma(p->k[2], sum, p->k[1]);
    row_store(p->z + j, m, full, s);
    row_store(p->y + j, m, full, v_mul(row_load(p->a + j, m, full), lrn_power(p, s)));
}

/* Backward: a = dy, b = x; the constants are -beta, 2 alpha beta. */
V_INLINE vreal lrn_gradient_term(const lrn_pass *p, int64_t j, vmask m, int full)
{
    const vreal s = lrn_load_s(p->s + j, m, full), g = v_mul(row_load(p->a + j, m, full), row_load(p->b + j, m, full));
    return v_div(v_mul(g, lrn_power(p, s)), s);
}

V_INLINE void lrn_gradient(const lrn_pass *p, int64_t j, vmask m, int full, vreal sum)
{
    const vreal direct = v_mul(row_load(p->a + j, m, full), lrn_power(p, lrn_load_s(p->s + j, m, full)));
    row_store(p->y + j, m, full, v_fnma(v_mul(p->k[1], row_load(p->b + j, m, full)), sum, direct));
}

static void local_norm_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const lrn_pass p = {.a = c->arg[2], .y = c->arg[0], .z = c->arg[1],
                        .k = {v_set1((real)-c->scalar[2]), k_scalar(c, 0), k_scalar(c, 1)}};
    lrn_rows(c, &p, i, end, lrn_value, add_square, lrn_forward);
}

static void local_norm_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const lrn_pass p = {.a = c->arg[1], .b = c->arg[2], .s = c->arg[3], .y = c->arg[0],
                        .k = {v_set1((real)-c->scalar[2]), v_set1((real)(2 * c->scalar[1] * c->scalar[2]))}};
    lrn_rows(c, &p, i, end, lrn_gradient_term, add_plain, lrn_gradient);
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(local_norm_fwd, LOCAL_NORM_FWD)
NN_DRIVE_ROWS(local_norm_bwd, LOCAL_NORM_BWD)
#endif
