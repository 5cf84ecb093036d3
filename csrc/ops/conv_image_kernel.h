/* conv_image_kernel.h - the KERNEL part of conv.c for few output channels, which would leave most lanes of a vector empty:
 * images of the batch stand in the lanes instead, and weights are broadcast. LeNet's layers run 2 to 3 times as fast.
 *
 * VW images are first turned into [row][column][channel][lane] in the scratch; a row of results is turned back. All lanes
 * are the same place of the output, so they see the same taps: nothing is masked, and no lane idles but for missing images,
 * which are copies of the last one. */
#if defined(NN_ISA_AVX512) || defined(NN_ISA_NEON)
enum { CONV_PLACES = 4, CONV_BLOCK = 6 }; /* a tile: 24 sums, 4 inputs, a weight */
#else
enum { CONV_PLACES = 2, CONV_BLOCK = 6 };
#endif

/* Places x_pixel apart in the planes and y_pixel in the row of results; rows x columns of taps, k channels each. */
typedef struct conv_image_run {
    const real *x, *w, *bias;
    real *y;
    int64_t x_pixel, y_pixel, rows, columns, k, x_row, x_column, w_row, w_column;
    int relu;
} conv_image_run;

V_INLINE void conv_image_tile(const int places, const int outputs, const conv_image_run *o)
{
    vreal acc[CONV_PLACES][CONV_BLOCK];
    V_UNROLL for (int i = 0; i < places; i++)
        V_UNROLL for (int j = 0; j < outputs; j++)
            acc[i][j] = v_zero();
    const int64_t x_pixel = o->x_pixel;
    for (int64_t r = 0; r < o->rows; r++)
        for (int64_t s = 0; s < o->columns; s++) {
            const real *x = o->x + r * o->x_row + s * o->x_column, *w = o->w + r * o->w_row + s * o->w_column;
            for (int64_t k = o->k; k > 0; k--, x += VW, w += outputs) {
                vreal in[CONV_PLACES];
                V_UNROLL for (int i = 0; i < places; i++)
                    in[i] = v_load(x + i * x_pixel);
                V_UNROLL for (int j = 0; j < outputs; j++) {
                    const vreal weight = v_set1(w[j]);
                    V_UNROLL for (int i = 0; i < places; i++)
                        acc[i][j] = v_fma(in[i], weight, acc[i][j]);
                }
            }
        }
    if (o->bias)
        V_UNROLL for (int j = 0; j < outputs; j++)
            V_UNROLL for (int i = 0; i < places; i++)
                acc[i][j] = v_add(acc[i][j], v_set1(o->bias[j]));
    if (o->relu)
        V_UNROLL for (int j = 0; j < outputs; j++)
            V_UNROLL for (int i = 0; i < places; i++)
                acc[i][j] = relu_y(acc[i][j], NULL);
    real *y = o->y;
    V_UNROLL for (int i = 0; i < places; i++, y += o->y_pixel)
        V_UNROLL for (int j = 0; j < outputs; j++)
            v_store(y + j * VW, acc[i][j]);
}

typedef void conv_image_fn(const conv_image_run *o);
#define CONV_IMAGE_TILE(outputs, places) \
    static void conv_image_ukr_##places##x##outputs(const conv_image_run *o) { conv_image_tile(places, outputs, o); }
#define CONV_IMAGE_NAMES(outputs, places) conv_image_ukr_##places##x##outputs,
TILES_6(CONV_IMAGE_TILE, 1)
TILES_6(CONV_IMAGE_TILE, 2)
#if defined(NN_ISA_AVX512) || defined(NN_ISA_NEON)
TILES_6(CONV_IMAGE_TILE, 3)
TILES_6(CONV_IMAGE_TILE, 4)
#endif
static conv_image_fn *const conv_image_tiles[CONV_PLACES][CONV_BLOCK] = {
    {TILES_6(CONV_IMAGE_NAMES, 1)},
    {TILES_6(CONV_IMAGE_NAMES, 2)},
#if defined(NN_ISA_AVX512) || defined(NN_ISA_NEON)
    {TILES_6(CONV_IMAGE_NAMES, 3)},
    {TILES_6(CONV_IMAGE_NAMES, 4)},
#endif
};

