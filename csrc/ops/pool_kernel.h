/* pool_kernel.h - what pool.c does with a window, or with an element that windows cover, on a block of channels. */
#include "pool_loops.h"

/* ---- maximum --------------------------------------------------------------------------------------------------- */

V_INLINE void index_store(const pool_data *d, int64_t y, channels k, vint taps)
{
    if (d->byte) {
        uint8_t *p = (uint8_t *)d->arg[1] + y + k.j;
        if (k.full)
            v_store_u8(p, taps);
        else
            v_store_u8_m(p, k.n, taps);
    } else {
        real lane[VW];
        v_store(lane, v_fromint(taps));
        for (int64_t i = 0; i < k.n; i++)
            ((int32_t *)d->arg[1])[y + k.j + i] = (int32_t)lane[i];
    }
}

/* Indices as reals: a tap's number is far below 2^24. */
V_INLINE vreal index_load(const pool_data *d, int64_t y, channels k)
{
    if (d->byte) {
        const uint8_t *p = (const uint8_t *)d->arg[2] + y + k.j;
        return k.full ? v_load_u8(p) : v_load_u8_m(p, k.n);
    }
    real lane[VW] = {0};
    for (int64_t i = 0; i < k.n; i++)
        lane[i] = (real)((const int32_t *)d->arg[2])[y + k.j + i];
    return v_load(lane);
}

/* The maximum where a NaN is in the window: the first NaN stays. */
V_INLINE void max_with_nan(const pool_window *w, int64_t rows, int64_t columns, channels k, vreal *best, vint *taps)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            vreal v = tap_load(w->image + r * w->row + s * w->C, k);
            vmask more = m_and(m_not(v_le(v, *best)), v_eq(*best, *best));
            *best = v_select(more, v, *best);
            *taps = vi_select(more, vi_set1((lane_int)(w->tap + r * w->S + s)), *taps);
        }
}

/* Comparing alone would step over a NaN. The sum of the taps is NaN if one is (or if infinities cancel): one addition a
 * tap and one look at the end, where looking at each tap would take three operations. */
V_INLINE void max_window(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    vreal best = tap_load(w->image, k), sum = best;
    const vint start = vi_set1((lane_int)w->tap);
    vint taps = start;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            if (r + s == 0)
                continue;
            vreal v = tap_load(w->image + r * w->row + s * w->C, k);
            vmask more = v_gt(v, best);
            best = v_select(more, v, best);
            taps = vi_select(more, vi_set1((lane_int)(w->tap + r * w->S + s)), taps);
            sum = v_add(sum, v);
        }
    if (m_any(v_isnan(sum))) {
        best = tap_load(w->image, k);
        taps = start;
        max_with_nan(w, rows, columns, k, &best, &taps);
    }
    c_store((real *)d->arg[0] + w->y, k, best);
    index_store(d, w->y, k, taps);
}

V_INLINE void max_window_back(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal dy = v_add(v_zero(), c_load((const real *)d->arg[1] + w->y, k)), index = index_load(d, w->y, k);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            tap_store(w->image + r * w->row + s * w->C, k,
                      v_select(v_eq(index, v_set1((real)(w->tap + r * w->S + s))), dy, v_zero()));
}

V_INLINE vreal max_cover(const pool_data *d, vreal sum, int64_t y, int64_t tap, vreal scale, channels k)
{
    const vreal dy = c_load((const real *)d->arg[1] + y, k);
    (void)scale;
    /* -0 changes no sum, and a dy that goes elsewhere cannot overflow here */
    return v_add(sum, v_select(v_eq(index_load(d, y, k), v_set1((real)tap)), dy, v_neg(v_zero())));
}

static void max_pool_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    const pool_data byte = pool_arguments(c, 1), wide = pool_arguments(c, 0);
    if (pool_has_bytes(&g))
        each_window(&byte, &g, byte.arg[2], t, end, max_window, 0);
    else
        each_window(&wide, &g, wide.arg[2], t, end, max_window, 0);
}

