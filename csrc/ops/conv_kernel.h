/* conv_kernel.h - the KERNEL part of conv.c, forward and backward-data: both gather, for each place of the output, taps of
 * the input times weights. They differ in how places and taps map to the input, which is what conv_axis says.
 *
 * The tile is gemm_kernel.h's: MR pixels by NV vectors of output channels in registers, per (tap, input channel) NV loads of
 * packed weights and one broadcast a pixel. Its pixels have the same valid taps and lie equally far apart: in a row, in a
 * column, or the same place of several images. So no tap is multiplied by a padding zero, and nothing is copied: at 14 x 14
 * pixels, 3 x 3 taps and padding 1 that saves 9 % of the multiplications.
 * Weights are packed once per call and rank: [panel of NR outputs][tap][input channel][outputs], the last panel's vectors
 * filled up. What does not fit the scratch is done in parts, the chain carried through the output (numerics.md R1). */

/* Places [begin, end) with the same valid taps [t0, t1). */
typedef struct conv_class {
    int64_t begin, end, t0, t1;
} conv_class;

enum {
    CONV_CLASSES = 32,
    CONV_SHORT = (MR + 1) / 2, /* fewer pixels in a row make a poor tile */
    CONV_AHEAD = 16 << 10      /* bytes ahead that inputs are prefetched into L2: a batch comes from L3 or memory */
};

/* The valid taps of place j that lie in kernel rows [low, high). */
static conv_class conv_taps(const conv_axis *x, int64_t j, int64_t low, int64_t high)
{
    int64_t at = x->in0 + j * x->in_step, d = x->in_tap, t0, t1;
    if (d > 0) {
        t0 = at < 0 ? conv_ceil(-at, d) : 0;
        t1 = conv_ceil(x->in_size - at, d);
    } else {
        t0 = at >= x->in_size ? (at - x->in_size) / -d + 1 : 0;
        t1 = at < 0 ? 0 : at / -d + 1;
    }
    t0 = conv_max(t0, conv_ceil(low - x->tap0, x->tap_step));
    t1 = at_most(at_most(t1, x->taps), conv_ceil(high - x->tap0, x->tap_step));
    return t0 < t1 ? (conv_class){j, j + 1, t0, t1} : (conv_class){j, j + 1, 0, 0};
}

/* Classes of the places from j on, as many as there is room for; returns how many, *next is the first place left over. */
static int conv_classes(const conv_axis *x, int64_t j, int64_t low, int64_t high, conv_class *found, int64_t *next)
{
    int count = 0;
    for (; j < x->end; j++) {
        conv_class one = conv_taps(x, j, low, high);
        if (count && found[count - 1].t0 == one.t0 && found[count - 1].t1 == one.t1)
            found[count - 1].end = j + 1;
        else if (count < CONV_CLASSES)
            found[count++] = one;
        else
            break;
    }
    *next = j;
    return count;
}

/* ---- the tile -------------------------------------------------------------------------------------------------- */

/* Pixels pixel apart in the input and c_pixel in the output; rows x columns of taps, k channels each. */
typedef struct conv_run {
    const real *a, *b, *bias; /* bias or NULL, added after the last part */
    real *c;
    int64_t pixel, c_pixel, rows, columns, k, a_row, a_column, b_row, b_column;
    int64_t ahead, ahead_step; /* bytes: what later tiles read is prefetched from a + ahead on, evenly over all steps */
    vmask tail;
    int resume, relu;
} conv_run;

/* across: depthwise, a channel of the output sees that of the input alone: x stands in the lanes as w does. ragged: the last
 * vector of channels is not whole. */