/* Where things are in the scratch: weights [block of outputs][tap][channel][output], a row of results, the planes. */
typedef struct conv_planes {
    real *weights, *row, *planes;
    int64_t nbytes;
} conv_planes;

static conv_planes conv_planes_of(const conv_job *x, char *scratch)
{
    conv_planes p = {.weights = (real *)(void *)scratch};
    p.row = p.weights + (x->R * x->S * x->inputs * x->outputs + VW - 1) / VW * VW;
    p.planes = p.row + (x->w_axis.end - x->w_axis.begin) * x->outputs * VW;
    p.nbytes = (char *)(p.planes + x->h.in_size * x->w_axis.in_size * x->inputs * VW) - scratch;
    return p;
}

/* Group g's weights, and its channels of `images` images from n on as planes. */
static void conv_planes_fill(const conv_job *x, const conv_planes *p, int64_t n, int64_t images, int64_t g)
{
    const int64_t blocks = (x->outputs + CONV_BLOCK - 1) / CONV_BLOCK, pixels = x->h.in_size * x->w_axis.in_size;
    const real *w = x->w + g * x->w_group, *in = x->in + n * x->in_image + g * x->inputs;
    real *to = p->weights;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t tap = 0; tap < x->R * x->S; tap++)
            for (int64_t c = 0; c < x->inputs; c++)
                for (int64_t k = part_begin(x->outputs, blocks, b); k < part_begin(x->outputs, blocks, b + 1); k++)
                    *to++ = w[tap * x->w_tap + c * x->w_in + k * x->w_out];
    if (x->inputs == x->in_pixel)
        pack(p->planes, in, x->in_image, 1, images, pixels * x->inputs);
    else
        for (int64_t i = 0; i < pixels; i++)
            pack(p->planes + i * x->inputs * VW, in + i * x->in_pixel, x->in_image, 1, images, x->inputs);
}

/* Places of row i that have the same valid columns of taps, all outputs of group g. */
static void conv_image_places(const conv_job *x, const conv_planes *p, const conv_class *rows, int64_t i,
                              const conv_class *columns, int64_t g)
{
    const conv_axis *h = &x->h, *w = &x->w_axis;
    const int64_t pixel = x->inputs * VW, row = w->in_size * pixel, count = columns->end - columns->begin;
    const int64_t blocks = (x->outputs + CONV_BLOCK - 1) / CONV_BLOCK, parts = (count + CONV_PLACES - 1) / CONV_PLACES;
    const int seen = rows->t0 < rows->t1 && columns->t0 < columns->t1;
    const real *start = p->planes, *bias = x->bias ? x->bias + g * x->outputs : NULL;
    if (seen)
        start += (h->in0 + i * h->in_step + rows->t0 * h->in_tap) * row +
                 (w->in0 + columns->begin * w->in_step + columns->t0 * w->in_tap) * pixel;
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t o0 = part_begin(x->outputs, blocks, b), outputs = part_begin(x->outputs, blocks, b + 1) - o0;
        const int64_t tap = x->inputs * outputs;
        conv_image_run o = {.bias = bias ? bias + o0 : NULL, .relu = x->relu, .rows = seen ? rows->t1 - rows->t0 : 0,
                            .columns = columns->t1 - columns->t0, .k = x->inputs, .x_pixel = w->in_step * pixel,
                            .y_pixel = x->outputs * VW, .x_row = h->in_tap * row, .x_column = w->in_tap * pixel,
                            .w_row = h->tap_step * x->S * tap, .w_column = w->tap_step * tap};
        o.w = p->weights + x->R * x->S * x->inputs * o0 + (h->tap0 + rows->t0 * h->tap_step) * x->S * tap +
              (w->tap0 + columns->t0 * w->tap_step) * tap;
        if (o.x_column == pixel && o.w_column == tap) { /* taps side by side are one run of channels */
            o.k *= o.columns;
            o.columns = 1;
        }
        for (int64_t t = 0; t < parts; t++) {
            const int64_t j = part_begin(count, parts, t), places = part_begin(count, parts, t + 1) - j;
            o.x = start + j * o.x_pixel;
            o.y = p->row + ((columns->begin - w->begin + j) * x->outputs + o0) * VW;
            conv_image_tiles[places - 1][outputs - 1](&o);
        }
    }
}

