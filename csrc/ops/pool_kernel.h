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

/* The call's arguments where the compiler knows that no store changes them, and whether indices are bytes: each kernel
 * is compiled for both. */
typedef struct pool_data {
    void *arg[4];
    int byte;
} pool_data;

V_INLINE pool_data pool_arguments(const nn_call *c, int byte)
{
    return (pool_data){{c->arg[0], c->arg[1], c->arg[2], c->arg[3]}, byte};
}

/* One window's part inside the image. */
typedef struct pool_window {
    real *image;  /* its first tap, channel 0 */
    int64_t row;  /* elements from an image row to the next */
    int64_t C;    /* and from a column */
    int64_t tap, S; /* number of the first tap; that of a tap one row below is larger by S */
    int64_t y;    /* the window's element in y, channel 0 */
} pool_window;

typedef void window_fn(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k);

V_INLINE int64_t span_size(pool_span s) { return s.end - s.begin; }
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

/* `count` windows side by side, `step` elements apart, that see equally many rows and columns. */
V_INLINE void window_row(const pool_data *d, pool_window w, int64_t rows, int64_t columns, int64_t count, int64_t step,
                         window_fn *f)
{
    const vmask all = v_tail(VW), tail = v_tail(w.C % VW);
    for (; count > 0; count--, w.image += step, w.y += w.C) {
        int64_t j = 0;
        for (; j + VW <= w.C; j += VW)
            f(d, &w, rows, columns, (channels){j, VW, all, 1});
        if (j < w.C)
            f(d, &w, rows, columns, (channels){j, w.C - j, tail, 0});
    }
}

/* Columns [begin, end) of the image rows h := 0; nothing if begin >= end. */
static void zero_columns(real *image, const pool *g, pool_span h, int64_t begin, int64_t end)
{
    for (int64_t i = h.begin; i < h.end && begin < end; i++)
        pool_zero(image + (i * g->W + begin) * g->C, (end - begin) * g->C);
}

/* Rows [t, end) of windows, counted through all images: those that hang over the left edge one by one, those inside
 * together, the others one by one again. `fill`: image is written, f writes the windows, and the gaps to the right of a
 * window and below a row of windows are zeroed here. */
V_INLINE void each_window(const pool_data *d, const pool *g, real *x, int64_t t, int64_t end, window_fn *f, int fill)
{
    const int64_t row = g->W * g->C, first = (g->pw + g->sw - 1) / g->sw, room = g->W + g->pw - g->S;
    const int64_t last = room < 0 ? 0 : room / g->sw + 1 < g->Q ? room / g->sw + 1 : g->Q;
    for (; t < end; t++) {
        const int64_t p = t % g->P;
        real *image = x + t / g->P * g->H * row;
        const pool_span h = pool_covers(p, g->sh, g->ph, g->R, g->H);
        for (int64_t q = 0, count; q < g->Q; q += count) {
            const pool_span v = pool_covers(q, g->sw, g->pw, g->S, g->W);
            count = q >= first && q < last ? last - q : 1;
            const pool_window w = {image + h.begin * row + v.begin * g->C, row, g->C,
                                   (h.begin - p * g->sh + g->ph) * g->S + v.begin - q * g->sw + g->pw, g->S,
                                   (t * g->Q + q) * g->C};
            const int64_t rows = span_size(h), columns = span_size(v), step = g->sw * g->C;
            if (rows == 2 && columns == 2)
                window_row(d, w, 2, 2, count, step, f);
            else if (rows == 3 && columns == 3)
                window_row(d, w, 3, 3, count, step, f);
            else
                window_row(d, w, rows, columns, count, step, f);
            /* Without gaps between windows only the last one may have one. */
            for (int64_t i = g->sw > g->S ? q : q + count - 1; fill && i < q + count; i++) {
                const int64_t right = pool_covers(i, g->sw, g->pw, g->S, g->W).end;
                zero_columns(image, g, h, right, i + 1 < g->Q ? (i + 1) * g->sw - g->pw : g->W);
            }
        }
        if (fill) {
            const int64_t next = p + 1 < g->P ? (p + 1) * g->sh - g->ph : g->H;
            pool_zero(image + h.end * row, (next - h.end) * row);
        }
    }
}