V_INLINE void conv_tile(const int mr, const int nv, const int across, const int ragged, const conv_run *o)
{
    vreal acc[MR][NV];
    const vmask tail = o->tail;
    const int64_t c_pixel = o->c_pixel, a_column = o->a_column, b_column = o->b_column;
    real *c = o->c;
    V_UNROLL for (int i = 0; i < mr; i++, c += c_pixel)
        V_UNROLL for (int j = 0; j < nv; j++) {
            acc[i][j] = !o->resume ? v_zero() : j == nv - 1 ? v_load_m(c + j * VW, tail) : v_load(c + j * VW);
            __builtin_prefetch(c + j * VW, 1); /* stores that miss hold up the next tile */
        }
    int64_t s1 = o->pixel * (int64_t)sizeof(real), s3 = 3 * s1, s5 = 5 * s1, high = 7 * s1;
    const real *a_row = o->a, *b_row = o->b;
    const int64_t ahead_step = o->ahead_step;
    const char *ahead = (const char *)o->a + o->ahead;
    for (int64_t r = o->rows; r > 0; r--, a_row += o->a_row, b_row += o->b_row) {
        const real *a_tap = a_row, *b_tap = b_row;
        for (int64_t s = o->columns; s > 0; s--, a_tap += a_column, b_tap += b_column) {
            const real *a = a_tap, *b = b_tap;
            for (int64_t k = o->k; k > 0; k--, a++, b += nv * VW, ahead += ahead_step) {
                vreal w[NV];
                __builtin_prefetch(ahead, 0, 2);
                V_UNROLL for (int j = 0; j < nv; j++) {
                    w[j] = v_load(b + j * VW);
                    __builtin_prefetch(b + AHEAD * nv * VW + j * VW);
                }
                OPAQUE(s1);
                OPAQUE(s3);
                OPAQUE(s5);
                const int64_t below[7] = {0, s1, 2 * s1, s3, 4 * s1, s5, 2 * s3};
                V_UNROLL for (int i = 0; i < mr; i++) {
                    const real *at = (const real *)(const void *)((const char *)a + (i < 7 ? 0 : high) + below[i % 7]);
                    vreal x = v_set1(*at);
                    V_UNROLL for (int j = 0; j < nv; j++) {
                        if (across)
                            x = ragged && j == nv - 1 ? v_load_m(at + j * VW, tail) : v_load(at + j * VW);
                        acc[i][j] = v_fma(x, w[j], acc[i][j]);
                    }
                }
            }
        }
    }
    if (o->bias)
        V_UNROLL for (int j = 0; j < nv; j++) {
            vreal bias = j == nv - 1 ? v_load_m(o->bias + j * VW, tail) : v_load(o->bias + j * VW);
            V_UNROLL for (int i = 0; i < mr; i++)
                acc[i][j] = v_add(acc[i][j], bias);
        }
    if (o->relu)
        V_UNROLL for (int i = 0; i < mr; i++)
            V_UNROLL for (int j = 0; j < nv; j++)
                acc[i][j] = relu_y(acc[i][j], NULL);
    c = o->c;
    V_UNROLL for (int i = 0; i < mr; i++, c += c_pixel)
        V_UNROLL for (int j = 0; j < nv; j++) {
            if (j == nv - 1)
                v_store_m(c + j * VW, tail, acc[i][j]);
            else
                v_store(c + j * VW, acc[i][j]);
        }
}

typedef void conv_tile_fn(const conv_run *o);
#define CONV_TILE(mr, nv) static void conv_ukr_##mr##x##nv(const conv_run *o) { conv_tile(mr, nv, 0, 0, o); }
#define CONV_ACROSS(mr, nv)                                                                               \
    static void conv_across_ukr_##mr##x##nv(const conv_run *o) { conv_tile(mr, nv, 1, 0, o); }            \
    static void conv_across_ukr_ragged_##mr##x##nv(const conv_run *o) { conv_tile(mr, nv, 1, 1, o); }
#define CONV_TILE_NAMES(mr, nv) conv_ukr_##mr##x##nv,
#define CONV_ACROSS_NAMES(mr, nv) {conv_across_ukr_##mr##x##nv, conv_across_ukr_ragged_##mr##x##nv},
#if defined(NN_ISA_AVX512) || defined(NN_ISA_NEON)
#define TILES_LOW(X, nv) TILES_6(X, nv) X(7, nv)
#else
#define TILES_LOW TILES
#endif
TILES(CONV_TILE, 1)
TILES(CONV_TILE, 2)
TILES_LOW(CONV_ACROSS, 1)
TILES_LOW(CONV_ACROSS, 2)

