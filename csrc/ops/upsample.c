/* upsample.c - images enlarged by whole factors fh, fw: by repeating, or linearly between the centres of pixels.
 *
 *   nearest   y[o,u] = x[o / fh, u / fw]             backward  dx[i,j] = sum dy[o,u] over the fh fw copies
 *   bilinear  y[o,u] = sum_{i,j} a(o,i) b(u,j) x[i,j]   backward  dx[i,j] = sum_{o,u} a(o,i) b(u,j) dy[o,u]
 *   a(o,i) = max(0, 1 - |s - i|),  s = (o + 1/2) / fh - 1/2 moved into [0, H - 1];  b alike with fw, W
 *
 * Source: torch's interpolate with align_corners=False: the corners of the images meet, not the centres of their corner
 * pixels; beyond the outermost centres the value is constant. Nearest upsampling is the transpose of sum pooling: the
 * loops are pool.c's. Shapes: x, dx (N, H, W, C), y, dy (N, fh H, fw W, C). Nothing aliases.
 * fh, fw <= NN_MAX_UPSAMPLE.
 * Weights: s is a multiple of 1 / (2 fh), so a b is a whole number over 4 fh fw: computed in double, rounded to real once,
 * exact for factors that are powers of two. A tap of weight 0 is not read: a NaN spreads only to where it is seen.
 * Order: nearest forward exact, backward additions, the copies (o, u) ascending from the first; bilinear one chain of
 * fma(weight, value, sum) from +0, forward (i, j), backward (o, u) ascending.
 * Error: nearest backward gamma_{fh fw - 1} sum |dy|; bilinear (gamma_n + 1.01 u) sum |weight value| over n taps, n <= 4
 * forward, <= 4 fh fw backward (more at the edges).
 */
#ifdef NN_PASS_LIST
NN_OP(upsample_nearest_fwd, UPSAMPLE_NEAREST_FWD)
NN_OP(upsample_nearest_bwd, UPSAMPLE_NEAREST_BWD)
NN_OP(upsample_bilinear_fwd, UPSAMPLE_BILINEAR_FWD)
NN_OP(upsample_bilinear_bwd, UPSAMPLE_BILINEAR_BWD)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL)
/* 2 f s of output o: whole, in [0, 2 f (n - 1)]. */
static inline int64_t linear_place(int64_t o, int64_t f, int64_t n)
{
    int64_t s = 2 * o + 1 - f, last = 2 * f * (n - 1);
    return s < 0 ? 0 : s > last ? last : s;
}

/* 2 f times the weight of input i in output o. */
static inline int64_t linear_weight(int64_t o, int64_t i, int64_t f, int64_t n)
{
    int64_t away = linear_place(o, f, n) - 2 * f * i;
    away = away < 0 ? -away : away;
    return away < 2 * f ? 2 * f - away : 0;
}

/* Outputs [begin, end) in which input i has a weight that is not 0. */
static inline pool_span linear_reach(int64_t i, int64_t f, int64_t n)
{
    return (pool_span){i > 0 ? f * (i - 1) + (f + 1) / 2 : 0, i < n - 1 ? f * (i + 1) + f / 2 : f * n};
}
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
/* f(weight, element of x, element of y) for every weight that is not 0: outputs, then inputs, ascending. */
typedef void ref_weight_fn(const nn_call *c, real weight, int64_t x, int64_t y);

static void ref_weights(const nn_call *c, ref_weight_fn *f)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], fh = c->dim[4], fw = c->dim[5];
    for (int64_t y = 0; y < c->dim[0] * H * fh * W * fw * C; y++) {
        int64_t k = y % C, u = y / C % (W * fw), o = y / C / (W * fw) % (H * fh), n = y / C / (W * fw) / (H * fh);
        for (int64_t i = 0; i < H; i++)
            for (int64_t j = 0; j < W; j++) {
                int64_t weight = linear_weight(o, i, fh, H) * linear_weight(u, j, fw, W);
                if (weight)
                    f(c, (real)((double)weight * (0.25 / (double)(fh * fw))), ((n * H + i) * W + j) * C + k, y);
            }
    }
}

static void ref_linear(const nn_call *c, real weight, int64_t x, int64_t y)
{
    real *sum = (real *)c->arg[0] + y;
    *sum = v_fma(weight, ((const real *)c->arg[1])[x], *sum);
}

