/* conv_pixel_kernel.h - the KERNEL part of conv.c for few output channels, which would leave most lanes of a vector empty:
 * pixels of a row stand in the lanes instead, and weights are broadcast. Six channels of a LeNet run 2 to 3 times as fast.
 *
 * An image is first turned into planes [row][channel][pixel] in the scratch, so that neighbouring pixels are one load; a
 * tile of results is turned back. Lanes whose tap is outside the image keep their sum: same terms, same order, same bits. */
enum {
    CONV_PIXELS = 4,                   /* vectors of pixels in a tile, at most */
    CONV_FEW = VW > 1 ? VW / 2 : 1,    /* outputs, at most */
    CONV_PLANES = 256 << 10            /* bytes of planes at a time */
};

typedef struct conv_pixels {
    const real *x[CONV_PIXELS];     /* lane 0's input of the first tap, channel 0 */
    const vmask *seen[CONV_PIXELS]; /* per tap of a row: the lanes that it exists for, and those that are no pixels */
    const real *w;                  /* [channel][output] of the first tap */
    real *sums;                     /* [vector][output][lane] */
    int64_t rows, columns, inputs, x_row, x_column, x_channel, w_row, w_column;
} conv_pixels;

V_INLINE void conv_pixel_tile(const int outputs, const int nv, const conv_pixels *o)
{
    vreal acc[CONV_FEW][CONV_PIXELS];
    V_UNROLL for (int k = 0; k < outputs; k++)
        V_UNROLL for (int v = 0; v < nv; v++)
            acc[k][v] = v_zero();
    for (int64_t r = 0; r < o->rows; r++)
        for (int64_t s = 0; s < o->columns; s++) {
            const real *w = o->w + r * o->w_row + s * o->w_column, *x[CONV_PIXELS];
            vmask seen[CONV_PIXELS], all = o->seen[0][s];
            V_UNROLL for (int v = 0; v < nv; v++) {
                x[v] = o->x[v] + r * o->x_row + s * o->x_column;
                seen[v] = o->seen[v][s];
                all = m_and(all, seen[v]);
            }
            if (m_all(all))
                for (int64_t c = 0; c < o->inputs; c++, w += outputs)
                    V_UNROLL for (int k = 0; k < outputs; k++)
                        V_UNROLL for (int v = 0; v < nv; v++)
                            acc[k][v] = v_fma(v_load(x[v] + c * o->x_channel), v_set1(w[k]), acc[k][v]);
            else
                for (int64_t c = 0; c < o->inputs; c++, w += outputs)
                    V_UNROLL for (int k = 0; k < outputs; k++)
                        V_UNROLL for (int v = 0; v < nv; v++)
                            acc[k][v] = v_select(seen[v], v_fma(v_load(x[v] + c * o->x_channel), v_set1(w[k]), acc[k][v]),
                                                 acc[k][v]);
        }
    V_UNROLL for (int k = 0; k < outputs; k++)
        V_UNROLL for (int v = 0; v < nv; v++)
            v_store(o->sums + (v * outputs + k) * VW, acc[k][v]);
}

/* As many vectors as leave registers for the inputs and a weight. */
#if defined(NN_ISA_AVX2)
#define CONV_PIXEL_VECTORS(outputs) 3
#else
#define CONV_PIXEL_VECTORS(outputs) ((outputs) <= 6 ? 4 : 3)
#endif
typedef void conv_pixel_fn(const conv_pixels *o);
#define CONV_PIXEL_TILE(outputs) \
    static void conv_pixel_ukr_##outputs(const conv_pixels *o) { conv_pixel_tile(outputs, CONV_PIXEL_VECTORS(outputs), o); }
CONV_PIXEL_TILE(1)
#if VW >= 4
CONV_PIXEL_TILE(2)
#endif
#if VW >= 8
CONV_PIXEL_TILE(3)
CONV_PIXEL_TILE(4)
#endif
#if VW >= 16
CONV_PIXEL_TILE(5)
CONV_PIXEL_TILE(6)
CONV_PIXEL_TILE(7)
CONV_PIXEL_TILE(8)
#endif
static conv_pixel_fn *const conv_pixel_tiles[CONV_FEW] = {
    conv_pixel_ukr_1,
#if VW >= 4
    conv_pixel_ukr_2,
#endif
#if VW >= 8
    conv_pixel_ukr_3, conv_pixel_ukr_4,
#endif
#if VW >= 16
    conv_pixel_ukr_5, conv_pixel_ukr_6, conv_pixel_ukr_7, conv_pixel_ukr_8,
#endif
};