/* The row of results, turned back, to `images` images from `to` on: all of it in one run where it lies so. */
static void conv_image_store(const conv_job *x, const real *row, real *to, int64_t images)
{
    const conv_axis *w = &x->w_axis;
    const int whole = w->out_step == 1 && x->outputs == x->out_pixel;
    const int64_t places = w->end - w->begin, runs = whole ? 1 : places, size = (whole ? places : 1) * x->outputs;
    for (int64_t run = 0; run < runs; run++, to += w->out_step * x->out_pixel)
        for (int64_t e = 0, n; e < size; e += n, row += n * VW) {
            n = at_most(VW, size - e);
            const vmask m = v_tail(n);
            vreal block[VW];
            V_UNROLL for (int q = 0; q < VW; q++)
                block[q] = q < n ? v_load(row + q * VW) : v_zero();
            v_transpose(block);
            for (int64_t l = 0; l < images; l++)
                v_store_m(to + l * x->out_image + e, m, block[l]);
        }
}

/* All rows of the axes, at most VW images. */
static void conv_image_images(const conv_job *x, char *scratch, int64_t n, int64_t images)
{
    const conv_planes p = conv_planes_of(x, scratch);
    const conv_axis *h = &x->h, *w = &x->w_axis;
    conv_class rows[CONV_CLASSES], columns[CONV_CLASSES];
    int64_t next;
    const int n_columns = conv_classes(w, w->begin, 0, x->S, columns, &next);
    const int64_t groups = x->panels / ((x->outputs + NR - 1) / NR);
    for (int64_t g = 0; g < groups && n_columns; g++) {
        real *out = x->out + n * x->out_image + (w->out0 + w->begin * w->out_step) * x->out_pixel + g * x->outputs;
        conv_planes_fill(x, &p, n, images, g);
        for (int64_t i = h->begin; i < h->end; i = next) {
            const int n_rows = conv_classes(h, i, 0, x->R, rows, &next);
            for (int a = 0; a < n_rows; a++)
                for (int64_t j = rows[a].begin; j < rows[a].end; j++) {
                    for (int b = 0; b < n_columns; b++)
                        conv_image_places(x, &p, &rows[a], j, &columns[b], g);
                    conv_image_store(x, p.row, out + (h->out0 + j * h->out_step) * x->out_row, images);
                }
        }
    }
}

/* Whether this way is open and worth it, in multiply-adds an image: idle lanes there against turning here. */
static int conv_image_suits(const conv_job *x, const nn_call *c, int64_t images)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t in = (x->backward ? v.P * v.Q : v.H * v.W) * x->inputs, out = x->backward ? v.H * v.W : v.P * v.Q;
    const int64_t terms = v.R * v.S * x->inputs;
    const int64_t vectors = (x->outputs + VW - 1) / VW, lanes = (images + VW - 1) / VW * VW;
    const int64_t here = (out * x->outputs * terms + CONV_TURN * (in + out * x->outputs)) * lanes;
    const int64_t there = out * vectors * VW * terms * images;
    conv_job probe = *x; /* with the largest values that the phases of a backward pass take */
    probe.h.in_size = x->backward ? v.P : v.H;
    probe.w_axis = (conv_axis){.in_size = x->backward ? v.Q : v.W, .end = x->backward ? v.W : v.Q};
    return VW > 1 && !x->across && 2 * v.S < CONV_CLASSES && (vectors == 1 ? 8 * here < 9 * there : 9 * here < 8 * there) &&
           conv_planes_of(&probe, c->team->scratch).nbytes <= NN_RANK_NBYTES;
}