/* The windows over one element of dx: `rows` x `columns` of them. */
typedef struct pool_cover {
    int64_t p, q;    /* the first one, */
    int64_t y, tap;  /*   its element in y, channel 0, and the tap it has here */
    int64_t taps;    /* R S, and */
    real share;      /*   1 / (R S) */
} pool_cover;

/* What a window adds to the sum of one of its elements: y its element in y, tap which of its taps, scale 1 / n if asked
 * for. Returns the sum with the term added. */
typedef vreal cover_fn(const pool_data *d, vreal sum, int64_t y, int64_t tap, vreal scale, channels k);

/* Windows that cover row (or column) i of the image, whole ones or not. */
V_INLINE pool_span pool_covering(int64_t i, int64_t stride, int64_t padding, int64_t window, int64_t windows)
{
    const int64_t from = i + padding - window, begin = from < 0 ? 0 : from / stride + 1, end = (i + padding) / stride + 1;
    return (pool_span){begin, end < windows ? end : windows};
}

/* Windows that lie inside the image. */
V_INLINE pool_span pool_inside(int64_t stride, int64_t padding, int64_t window, int64_t size)
{
    const int64_t room = size + padding - window;
    return (pool_span){(padding + stride - 1) / stride, room < 0 ? 0 : room / stride + 1};
}

/* 1 / n of window (p + i, q + j), n its taps inside the image. */
V_INLINE vreal cover_scale(const pool *g, const pool_cover *o, int64_t i, int64_t j)
{
    const int64_t n = span_size(pool_covers(o->p + i, g->sh, g->ph, g->R, g->H)) *
                      span_size(pool_covers(o->q + j, g->sw, g->pw, g->S, g->W));
    return v_set1(n == o->taps ? o->share : (real)(1.0 / (double)n));
}

/* dx on some channels: the sum over the windows, times x if x; 0 without windows, whatever x is. scale: of up to 2 x 2
 * windows, or NULL. */
V_INLINE void cover_channels(const pool_data *d, const pool *g, real *dx, const real *x, const pool_cover *o, int64_t rows,
                             int64_t columns, const vreal *scale, channels k, cover_fn *f, int scaled)
{
    vreal sum = v_zero();
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            sum = f(d, sum, o->y + (i * g->Q + j) * g->C, o->tap - i * g->sh * g->S - j * g->sw,
                    !scaled ? v_zero() : scale ? scale[2 * i + j] : cover_scale(g, o, i, j), k);
    c_store(dx, k, x && rows > 0 && columns > 0 ? v_mul(sum, c_load(x, k)) : sum);
}

/* `count` elements a stride apart, each covered by as many windows in the same way; `few`: up to two each way. */
V_INLINE void cover_run(const pool_data *d, const pool *g, real *dx, const real *x, pool_cover o, int64_t rows,
                        int64_t columns, int few, int64_t count, cover_fn *f, int scaled)
{
    const vmask all = v_tail(VW), tail = v_tail(g->C % VW);
    const int64_t C = g->C, step = g->sw * C;
    vreal scale[4];
    for (int64_t i = 0; i < 4 && few && scaled; i++)
        scale[i] = i / 2 < rows && i % 2 < columns ? cover_scale(g, &o, i / 2, i % 2) : v_zero();
    for (; count > 0; count--, dx += step, x += x ? step : 0, o.y += C) {
        int64_t j = 0;
        for (; j + VW <= C; j += VW)
            cover_channels(d, g, dx, x, &o, rows, columns, few ? scale : NULL, (channels){j, VW, all, 1}, f, scaled);
        if (j < C)
            cover_channels(d, g, dx, x, &o, rows, columns, few ? scale : NULL, (channels){j, C - j, tail, 0}, f, scaled);
    }
}

/* Column w of row h of an image and those `count` - 1 that follow it a stride apart. Two windows each way is what 3 x 3 at
 * stride 2 has. */
V_INLINE void cover_columns(const pool_data *d, const pool *g, real *dx, const real *x, pool_cover o, int64_t rows, int64_t w,
                            int64_t count, cover_fn *f, int scaled)
{
    const pool_span q = pool_covering(w, g->sw, g->pw, g->S, g->Q);
    const int64_t columns = span_size(q), at = w * g->C;
    o.q = q.begin;
    o.y += q.begin * g->C;
    o.tap += w + g->pw - q.begin * g->sw;
    dx += at;
    x += x ? at : 0;
    if (rows == 1 && columns == 1)
        cover_run(d, g, dx, x, o, 1, 1, 1, count, f, scaled);
    else if (rows == 2 && columns == 1)
        cover_run(d, g, dx, x, o, 2, 1, 1, count, f, scaled);
    else if (rows == 1 && columns == 2)
        cover_run(d, g, dx, x, o, 1, 2, 1, count, f, scaled);
    else if (rows == 2 && columns == 2)
        cover_run(d, g, dx, x, o, 2, 2, 1, count, f, scaled);
    else
        cover_run(d, g, dx, x, o, rows, columns, 0, count, f, scaled);
}

