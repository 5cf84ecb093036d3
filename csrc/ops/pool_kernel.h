/* pool_kernel.h - the loops of pool.c, upsample.c: over windows, over the elements that windows cover; then channels.
 *
 * A block of channels is a vector, the last one masked. What happens to it is a constant function inlined into the loops;
 * the loops over taps are compiled for windows of 2 x 2, of 3 x 3, and for any size (gcc unrolls the first two). */

/* Channels [j, j + n) of a pixel: n = VW and full, or the masked tail. */
typedef struct channels {
    int64_t j, n;
    vmask m;
    int full;
} channels;

/* One window's part inside the image. */
typedef struct pool_window {
    real *image;  /* its first tap, channel 0 */
    int64_t row;  /* elements from an image row to the next */
    int64_t C;    /* and from a column */
    int64_t tap, S; /* number of the first tap; that of a tap one row below is larger by S */
    int64_t y;    /* the window's element in y, channel 0 */
} pool_window;

typedef void window_fn(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k);

V_INLINE vreal c_load(const real *p, channels k) { return row_load(p + k.j, k.m, k.full); }
V_INLINE void c_store(real *p, channels k, vreal v) { row_store(p + k.j, k.m, k.full, v); }

/* y = 0 over n elements. */
static void pool_zero(real *y, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(y + i, v_zero());
    if (i < n)
        v_store_m(y + i, v_tail(n - i), v_zero());
}

V_INLINE void window_channels(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, window_fn *f)
{
    int64_t j = 0;
    const vmask all = v_tail(VW);
    for (; j + VW <= w->C; j += VW)
        f(c, w, rows, columns, (channels){j, VW, all, 1});
    if (j < w->C)
        f(c, w, rows, columns, (channels){j, w->C - j, v_tail(w->C - j), 0});
}

/* Rows [t, end) of windows, counted through all images. `fill`: image is written, f writes the windows, and the gaps to
 * the right of a window and below a row of windows are zeroed here. */
V_INLINE void each_window(const nn_call *c, const pool *g, real *x, int64_t t, int64_t end, window_fn *f, int fill)
{
    for (; t < end; t++) {
        const int64_t p = t % g->P, row = g->W * g->C;
        real *image = x + t / g->P * g->H * row;
        const pool_span h = pool_covers(p, g->sh, g->ph, g->R, g->H);
        for (int64_t q = 0; q < g->Q; q++) {
            const pool_span v = pool_covers(q, g->sw, g->pw, g->S, g->W);
            const int64_t rows = h.end - h.begin, columns = v.end - v.begin;
            const pool_window w = {image + h.begin * row + v.begin * g->C, row, g->C,
                                   (h.begin - p * g->sh + g->ph) * g->S + v.begin - q * g->sw + g->pw, g->S,
                                   (t * g->Q + q) * g->C};
            if (rows == 2 && columns == 2)
                window_channels(c, &w, 2, 2, f);
            else if (rows == 3 && columns == 3)
                window_channels(c, &w, 3, 3, f);
            else
                window_channels(c, &w, rows, columns, f);
            const int64_t gap = (q + 1 < g->Q ? (q + 1) * g->sw - g->pw : g->W) - v.end;
            for (int64_t i = h.begin; fill && gap > 0 && i < h.end; i++)
                pool_zero(image + i * row + v.end * g->C, gap * g->C);
        }
        if (fill) {
            const int64_t next = p + 1 < g->P ? (p + 1) * g->sh - g->ph : g->H;
            pool_zero(image + h.end * row, (next - h.end) * row);
        }
    }
}

/* What a window adds to the sum of one of its elements: y its element in y, tap which of its taps, n taps inside the
 * image. Returns the sum with the term added. */
typedef vreal cover_fn(const nn_call *c, const pool *g, vreal sum, int64_t y, int64_t tap, int64_t n, channels k);

V_INLINE vreal cover_sum(const nn_call *c, const pool *g, int64_t t, int64_t column, pool_span p, pool_span q, channels k,
                         cover_fn *f)
{
    const int64_t h = t % g->H;
    vreal sum = v_zero();
    for (int64_t i = p.begin; i < p.end; i++) {
        const pool_span rows = pool_covers(i, g->sh, g->ph, g->R, g->H);
        const int64_t y = (t / g->H * g->P + i) * g->Q, tap = (h + g->ph - i * g->sh) * g->S + column + g->pw;
        for (int64_t j = q.begin; j < q.end; j++) {
            const pool_span columns = pool_covers(j, g->sw, g->pw, g->S, g->W);
            sum = f(c, g, sum, (y + j) * g->C, tap - j * g->sw, (rows.end - rows.begin) * (columns.end - columns.begin), k);
        }
    }
    return sum;
}