static void ref_linear_back(const nn_call *c, real weight, int64_t x, int64_t y) { ref_linear(c, weight, y, x); }

static void upsample_nearest_fwd(const nn_call *c)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], fh = c->dim[4], fw = c->dim[5];
    for (int64_t y = 0; y < c->dim[0] * H * fh * W * fw * C; y++) {
        int64_t k = y % C, u = y / C % (W * fw), o = y / C / (W * fw) % (H * fh), n = y / C / (W * fw) / (H * fh);
        ((real *)c->arg[0])[y] = ((const real *)c->arg[1])[((n * H + o / fh) * W + u / fw) * C + k];
    }
}

static void upsample_nearest_bwd(const nn_call *c)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], fh = c->dim[4], fw = c->dim[5];
    for (int64_t x = 0; x < c->dim[0] * H * W * C; x++) {
        int64_t k = x % C, j = x / C % W, row = x / C / W;
        real *sum = (real *)c->arg[0] + x;
        for (int64_t o = 0; o < fh; o++)
            for (int64_t u = 0; u < fw; u++) {
                real dy = ((const real *)c->arg[1])[((row * fh + o) * W * fw + j * fw + u) * C + k];
                *sum = o + u ? *sum + dy : dy;
            }
    }
}

static void upsample_bilinear_fwd(const nn_call *c)
{
    for (int64_t i = 0; i < c->dim[0] * c->dim[1] * c->dim[2] * c->dim[3] * c->dim[4] * c->dim[5]; i++)
        ((real *)c->arg[0])[i] = 0;
    ref_weights(c, ref_linear);
}

static void upsample_bilinear_bwd(const nn_call *c)
{
    ref_clear(c);
    ref_weights(c, ref_linear_back);
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
/* The pooling whose image is the large one and whose windows are the pixels of the small one. */
V_INLINE pool upsample_windows(const nn_call *c)
{
    const int64_t *d = c->dim;
    return (pool){d[0], d[1] * d[4], d[2] * d[5], d[3], d[4], d[5], d[4], d[5], 0, 0, d[1], d[2]};
}

V_INLINE void nearest_window(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    window_fill(w, rows, columns, k, c_load((const real *)d->arg[1] + w->y, k));
}

V_INLINE void nearest_window_back(const pool_data *d, const pool_window *w, int64_t rows, int64_t columns, channels k)
{
    c_store((real *)d->arg[0] + w->y, k, window_sum(w, rows, columns, k));
}

static void upsample_nearest_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = upsample_windows(c);
    const pool_data d = pool_arguments(c, 0);
    each_window(&d, &g, d.arg[0], t, end, nearest_window, 0);
}

static void upsample_nearest_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const pool g = upsample_windows(c);
    const pool_data d = pool_arguments(c, 0);
    each_window(&d, &g, d.arg[1], t, end, nearest_window_back, 0);
}

enum { LINEAR_BLOCKS = 4 }; /* vectors of channels that share the loads of the weights */

/* y[0 .. blocks vectors) = sum of weight[r][q] x[r row + q C] over rows x columns taps. */
V_INLINE void linear_sum(real *y, const real *x, int64_t row, int64_t C, const real *weight, int64_t rows, int64_t columns,
                         int blocks, vmask m, int full)
{
    vreal sum[LINEAR_BLOCKS];
    for (int v = 0; v < blocks; v++)
        sum[v] = v_zero();
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < columns; q++)
            for (int v = 0; v < blocks; v++)
                sum[v] = v_fma(v_set1(weight[r * columns + q]), row_load(x + r * row + q * C + v * VW, m, full), sum[v]);
    for (int v = 0; v < blocks; v++)
        row_store(y + v * VW, m, full, sum[v]);
}

V_INLINE void linear_channels(real *y, const real *x, int64_t row, int64_t C, const real *weight, int64_t rows,
                              int64_t columns)
{
    const vmask all = v_tail(VW);
    int64_t j = 0;
    for (; j + LINEAR_BLOCKS * VW <= C; j += LINEAR_BLOCKS * VW)
        linear_sum(y + j, x + j, row, C, weight, rows, columns, LINEAR_BLOCKS, all, 1);
    for (; j + VW <= C; j += VW)
        linear_sum(y + j, x + j, row, C, weight, rows, columns, 1, all, 1);
    if (j < C)
        linear_sum(y + j, x + j, row, C, weight, rows, columns, 1, v_tail(C - j), 0);
}