static conv_tile_fn *const conv_tiles[NV][MR] = {{TILES(CONV_TILE_NAMES, 1)}, {TILES(CONV_TILE_NAMES, 2)}};
static conv_tile_fn *const conv_across_tiles[NV][MR][2] = {{TILES_LOW(CONV_ACROSS_NAMES, 1)},
                                                           {TILES_LOW(CONV_ACROSS_NAMES, 2)}};

/* ---- the sweep ------------------------------------------------------------------------------------------------- */

/* A gather: tensors, their strides, and the weights' - element (tap, input channel i, output o) of group g is
 * w[tap w_tap + g w_group + i w_in + o w_out]. */
typedef struct conv_job {
    const real *in, *w, *bias;
    real *out;
    int64_t in_image, in_row, in_pixel, out_image, out_row, out_pixel;
    int64_t inputs, outputs, R, S, w_tap, w_group, w_in, w_out; /* inputs and outputs of a group */
    int64_t panels;                                             /* of all groups */
    conv_axis h, w_axis;
    int64_t few; /* so many pixels in a row or column are worth a tile; fewer run through the images */
    int relu, backward, across, by_image, window;
} conv_job;

/* The part of the weights that is packed: panels [panel, panel_end), taps of rows [r0, r1) x columns [s0, s1), input
 * channels [k0, k1); whether the chains begin and end with it. */
typedef struct conv_part {
    int64_t panel, panel_end, r0, r1, s0, s1, k0, k1;
    int first, last;
    const real *packed;
    int64_t panel_size; /* of a full panel */
} conv_part;

static int64_t conv_panel_columns(const conv_job *x, int64_t panel)
{
    int64_t per_group = (x->outputs + NR - 1) / NR;
    return at_most(x->outputs - panel % per_group * NR, NR);
}

static void conv_pack(const conv_job *x, const conv_part *part, real *to)
{
    int64_t per_group = (x->outputs + NR - 1) / NR, k = part->k1 - part->k0;
    for (int64_t p = part->panel; p < part->panel_end; p++) {
        const real *w = x->w + p / per_group * x->w_group + p % per_group * NR * x->w_out + part->k0 * x->w_in;
        real *panel = to + (p - part->panel) * part->panel_size;
        for (int64_t r = part->r0; r < part->r1; r++)
            for (int64_t s = part->s0; s < part->s1; s++)
                panel += k * pack(panel, w + (r * x->S + s) * x->w_tap, x->w_out, x->w_in, conv_panel_columns(x, p), k);
    }
}

/* So many places, in and out apart in input and output. */
typedef struct conv_steps {
    int64_t count, in, out;
} conv_steps;

/* Tiles along `run`, as even as can be, at every place of x and y. */
static void conv_runs(conv_run o, int64_t nv, int across, conv_steps x, conv_steps y, conv_steps run)
{
    const int64_t most = across ? at_most(MR, CONV_LOW) : MR, ragged = !m_all(o.tail);
    const int64_t parts = (run.count + most - 1) / most, low = run.count / parts, more = run.count % parts;
    const conv_run start = o;
    o.pixel = run.in;
    o.c_pixel = run.out;
    o.ahead = conv_max(0, (o.rows - 1) * o.a_row) * (int64_t)sizeof(real) + CONV_AHEAD;
    o.ahead_step = (low + 2) * run.in * (int64_t)sizeof(real) / conv_max(1, o.rows * o.columns * o.k) + 1;
    for (int64_t i = 0; i < x.count; i++)
        for (int64_t j = 0; j < y.count; j++) {
            o.a = start.a + i * x.in + j * y.in;
            o.c = start.c + i * x.out + j * y.out;
            for (int64_t t = 0, mr; t < parts; t++, o.a += mr * run.in, o.c += mr * run.out) {
                mr = low + (t < more);
                (across ? conv_across_tiles[nv - 1][mr - 1][ragged] : conv_tiles[nv - 1][mr - 1])(&o);
            }
        }
}

