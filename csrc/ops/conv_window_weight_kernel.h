/* conv_window_weight_kernel.h - the KERNEL part of conv.c, weight gradient of one input channel under 3 x 3 taps: all nine rows
 * of weights in one tile, so that dy is read once. A panel is one vector of output channels, so that two threads may share a
 * first layer's 32; where a rank has two of them they are one tile, if there are registers for 18 sums: x is then broadcast
 * once for both. Included by conv_weight_kernel.h. */
enum { WINDOW_AHEAD_PIXELS = 16, WINDOW_PANELS = (int)MR > (int)CONV_CHAIN_ROWS ? 2 : 1 };

/* Columns [q, end) of an output row that see columns [s0, s1) of rows [r0, r1) of taps: best if these are constants. */
V_INLINE void conv_dw_window_columns(const int nv, const int r0, const int r1, const int s0, const int s1, const conv_walk *o,
                                     vreal acc[WINDOW_TAPS][WINDOW_PANELS], const real *x, const real *dy, int64_t q,
                                     int64_t end)
{
    const int64_t x_pixel = o->x_pixel, dy_pixel = o->dy_pixel, tap_row = o->tap_row;
    const vmask tail = o->tail;
    x += q * x_pixel;
    dy += q * dy_pixel;
    for (; q < end; q++, x += x_pixel, dy += dy_pixel) {
        vreal g[WINDOW_PANELS];
        V_UNROLL for (int j = 0; j < nv; j++) {
            g[j] = j + 1 < nv ? v_load(dy + j * VW) : v_load_m(dy + j * VW, tail);
            __builtin_prefetch(dy + WINDOW_AHEAD_PIXELS * dy_pixel + j * VW); /* another panel's thread takes the rest of a row */
        }
        V_UNROLL for (int r = 0; r < WINDOW; r++)
            V_UNROLL for (int s = 0; s < WINDOW; s++)
                if (r >= r0 && r < r1 && s >= s0 && s < s1) {
                    const vreal a = v_set1(x[r * tap_row + s]);
                    V_UNROLL for (int j = 0; j < nv; j++)
                        acc[r * WINDOW + s][j] = v_fma(a, g[j], acc[r * WINDOW + s][j]);
                }
    }
}

/* Columns [q, end) where some taps do not see the image: mostly the left one or the right one. */
V_INLINE void conv_dw_window_border(const int nv, const int r0, const int r1, const conv_walk *o,
                                    vreal acc[WINDOW_TAPS][WINDOW_PANELS], const real *x, const real *dy, int64_t q, int64_t end)
{
    for (; q < end; q++) {
        const int s0 = (int)conv_max(0, o->low - q * o->slide), s1 = (int)at_most(WINDOW, o->high - q * o->slide);
        if (s0 == 1 && s1 == WINDOW)
            conv_dw_window_columns(nv, r0, r1, 1, WINDOW, o, acc, x, dy, q, q + 1);
        else if (s0 == 0 && s1 == WINDOW - 1)
            conv_dw_window_columns(nv, r0, r1, 0, WINDOW - 1, o, acc, x, dy, q, q + 1);
        else
            conv_dw_window_columns(nv, r0, r1, s0, s1, o, acc, x, dy, q, q + 1);
    }
}

/* An output row of which rows [r0, r1) of taps see the image. */
V_INLINE void conv_dw_window_row(const int nv, const int r0, const int r1, const conv_walk *o,
                                 vreal acc[WINDOW_TAPS][WINDOW_PANELS], const real *x, const real *dy)
{
    conv_dw_window_border(nv, r0, r1, o, acc, x, dy, o->begin, o->full);
    conv_dw_window_columns(nv, r0, r1, 0, WINDOW, o, acc, x, dy, o->full, o->full_end);
    conv_dw_window_border(nv, r0, r1, o, acc, x, dy, o->full_end, o->end);
}

V_INLINE void conv_dw_window(const int nv, const conv_walk *o, const conv_place *at)
{
    vreal acc[WINDOW_TAPS][WINDOW_PANELS];
    V_UNROLL for (int i = 0; i < WINDOW_TAPS; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = at->resume ? v_load(at->sums + (i * nv + j) * VW) : v_zero();
    for (int64_t n = 0; n < at->images; n++) {
        const real *x = at->x + n * o->x_image, *dy = at->dy + n * o->dy_image;
        int64_t top = o->top + at->first * o->step;
        for (int64_t p = 0; p < at->rows; p++, x += o->x_row, dy += o->dy_row, top += o->step) {
            int r0 = 0, r1 = WINDOW;
            while (r0 < r1 && top + r0 * o->dilation < 0)
                r0++;
            while (r1 > r0 && top + (r1 - 1) * o->dilation >= o->height)
                r1--;
            if (r0 == 0 && r1 == WINDOW)
                conv_dw_window_row(nv, 0, WINDOW, o, acc, x, dy);
            else if (r0 == 1 && r1 == WINDOW)
                conv_dw_window_row(nv, 1, WINDOW, o, acc, x, dy);
            else if (r0 == 0 && r1 == WINDOW - 1)
                conv_dw_window_row(nv, 0, WINDOW - 1, o, acc, x, dy);
            else
                conv_dw_window_row(nv, r0, r1, o, acc, x, dy);
        }
    }
    V_UNROLL for (int i = 0; i < WINDOW_TAPS; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            v_store(at->sums + (i * nv + j) * VW, acc[i][j]);
}

static void conv_dw_window_1(const conv_walk *o, const conv_place *at) { conv_dw_window(1, o, at); }
static void conv_dw_window_most(const conv_walk *o, const conv_place *at) { conv_dw_window(WINDOW_PANELS, o, at); }
static conv_dw_fn *const conv_dw_window_tiles[2] = {conv_dw_window_1, conv_dw_window_most};