/* Inputs [begin, end) that output o is made from: one or two. */
V_INLINE pool_span linear_inputs(int64_t o, int64_t f, int64_t n)
{
    const int64_t place = linear_place(o, f, n), i = place / (2 * f);
    return (pool_span){i, i + 1 + (place > 2 * f * i)};
}

/* Rows [t, end) of y, counted through all images. Away from the left and the right edge an output has the weights of the
 * one fw before: they are made for two pixels of x and for the last. */
static void upsample_bilinear_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], fh = c->dim[4], fw = c->dim[5], row = W * C;
    const double unit = 0.25 / (double)(fh * fw);
    for (; t < end; t++) {
        const int64_t o = t % (H * fh);
        const pool_span h = linear_inputs(o, fh, H);
        const int64_t rows = span_size(h), above = linear_weight(o, h.begin, fh, H), a[2] = {above, 2 * fh - above};
        const real *x = (const real *)c->arg[1] + (t / (H * fh) * H + h.begin) * row;
        real *y = (real *)c->arg[0] + t * W * fw * C;
        real weights[NN_MAX_UPSAMPLE][4];
        for (int64_t u = 0, j = 0, phase = 0; u < W * fw; u++, y += C, phase = phase + 1 < fw ? phase + 1 : 0) {
            const int64_t place = linear_place(u, fw, W);
            j += place >= 2 * fw * (j + 1);
            const int64_t right = place - 2 * fw * j, b[2] = {2 * fw - right, right}, columns = 1 + (right > 0);
            real *weight = weights[phase];
            for (int64_t k = 0; k < rows * columns && (u < 2 * fw || u >= (W - 1) * fw); k++)
                weight[k] = (real)((double)(a[columns == 2 ? k / 2 : k] * b[columns == 2 ? k % 2 : 0]) * unit);
            if (rows == 2 && columns == 2)
                linear_channels(y, x + j * C, row, C, weight, 2, 2);
            else
                linear_channels(y, x + j * C, row, C, weight, rows, columns);
        }
    }
}

/* Rows [t, end) of dx, counted through all images. All columns between the first and the last have the same weights, so
 * those of column 1 serve them. The table has at most 2 fh x 2 fw weights: the builder's limit on factors makes it fit. */
static void upsample_bilinear_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], fh = c->dim[4], fw = c->dim[5], row = W * fw * C;
    const double unit = 0.25 / (double)(fh * fw);
    real *weight = (real *)(void *)c->team->scratch;
    for (; t < end; t++) {
        const int64_t i = t % H;
        const pool_span h = linear_reach(i, fh, H);
        const real *dy = (const real *)c->arg[1] + (t / H * H * fh + h.begin) * row;
        for (int64_t j = 0; j < W; j++) {
            const pool_span w = linear_reach(j, fw, W);
            const int64_t rows = span_size(h), columns = span_size(w);
            for (int64_t k = 0; k < rows * columns && (j < 2 || j == W - 1); k++)
                weight[k] = (real)((double)(linear_weight(h.begin + k / columns, i, fh, H) *
                                            linear_weight(w.begin + k % columns, j, fw, W)) * unit);
            if (rows == 4 && columns == 4)
                linear_channels((real *)c->arg[0] + (t * W + j) * C, dy + w.begin * C, row, C, weight, 4, 4);
            else
                linear_channels((real *)c->arg[0] + (t * W + j) * C, dy + w.begin * C, row, C, weight, rows, columns);
        }
    }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static void drive_rows(const nn_call *c, int32_t op, int64_t factor)
{
    nn_drive_range(c, op, c->dim[0] * c->dim[1] * factor, 1);
}

static void upsample_nearest_fwd(const nn_call *c) { drive_rows(c, NN_OP_UPSAMPLE_NEAREST_FWD, 1); }
static void upsample_nearest_bwd(const nn_call *c) { drive_rows(c, NN_OP_UPSAMPLE_NEAREST_BWD, 1); }
static void upsample_bilinear_fwd(const nn_call *c) { drive_rows(c, NN_OP_UPSAMPLE_BILINEAR_FWD, c->dim[4]); }
static void upsample_bilinear_bwd(const nn_call *c) { drive_rows(c, NN_OP_UPSAMPLE_BILINEAR_BWD, 1); }
#endif