/* One panel at the places of one class of rows and one of columns, in images [n, end). */
static void conv_cell(const conv_job *x, const conv_part *part, int64_t panel, const conv_class *rows,
                      const conv_class *columns, int64_t n, int64_t end)
{
    const conv_axis *h = &x->h, *w = &x->w_axis;
    int64_t per_group = (x->outputs + NR - 1) / NR, g = panel / per_group, o0 = g * x->outputs + panel % per_group * NR;
    int64_t width = conv_panel_columns(x, panel), nv = (width + VW - 1) / VW, k = part->k1 - part->k0, wide = nv * VW;
    int64_t b_tap = k * wide, taps = part->s1 - part->s0;
    conv_run o = {.bias = part->last && x->bias ? x->bias + o0 : NULL, .relu = part->last && x->relu, .resume = !part->first,
                  .rows = rows->t1 - rows->t0, .columns = columns->t1 - columns->t0, .k = k,
                  .tail = v_tail(width - (nv - 1) * VW)};
    if (o.rows && o.columns) {
        o.a = x->in + n * x->in_image + (h->in0 + rows->begin * h->in_step + rows->t0 * h->in_tap) * x->in_row +
              (w->in0 + columns->begin * w->in_step + columns->t0 * w->in_tap) * x->in_pixel + part->k0 +
              (x->across ? o0 : g * x->inputs);
        o.b = part->packed + (panel - part->panel) * part->panel_size +
              ((h->tap0 + rows->t0 * h->tap_step - part->r0) * taps + w->tap0 + columns->t0 * w->tap_step - part->s0) * b_tap;
        o.a_row = h->in_tap * x->in_row;
        o.a_column = w->in_tap * x->in_pixel;
        o.b_row = h->tap_step * taps * b_tap;
        o.b_column = w->tap_step * b_tap;
        if (o.a_column == k && o.b_column == b_tap) { /* taps side by side are one run of channels */
            o.k *= o.columns;
            o.columns = 1;
        }
    } else {
        o.rows = o.columns = 0; /* no tap: +0, or what is there already */
        o.a = x->in;
    }
    o.c = x->out + n * x->out_image + (h->out0 + rows->begin * h->out_step) * x->out_row +
          (w->out0 + columns->begin * w->out_step) * x->out_pixel + o0;
    conv_steps image = {end - n, x->in_image, x->out_image};
    conv_steps row = {rows->end - rows->begin, h->in_step * x->in_row, h->out_step * x->out_row};
    conv_steps pixel = {columns->end - columns->begin, w->in_step * x->in_pixel, w->out_step * x->out_pixel};
    if (pixel.count >= x->few || (pixel.count >= row.count && pixel.count >= image.count))
        conv_runs(o, nv, x->across, image, row, pixel);
    else if (row.count >= x->few || row.count >= image.count)
        conv_runs(o, nv, x->across, image, pixel, row);
    else
        conv_runs(o, nv, x->across, row, pixel, image);
}

/* All classes of a part of the weights, images [n, end): image by image, but corners for all images at once. */
static void conv_images(conv_job *x, const conv_part *part, int64_t n, int64_t end)
{
    conv_class rows[CONV_CLASSES], columns[CONV_CLASSES];
    int64_t j_row, j_column;
    for (int64_t i = x->h.begin; i < x->h.end; i = j_row) {
        int n_rows = conv_classes(&x->h, i, part->r0, part->r1, rows, &j_row);
        for (int64_t j = x->w_axis.begin; j < x->w_axis.end; j = j_column) {
            int n_columns = conv_classes(&x->w_axis, j, part->s0, part->s1, columns, &j_column);
            for (int64_t m = n; m <= end; m++) /* m == end: the corners */
                for (int64_t p = part->panel; p < part->panel_end; p++)
                    for (int a = 0; a < n_rows; a++)
                        for (int b = 0; b < n_columns; b++) {
                            int corner = rows[a].end - rows[a].begin < x->few &&
                                         columns[b].end - columns[b].begin < x->few;
                            if (corner && m == end)
                                conv_cell(x, part, p, &rows[a], &columns[b], n, end);
                            else if (!corner && m < end)
                                conv_cell(x, part, p, &rows[a], &columns[b], m, m + 1);
                        }
        }
    }
}