/* dx at `at`: the sum over windows p, q, times x if x; an element in no window gets 0 whatever x is. */
V_INLINE void cover_channels(const nn_call *c, const pool *g, real *dx, const real *x, int64_t t, int64_t w, pool_span p,
                             pool_span q, channels k, cover_fn *f)
{
    const int64_t at = (t * g->W + w) * g->C;
    vreal sum = cover_sum(c, g, t, w, p, q, k, f);
    if (x && p.begin < p.end && q.begin < q.end)
        sum = v_mul(sum, c_load(x + at, k));
    c_store(dx + at, k, sum);
}

/* Rows [t, end) of the images. */
V_INLINE void each_covered(const nn_call *c, const pool *g, real *dx, const real *x, int64_t t, int64_t end, cover_fn *f)
{
    const vmask all = v_tail(VW), tail = v_tail(g->C % VW);
    for (; t < end; t++) {
        const int64_t h = t % g->H + g->ph, first = h - g->R < 0 ? 0 : (h - g->R) / g->sh + 1, last = h / g->sh + 1;
        const pool_span p = {first, last < g->P ? last : g->P};
        pool_span q = {0, 0};
        for (int64_t w = 0; w < g->W; w++) {
            while (q.end < g->Q && q.end * g->sw - g->pw <= w)
                q.end++;
            while (q.begin < q.end && q.begin * g->sw - g->pw + g->S <= w)
                q.begin++;
            int64_t j = 0;
            for (; j + VW <= g->C; j += VW)
                cover_channels(c, g, dx, x, t, w, p, q, (channels){j, VW, all, 1}, f);
            if (j < g->C)
                cover_channels(c, g, dx, x, t, w, p, q, (channels){j, g->C - j, tail, 0}, f);
        }
    }
}

/* ---- maximum --------------------------------------------------------------------------------------------------- */

V_INLINE int index_is_byte(const nn_call *c) { return c->dim[4] * c->dim[5] <= POOL_BYTE_TAPS; }

V_INLINE void index_store(const nn_call *c, int64_t y, channels k, vint taps)
{
    if (index_is_byte(c)) {
        uint8_t *p = (uint8_t *)c->arg[1] + y + k.j;
        if (k.full)
            v_store_u8(p, taps);
        else
            v_store_u8_m(p, k.n, taps);
    } else {
        real lane[VW];
        v_store(lane, v_fromint(taps));
        for (int64_t i = 0; i < k.n; i++)
            ((int32_t *)c->arg[1])[y + k.j + i] = (int32_t)lane[i];
    }
}

/* Indices as reals: a tap's number is far below 2^24. */
V_INLINE vreal index_load(const nn_call *c, int64_t y, channels k)
{
    if (index_is_byte(c)) {
        const uint8_t *p = (const uint8_t *)c->arg[2] + y + k.j;
        return k.full ? v_load_u8(p) : v_load_u8_m(p, k.n);
    }
    real lane[VW] = {0};
    for (int64_t i = 0; i < k.n; i++)
        lane[i] = (real)((const int32_t *)c->arg[2])[y + k.j + i];
    return v_load(lane);
}

/* The maximum where a NaN is in the window: the first NaN stays. */
V_INLINE void max_with_nan(const pool_window *w, int64_t rows, int64_t columns, channels k, vreal *best, vint *taps)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            vreal v = c_load(w->image + r * w->row + s * w->C, k);
            vmask more = m_and(m_not(v_le(v, *best)), v_eq(*best, *best));
            *best = v_select(more, v, *best);
            *taps = vi_select(more, vi_set1((lane_int)(w->tap + r * w->S + s)), *taps);
        }
}

/* Comparing alone would step over a NaN. The sum of the taps is NaN if one is (or if infinities cancel): one addition a
 * tap and one look at the end, where looking at each tap would take three operations. */
V_INLINE void max_window(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    vreal best = c_load(w->image, k), sum = best;
    const vint start = vi_set1((lane_int)w->tap);
    vint taps = start;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            if (r + s == 0)
                continue;
            vreal v = c_load(w->image + r * w->row + s * w->C, k);
            vmask more = v_gt(v, best);
            best = v_select(more, v, best);
            taps = vi_select(more, vi_set1((lane_int)(w->tap + r * w->S + s)), taps);
            sum = v_add(sum, v);
        }
    if (m_any(v_isnan(sum))) {
        best = c_load(w->image, k);
        taps = start;
        max_with_nan(w, rows, columns, k, &best, &taps);
    }
    c_store((real *)c->arg[0] + w->y, k, best);
    index_store(c, w->y, k, taps);
}