static void max_pool_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    const pool_data byte = pool_arguments(c, 1), wide = pool_arguments(c, 0);
    if (pool_is_disjoint(&g) && pool_has_bytes(&g))
        each_window(&byte, &g, byte.arg[0], t, end, max_window_back, 1);
    else if (pool_is_disjoint(&g))
        each_window(&wide, &g, wide.arg[0], t, end, max_window_back, 1);
    else if (pool_has_bytes(&g))
        each_covered(&byte, &g, byte.arg[0], NULL, t, end, max_cover, 0);
    else
        each_covered(&wide, &g, wide.arg[0], NULL, t, end, max_cover, 0);
}

/* ---- average --------------------------------------------------------------------------------------------------- */

V_INLINE vreal window_sum(const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    vreal sum = tap_load(w->image, k);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            if (r + s)
                sum = v_add(sum, tap_load(w->image + r * w->row + s * w->C, k));
    return sum;
}

V_INLINE void window_fill(const pool_window *w, int64_t rows, int64_t columns, channels k, vreal v)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            tap_store(w->image + r * w->row + s * w->C, k, v);
}

V_INLINE vreal share(int64_t n) { return v_set1((real)(1.0 / (double)n)); }

V_INLINE void avg_window(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    c_store((real *)d->arg[0] + w->y, k, v_mul(share(rows * columns), window_sum(w, rows, columns, k)));
}

V_INLINE void avg_window_back(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal dy = c_load((const real *)d->arg[1] + w->y, k);
    window_fill(w, rows, columns, k, v_fma(share(rows * columns), dy, v_zero()));
}

V_INLINE vreal avg_cover(const pool_data *d, vreal sum, int64_t y, int64_t tap, vreal scale, channels k)
{
    (void)tap;
    return v_fma(scale, c_load((const real *)d->arg[1] + y, k), sum);
}

static void avg_pool_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    const pool_data d = pool_arguments(c, 0);
    each_window(&d, &g, d.arg[1], t, end, avg_window, 0);
}

static void avg_pool_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    const pool_data d = pool_arguments(c, 0);
    if (pool_is_disjoint(&g))
        each_window(&d, &g, d.arg[0], t, end, avg_window_back, 1);
    else
        each_covered(&d, &g, d.arg[0], NULL, t, end, avg_cover, 1);
}

/* ---- Euclidean norm -------------------------------------------------------------------------------------------- */

V_INLINE void l2_window(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    vreal sum = v_zero();
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            vreal v = tap_load(w->image + r * w->row + s * w->C, k);
            sum = v_fma(v, v, sum);
        }
    c_store((real *)d->arg[0] + w->y, k, v_sqrt(sum));
}

/* dy / y, 0 where y = 0. */
V_INLINE vreal l2_ratio(const pool_data *d, int64_t y, channels k)
{
    const vreal dy = c_load((const real *)d->arg[1] + y, k), root = c_load((const real *)d->arg[3] + y, k);
    const vmask none = v_eq(root, v_zero()); /* also the lanes behind the last channel: 0 / 0 would raise a flag */
    return v_select(none, v_zero(), v_div(dy, v_select(none, v_set1(1), root)));
}

V_INLINE void l2_window_back(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal ratio = v_add(v_zero(), l2_ratio(d, w->y, k));
    const real *x = (const real *)d->arg[2] + (w->image - (real *)d->arg[0]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            const int64_t at = r * w->row + s * w->C;
            tap_store(w->image + at, k, v_mul(ratio, tap_load(x + at, k)));
        }
}

V_INLINE vreal l2_cover(const pool_data *d, vreal sum, int64_t y, int64_t tap, vreal scale, channels k)
{
    (void)tap, (void)scale;
    return v_add(sum, l2_ratio(d, y, k));
}

static void l2_pool_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    const pool_data d = pool_arguments(c, 0);
    each_window(&d, &g, d.arg[1], t, end, l2_window, 0);
}

static void l2_pool_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    const pool_data d = pool_arguments(c, 0);
    if (pool_is_disjoint(&g))
        each_window(&d, &g, d.arg[0], t, end, l2_window_back, 1);
    else
        each_covered(&d, &g, d.arg[0], d.arg[2], t, end, l2_cover, 0);
}
