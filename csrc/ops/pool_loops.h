/* pool_loops.h - the loops of pool.c and upsample.c: over windows, over the elements that windows cover; then channels.
 *
 * A block of channels is a vector, the last one masked. What happens to it is a constant function inlined into the loops;
 * the loops over taps are compiled for windows of 2 x 2, of 3 x 3, and for any size (gcc unrolls the first two). */

#include "pool_side.h"

/* Channels [j, j + n) of a pixel: n = VW and full, or the masked tail. With `side`: all channels of windows side by side. */
typedef struct channels {
    int64_t j, n;
    vmask m;
    int full;
    const pool_side *side;
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
V_INLINE void c_store(real *p, channels k, vreal v)
{
    map_ahead(p + k.j);
    row_store(p + k.j, k.m, k.full, v);
}

/* The same for a tap, p its first window's in the image. */
V_INLINE vreal tap_load(const real *p, channels k) { return k.side ? side_load(k.side, p) : c_load(p, k); }
V_INLINE void tap_store(real *p, channels k, vreal v)
{
    if (k.side)
        side_store(k.side, p, v);
    else
        c_store(p, k, v);
}

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
                         const pool_side *side, window_fn *f)
{
    const vmask all = v_tail(VW), tail = v_tail(w.C % VW);
#if defined(V_PICKS)
    const int64_t n = side->windows;
    for (; n > 1 && count >= n; count -= n, w.image += n * step, w.y += n * w.C)
        f(d, &w, rows, columns, (channels){0, n * w.C, v_tail(n * w.C), 0, side});
#else
    (void)side;
#endif
    for (; count > 0; count--, w.image += step, w.y += w.C) {
        int64_t j = 0;
        for (; j + VW <= w.C; j += VW)
            f(d, &w, rows, columns, (channels){j, VW, all, 1, NULL});
        if (j < w.C)
            f(d, &w, rows, columns, (channels){j, w.C - j, tail, 0, NULL});
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
    const pool_side side = pool_side_of(g->C, g->sw * g->C);
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
                window_row(d, w, 2, 2, count, step, &side, f);
            else if (rows == 3 && columns == 3)
                window_row(d, w, 3, 3, count, step, &side, f);
            else
                window_row(d, w, rows, columns, count, step, &side, f);
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
            cover_channels(d, g, dx, x, &o, rows, columns, few ? scale : NULL, (channels){j, VW, all, 1, NULL}, f, scaled);
        if (j < C)
            cover_channels(d, g, dx, x, &o, rows, columns, few ? scale : NULL, (channels){j, C - j, tail, 0, NULL}, f, scaled);
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
