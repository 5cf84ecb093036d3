/* conv_window_kernel.h - the KERNEL part of conv.c, forward, for one input channel under 3 x 3 taps: the first layer of most
 * networks. A tile of conv_kernel.h would have nine terms to a sum and spend a third of its time on beginning and ending.
 * Here all weights of a panel of output channels stay in registers while pixel after pixel streams by. */
enum {
    WINDOW = CONV_WINDOW,
    WINDOW_TAPS = WINDOW * WINDOW,
    WINDOW_PIXELS = 2, /* side by side: as many chains as hide the latency of an FMA on its way through nine */
    WINDOW_AHEAD = 1 << 10 /* bytes of y that are asked for before they are written */
};

static int conv_window_suits(const conv_job *x)
{
    return VW > 1 && !x->backward && x->inputs == 1 && x->in_pixel == 1 && x->R == WINDOW && x->S == WINDOW && x->outputs >= VW;
}

/* Rows of pixels through one panel: what all places have in common. */
typedef struct conv_window {
    vreal w[WINDOW_TAPS][NV], bias[NV];
    int64_t x_pixel, x_row, x_tap, y_pixel, r0, r1; /* rows [r0, r1) of taps see the image */
    vmask tail;
    int has_bias, relu;
} conv_window;

/* So many places from x and y on; without `whole`, which sees all taps, columns [s0, s1) of rows [r0, r1). */
V_INLINE void conv_window_places(const int places, const int nv, const int whole, const conv_window *o, vreal w[WINDOW_TAPS][NV],
                                 const real *x, real *y, int64_t s0, int64_t s1)
{
    vreal acc[WINDOW_PIXELS][NV];
    V_UNROLL for (int i = 0; i < places; i++)
        V_UNROLL for (int j = 0; j < nv; j++) {
            acc[i][j] = v_zero();
            __builtin_prefetch((char *)(y + i * o->y_pixel + j * VW) + WINDOW_AHEAD, 1);
        }
    V_UNROLL for (int r = 0; r < WINDOW; r++)
        V_UNROLL for (int s = 0; s < WINDOW; s++)
            if (whole || (r >= o->r0 && r < o->r1 && s >= s0 && s < s1))
                V_UNROLL for (int i = 0; i < places; i++) {
                    const vreal v = v_set1(x[i * o->x_pixel + r * o->x_row + s * o->x_tap]);
                    V_UNROLL for (int j = 0; j < nv; j++)
                        acc[i][j] = v_fma(v, w[r * WINDOW + s][j], acc[i][j]);
                }
    V_UNROLL for (int i = 0; i < places; i++, y += o->y_pixel)
        V_UNROLL for (int j = 0; j < nv; j++) {
            const vreal sum = o->has_bias ? v_add(acc[i][j], o->bias[j]) : acc[i][j], out = o->relu ? relu_y(sum, NULL) : sum;
            if (j == nv - 1)
                v_store_m(y + j * VW, o->tail, out);
            else
                v_store(y + j * VW, out);
        }
}

/* Places of one class of columns in a row; x and y at the row's first place. */
V_INLINE void conv_window_run(const int nv, const conv_window *o, const conv_class *columns, const real *x, real *y)
{
    const int whole = o->r0 == 0 && o->r1 == WINDOW && columns->t0 == 0 && columns->t1 == WINDOW;
    int64_t j = columns->begin;
    vreal w[WINDOW_TAPS][NV]; /* for a store may change what a pointer shows, but no register */
    V_UNROLL for (int t = 0; t < WINDOW_TAPS; t++)
        V_UNROLL for (int v = 0; v < nv; v++)
            w[t][v] = o->w[t][v];
    x += j * o->x_pixel;
    y += j * o->y_pixel;
    for (; whole && j + WINDOW_PIXELS <= columns->end; j += WINDOW_PIXELS) {
        conv_window_places(WINDOW_PIXELS, nv, 1, o, w, x, y, 0, WINDOW);
        x += WINDOW_PIXELS * o->x_pixel;
        y += WINDOW_PIXELS * o->y_pixel;
    }
    for (; j < columns->end; j++, x += o->x_pixel, y += o->y_pixel)
        conv_window_places(1, nv, 0, o, w, x, y, columns->t0, columns->t1);
}

/* One panel in all rows and columns of the axes, of one image. */
V_INLINE void conv_window_panel(const int nv, const conv_job *x, conv_window *o, const conv_class *rows, int n_rows,
                                const conv_class *columns, int n_columns, const real *in, real *out)
{
    const conv_axis *h = &x->h;
    for (int a = 0; a < n_rows; a++) {
        o->r0 = rows[a].t0;
        o->r1 = rows[a].t1;
        for (int64_t i = rows[a].begin; i < rows[a].end; i++)
            for (int b = 0; b < n_columns; b++)
                conv_window_run(nv, o, &columns[b], in + (h->in0 + i * h->in_step) * x->in_row + x->w_axis.in0,
                                out + i * x->out_row);
    }
}

/* Panel p's weights, and what a step from place to place or tap to tap is. */
static int64_t conv_window_load(const conv_job *x, int64_t p, conv_window *o)
{
    const int64_t width = conv_panel_columns(x, p), nv = (width + VW - 1) / VW;
    *o = (conv_window){.x_pixel = x->w_axis.in_step, .x_row = x->h.in_tap * x->in_row, .x_tap = x->w_axis.in_tap,
                       .y_pixel = x->out_pixel, .tail = v_tail(width - (nv - 1) * VW), .has_bias = x->bias != NULL,
                       .relu = x->relu};
    for (int j = 0; j < NV; j++) {
        const int64_t at = p * NR + j * VW;
        o->bias[j] = v_zero();
        for (int t = 0; t < WINDOW_TAPS; t++)
            o->w[t][j] = v_zero();
        if (j >= nv)
            continue;
        const vmask m = j == nv - 1 ? o->tail : v_tail(VW);
        if (x->bias)
            o->bias[j] = v_load_m(x->bias + at, m);
        for (int t = 0; t < WINDOW_TAPS; t++)
            o->w[t][j] = v_load_m(x->w + t * x->w_tap + at, m);
    }
    return nv;
}

/* All rows of the axes in images [n, end). */
static void conv_window_images(const conv_job *x, int64_t n, int64_t end)
{
    conv_class rows[CONV_CLASSES], columns[CONV_CLASSES];
    int64_t next;
    const int n_columns = conv_classes(&x->w_axis, x->w_axis.begin, 0, x->S, columns, &next);
    const int n_rows = conv_classes(&x->h, x->h.begin, 0, x->R, rows, &next);
    for (int64_t p = 0; p < x->panels; p++) {
        conv_window o;
        const int64_t nv = conv_window_load(x, p, &o);
        for (int64_t m = n; m < end; m++) {
            const real *in = x->in + m * x->in_image;
            real *out = x->out + m * x->out_image + p * NR;
            if (NV > 1 && nv == NV)
                conv_window_panel(NV, x, &o, rows, n_rows, columns, n_columns, in, out);
            else
                conv_window_panel(1, x, &o, rows, n_rows, columns, n_columns, in, out);
        }
    }
}