/* sums [output][lane] of `count` pixels to c, c_pixel apart. */
static void conv_pixel_store(const conv_job *x, const real *sums, real *c, int64_t c_pixel, int64_t count, const real *bias)
{
    vreal block[VW];
    const vmask m = v_tail(x->outputs);
    const vreal b = bias ? v_load_m(bias, m) : v_zero();
    for (int k = 0; k < VW; k++)
        block[k] = k < x->outputs ? v_load(sums + k * VW) : v_zero();
    v_transpose(block);
    for (int64_t i = 0; i < count; i++, c += c_pixel) {
        vreal y = bias ? v_add(block[i], b) : block[i];
        v_store_m(c, m, x->relu ? relu_y(y, NULL) : y);
    }
}

/* Where things are in the scratch. Around the planes there is room for what lanes outside the image read and drop. */
typedef struct conv_planes {
    vmask *seen;
    real *weights, *sums, *planes;
    int64_t width, row, nbytes; /* of a channel's row with its last vector, of all channels' */
} conv_planes;

static conv_planes conv_planes_of(const conv_job *x, char *scratch)
{
    const conv_axis *w = &x->w_axis;
    int64_t vectors = (w->end - w->begin + VW - 1) / VW, reach = conv_max(w->in_tap, -w->in_tap) * x->S;
    int64_t slack = reach + VW * (1 + vectors) + conv_max(w->in0, -w->in0) + conv_max(w->begin, -w->begin);
    conv_planes p = {.width = (w->in_size + VW - 1) / VW * VW};
    p.row = p.width * x->inputs;
    p.seen = (vmask *)(void *)scratch;
    p.weights = (real *)(void *)(p.seen + (x->S * vectors + 63) / 64 * 64);
    p.sums = p.weights + x->R * x->S * x->inputs * x->outputs;
    p.planes = p.sums + CONV_FEW * CONV_PIXELS * VW + slack;
    p.nbytes = (char *)(p.planes + p.row * x->h.in_size + slack) - scratch;
    return p;
}

/* Group g's weights as [tap][channel][output], its channels of images [n, end) as planes. */
static void conv_planes_fill(const conv_job *x, const conv_planes *p, int64_t n, int64_t end, int64_t g)
{
    real *to = p->weights;
    const real *w = x->w + g * x->w_group;
    for (int64_t tap = 0; tap < x->R * x->S; tap++)
        for (int64_t c = 0; c < x->inputs; c++)
            for (int64_t k = 0; k < x->outputs; k++)
                *to++ = w[tap * x->w_tap + c * x->w_in + k * x->w_out];
    to = p->planes;
    for (; n < end; n++)
        for (int64_t i = 0; i < x->h.in_size; i++, to += p->row)
            pack(to, x->in + n * x->in_image + i * x->in_row + g * x->inputs, x->in_pixel, 1, x->w_axis.in_size, x->inputs);
}

/* Lanes that tap t of vector v exists for. */
static void conv_planes_see(const conv_axis *w, vmask *seen, int64_t vectors)
{
    for (int64_t v = 0; v < vectors; v++)
        for (int64_t t = 0; t < w->taps; t++) {
            int64_t j = w->begin + v * VW, at = w->in0 + j + t * w->in_tap, pixels = at_most(VW, w->end - j);
            int64_t low = conv_max(0, at_most(-at, VW)), high = conv_max(low, at_most(w->in_size - at, VW));
            vmask pixel = v_tail(pixels), on = m_and(v_tail(high), m_not(v_tail(low)));
            seen[v * w->taps + t] = m_or(on, m_not(pixel));
        }
}