V_INLINE void max_window_back(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal dy = v_add(v_zero(), c_load((const real *)c->arg[1] + w->y, k)), index = index_load(c, w->y, k);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            c_store(w->image + r * w->row + s * w->C, k,
                    v_select(v_eq(index, v_set1((real)(w->tap + r * w->S + s))), dy, v_zero()));
}

V_INLINE vreal max_cover(const nn_call *c, const pool *g, vreal sum, int64_t y, int64_t tap, int64_t n, channels k)
{
    const vreal dy = c_load((const real *)c->arg[1] + y, k);
    (void)g, (void)n;
    return v_select(v_eq(index_load(c, y, k), v_set1((real)tap)), v_add(sum, dy), sum);
}

static void max_pool_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    each_window(c, &g, c->arg[2], t, end, max_window, 0);
}

static void max_pool_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    if (pool_is_disjoint(&g))
        each_window(c, &g, c->arg[0], t, end, max_window_back, 1);
    else
        each_covered(c, &g, c->arg[0], NULL, t, end, max_cover);
}

/* ---- average --------------------------------------------------------------------------------------------------- */

V_INLINE vreal window_sum(const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    vreal sum = c_load(w->image, k);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            if (r + s)
                sum = v_add(sum, c_load(w->image + r * w->row + s * w->C, k));
    return sum;
}

V_INLINE void window_fill(const pool_window *w, int64_t rows, int64_t columns, channels k, vreal v)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            c_store(w->image + r * w->row + s * w->C, k, v);
}

V_INLINE vreal share(int64_t n) { return v_set1((real)(1.0 / (double)n)); }

V_INLINE void avg_window(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    c_store((real *)c->arg[0] + w->y, k, v_mul(share(rows * columns), window_sum(w, rows, columns, k)));
}

V_INLINE void avg_window_back(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal dy = c_load((const real *)c->arg[1] + w->y, k);
    window_fill(w, rows, columns, k, v_fma(share(rows * columns), dy, v_zero()));
}

V_INLINE vreal avg_cover(const nn_call *c, const pool *g, vreal sum, int64_t y, int64_t tap, int64_t n, channels k)
{
    (void)g, (void)tap;
    return v_fma(share(n), c_load((const real *)c->arg[1] + y, k), sum);
}

static void avg_pool_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    each_window(c, &g, c->arg[1], t, end, avg_window, 0);
}

static void avg_pool_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    if (pool_is_disjoint(&g))
        each_window(c, &g, c->arg[0], t, end, avg_window_back, 1);
    else
        each_covered(c, &g, c->arg[0], NULL, t, end, avg_cover);
}

/* ---- Euclidean norm -------------------------------------------------------------------------------------------- */

V_INLINE void l2_window(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    vreal sum = v_zero();
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            vreal v = c_load(w->image + r * w->row + s * w->C, k);
            sum = v_fma(v, v, sum);
        }
    c_store((real *)c->arg[0] + w->y, k, v_sqrt(sum));
}

/* dy / y, 0 where y = 0. */
V_INLINE vreal l2_ratio(const nn_call *c, int64_t y, channels k)
{
    const vreal dy = c_load((const real *)c->arg[1] + y, k), root = c_load((const real *)c->arg[3] + y, k);
    return v_select(v_eq(root, v_zero()), v_zero(), v_div(dy, root));
}

V_INLINE void l2_window_back(const nn_call *c, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal ratio = v_add(v_zero(), l2_ratio(c, w->y, k));
    const real *x = (const real *)c->arg[2] + (w->image - (real *)c->arg[0]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            const int64_t at = r * w->row + s * w->C;
            c_store(w->image + at, k, v_mul(ratio, c_load(x + at, k)));
        }
}

V_INLINE vreal l2_cover(const nn_call *c, const pool *g, vreal sum, int64_t y, int64_t tap, int64_t n, channels k)
{
    (void)g, (void)tap, (void)n;
    return v_add(sum, l2_ratio(c, y, k));
}

static void l2_pool_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    each_window(c, &g, c->arg[1], t, end, l2_window, 0);
}

static void l2_pool_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = pool_sizes(c);
    if (pool_is_disjoint(&g))
        each_window(c, &g, c->arg[0], t, end, l2_window_back, 1);
    else
        each_covered(c, &g, c->arg[0], c->arg[2], t, end, l2_cover);
}