/* Rows [t, end) of the images. Columns that only windows inside the image cover go phase by phase of the stride: all of
 * one phase have the same taps. The others go one by one. */
V_INLINE void each_covered(const pool_data *d, const pool *g, real *dx, const real *x, int64_t t, int64_t end, cover_fn *f,
                           int scaled)
{
    const pool_span inside = pool_inside(g->sw, g->pw, g->S, g->W);
    int64_t begin = (inside.begin - 1) * g->sw + g->S - g->pw, behind = inside.end * g->sw - g->pw;
    begin = begin < 0 ? 0 : begin < g->W ? begin : g->W;
    behind = behind < begin ? begin : behind < g->W ? behind : g->W;
    for (; t < end; t++) {
        const int64_t h = t % g->H, at = t * g->W * g->C;
        const pool_span p = pool_covering(h, g->sh, g->ph, g->R, g->P);
        const pool_cover o = {p.begin, 0, (t / g->H * g->P + p.begin) * g->Q * g->C, (h + g->ph - p.begin * g->sh) * g->S,
                              g->R * g->S, (real)(1.0 / (double)(g->R * g->S))};
        for (int64_t w = 0; w < g->W; w++) {
            const int phased = w >= begin && w < behind;
            const int64_t count = phased ? (behind - w + g->sw - 1) / g->sw : 1;
            cover_columns(d, g, dx + at, x ? x + at : NULL, o, span_size(p), w, count, f, scaled);
            if (phased && (w + 1 == behind || w + 1 == begin + g->sw))
                w = behind - 1;
        }
    }
}

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
            vreal v = c_load(w->image + r * w->row + s * w->C, k);
            vmask more = m_and(m_not(v_le(v, *best)), v_eq(*best, *best));
            *best = v_select(more, v, *best);
            *taps = vi_select(more, vi_set1((lane_int)(w->tap + r * w->S + s)), *taps);
        }
}

/* Comparing alone would step over a NaN. The sum of the taps is NaN if one is (or if infinities cancel): one addition a
 * tap and one look at the end, where looking at each tap would take three operations. */
V_INLINE void max_window(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
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
    c_store((real *)d->arg[0] + w->y, k, best);
    index_store(d, w->y, k, taps);
}

V_INLINE void max_window_back(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal dy = v_add(v_zero(), c_load((const real *)d->arg[1] + w->y, k)), index = index_load(d, w->y, k);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++)
            c_store(w->image + r * w->row + s * w->C, k,
                    v_select(v_eq(index, v_set1((real)(w->tap + r * w->S + s))), dy, v_zero()));
}

V_INLINE vreal max_cover(const pool_data *d, vreal sum, int64_t y, int64_t tap, vreal scale, channels k)
{
    const vreal dy = c_load((const real *)d->arg[1] + y, k);
    (void)scale;
    return v_select(v_eq(index_load(d, y, k), v_set1((real)tap)), v_add(sum, dy), sum);
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
            vreal v = c_load(w->image + r * w->row + s * w->C, k);
            sum = v_fma(v, v, sum);
        }
    c_store((real *)d->arg[0] + w->y, k, v_sqrt(sum));
}

/* dy / y, 0 where y = 0. */
V_INLINE vreal l2_ratio(const pool_data *d, int64_t y, channels k)
{
    const vreal dy = c_load((const real *)d->arg[1] + y, k), root = c_load((const real *)d->arg[3] + y, k);
    return v_select(v_eq(root, v_zero()), v_zero(), v_div(dy, root));
}

V_INLINE void l2_window_back(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    const vreal ratio = v_add(v_zero(), l2_ratio(d, w->y, k));
    const real *x = (const real *)d->arg[2] + (w->image - (real *)d->arg[0]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < columns; s++) {
            const int64_t at = r * w->row + s * w->C;
            c_store(w->image + at, k, v_mul(ratio, c_load(x + at, k)));
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