/* Rows of one class, all columns, group g of images [n, end): tiles of vectors, counted through rows and images. */
static void conv_pixel_rows(const conv_job *x, const conv_planes *p, const conv_class *rows, int64_t n, int64_t end, int64_t g)
{
    const conv_axis *h = &x->h, *w = &x->w_axis;
    const int64_t places = w->end - w->begin, tap = x->inputs * x->outputs;
    const int nv = CONV_PIXEL_VECTORS(x->outputs);
    conv_pixels o = {.sums = p->sums, .rows = w->taps ? rows->t1 - rows->t0 : 0, .columns = w->taps, .inputs = x->inputs,
                     .x_row = h->in_tap * p->row, .x_column = w->in_tap, .x_channel = p->width,
                     .w = p->weights + ((h->tap0 + rows->t0 * h->tap_step) * x->S + w->tap0) * tap,
                     .w_row = h->tap_step * x->S * tap, .w_column = w->tap_step * tap};
    const real *start = p->planes + (h->in0 + rows->t0 * h->in_tap) * p->row + w->in0 + w->begin;
    const real *bias = x->bias ? x->bias + g * x->outputs : NULL;
    real *out = x->out + h->out0 * x->out_row + (w->out0 + w->begin * w->out_step) * x->out_pixel + g * x->outputs;
    real *to[CONV_PIXELS] = {0};
    int64_t count[CONV_PIXELS] = {0}, image = n, i = rows->begin, j = 0;
    while (image < end) {
        int used = 0;
        for (int u = 0; u < nv; u++) { /* beyond the last vector, once more the last */
            o.x[u] = image < end ? start + ((image - n) * h->in_size + i * h->in_step) * p->row + j : o.x[u - 1];
            o.seen[u] = image < end ? p->seen + j / VW * w->taps : o.seen[u - 1];
            if (image == end)
                continue;
            to[used] = out + image * x->out_image + i * h->out_step * x->out_row + j * w->out_step * x->out_pixel;
            count[used++] = at_most(VW, places - j);
            if ((j += VW) < places)
                continue;
            j = 0;
            if (++i == rows->end) {
                i = rows->begin;
                image++;
            }
        }
        conv_pixel_tiles[x->outputs - 1](&o);
        for (int u = 0; u < used; u++)
            conv_pixel_store(x, p->sums + u * x->outputs * VW, to[u], w->out_step * x->out_pixel, count[u], bias);
    }
}

/* All rows of the axes, images [n, end), as many at a time as L2 has room for. */
static void conv_pixel_images(const conv_job *x, char *scratch, int64_t n, int64_t end)
{
    const conv_planes p = conv_planes_of(x, scratch);
    const int64_t plane = p.row * x->h.in_size * (int64_t)sizeof(real);
    const int64_t images = conv_max(1, at_most(CONV_PLANES, NN_RANK_NBYTES - p.nbytes) / conv_max(1, plane));
    conv_class rows[CONV_CLASSES];
    if (x->w_axis.begin >= x->w_axis.end)
        return;
    conv_planes_see(&x->w_axis, p.seen, (x->w_axis.end - x->w_axis.begin + VW - 1) / VW);
    for (; n < end; n += images)
        for (int64_t g = 0; g < x->panels; g++) { /* a panel is a group: its outputs are few */
            const int64_t last = at_most(end, n + images);
            conv_planes_fill(x, &p, n, last, g);
            for (int64_t i = x->h.begin, next; i < x->h.end; i = next) {
                int classes = conv_classes(&x->h, i, 0, x->R, rows, &next);
                for (int a = 0; a < classes; a++)
                    conv_pixel_rows(x, &p, &rows[a], n, last, g);
            }
        }
}

/* Whether this way is open - a row's neighbours must see neighbours - and worth it: enough pixels for the lanes. */
static int conv_pixel_suits(const conv_job *x, const nn_call *c)
{
    const conv_shape v = conv_shape_of(c);
    int64_t places = x->backward ? v.W / v.sw : v.Q, lanes = places / conv_max(1, (places + VW - 1) / VW);
    conv_job probe = *x; /* with the largest values that the phases of a backward pass take */
    probe.h.in_size = x->backward ? v.P : v.H;
    probe.w_axis = (conv_axis){.in0 = v.pl + v.sw + v.S * v.dw, .in_size = x->backward ? v.Q : v.W,
                               .in_tap = v.dw, .begin = 0, .end = conv_max(v.W, v.Q)};
    return VW > 1 && !x->across && x->outputs <= CONV_FEW && (x->backward || v.sw == 1) && 3 * x->outputs <= 2 * lanes &&
           conv_planes_of(&probe, c->team->scratch).nbytes <= NN_RANK_NBYTES;
}
