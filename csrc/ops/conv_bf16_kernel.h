/* conv_bf16_kernel.h - convolutions in the math modes of bfloat16 where there are no tiles: bf16_kernel.h's product, with rows
 * of A gathered from the image. Slow and right, as that is. */

/* One image: the taps that places (rows x columns of the output's phase) see. */
typedef struct conv_bf16_image {
    const conv_shape *v;
    const float *in, *w;
    float *out;
    int64_t inputs, in_row, w_in, w_out, out_row, out_pixel, unit;
    conv_axis h, w_axis;
} conv_bf16_image;

/* Terms (tap, input): whole runs of inputs, zeros where the tap is outside. */
static void conv_bf16_patch(const void *operand, int64_t i, int64_t k, int64_t count, float *to)
{
    const conv_bf16_image *x = operand;
    const conv_axis *h = &x->h, *w = &x->w_axis;
    const int64_t columns = w->end - w->begin, p = h->begin + i / columns, q = w->begin + i % columns;
    while (count > 0) {
        const int64_t tap = k / x->inputs, a = k % x->inputs, run = at_most(count, x->inputs - a);
        const int64_t row = h->in0 + p * h->in_step + tap / w->taps * h->in_tap;
        const int64_t column = w->in0 + q * w->in_step + tap % w->taps * w->in_tap;
        const int inside = row >= 0 && row < h->in_size && column >= 0 && column < w->in_size;
        for (int64_t j = 0; j < run; j++)
            to[j] = inside ? x->in[row * x->in_row + column * x->inputs + a + j] : 0;
        to += run;
        k += run;
        count -= run;
    }
}

static void conv_bf16_filter(const void *operand, int64_t i, int64_t k, int64_t count, float *to)
{
    const conv_bf16_image *x = operand;
    for (; count > 0; k++, count--) {
        const int64_t tap = k / x->inputs, r = x->h.tap0 + tap / x->w_axis.taps * x->h.tap_step;
        const int64_t s = x->w_axis.tap0 + tap % x->w_axis.taps * x->w_axis.tap_step;
        *to++ = x->w[(r * x->v->S + s) * x->v->C * x->v->K + k % x->inputs * x->w_in + i * x->w_out];
    }
}

static float *conv_bf16_pixel(const void *c, int64_t i)
{
    const conv_bf16_image *x = c;
    const int64_t columns = x->w_axis.end - x->w_axis.begin, p = x->h.begin + i / columns, q = x->w_axis.begin + i % columns;
    return x->out + (x->h.out0 + p * x->h.out_step) * x->out_row + (x->w_axis.out0 + q * x->w_axis.out_step) * x->out_pixel;
}

/* Images [begin, end) of y or, backward, of dx. */
static void conv_bf16_gather(const nn_call *c, int64_t begin, int64_t end, int backward)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t rows = backward ? v.H : v.P, columns = backward ? v.W : v.Q, outputs = backward ? v.C : v.K;
    conv_bf16_image x = {.v = &v, .w = c->arg[2], .inputs = backward ? v.K : v.C, .w_in = backward ? 1 : v.K,
                         .w_out = backward ? v.K : 1, .out_row = columns * outputs, .out_pixel = outputs};
    x.in_row = (backward ? v.Q : v.W) * x.inputs;
    for (int64_t n = begin; n < end; n++) {
        x.in = (const float *)c->arg[1] + n * (backward ? v.P : v.H) * x.in_row;
        x.out = (float *)c->arg[0] + n * rows * x.out_row;
        for (int64_t i = 0; i < (backward ? v.sh : 1); i++)
            for (int64_t j = 0; j < (backward ? v.sw : 1); j++) {
                conv_axes(&v, backward, i, j, 0, rows, &x.h, &x.w_axis);
                bf16_product o = {.m = (x.h.end - x.h.begin) * (x.w_axis.end - x.w_axis.begin), .n = outputs,
                                  .k = x.h.taps * x.w_axis.taps * x.inputs, .planes = (int)v.planes,
                                  .fetch_a = conv_bf16_patch, .fetch_b = conv_bf16_filter, .a = &x, .b = &x,
                                  .row = conv_bf16_pixel, .c = &x};
                bf16_multiply(&o, c->team->scratch, NN_RANK_NBYTES);
            }
        nn_gemm_args g = {.n = outputs, .c = x.out, .rsc = outputs, .bias = c->arg[3], .scalar = c->scalar,
                          .act = v.last < 0 ? NULL : nn_kernel_of(c, v.last)};
        for (int64_t i = 0; i < rows * columns && (g.bias || g.act); i++)
            epilogue(&g, i, 1, 0, outputs);
    }
}

static void conv_bf16_fwd(const nn_call *c, int64_t begin, int64_t end) { conv_bf16_gather(c, begin, end, 0); }
static void conv_bf16_bwd_data(const nn_call *c, int64_t begin, int64_t end) { conv_bf16_gather(c, begin, end, 1); }

/* Row (r, s, c) of the unit's weights over places [k, k + count). */
static void conv_bf16_row(const void *operand, int64_t i, int64_t k, int64_t count, float *to)
{
    const conv_bf16_image *x = operand;
    const conv_shape *v = x->v;
    const int64_t m = x->unit % conv_strips(v) * CONV_SIDE + i, r = m / v->C / v->S, s = m / v->C % v->S;
    for (int64_t f = k; f < k + count; f++) {
        const int64_t pixel = conv_pixel_at(v, r, s, f + conv_reach(v, r, s));
        *to++ = pixel < 0 ? 0 : x->in[pixel * v->C + m % v->C];
    }
}

static void conv_bf16_column(const void *operand, int64_t i, int64_t k, int64_t count, float *to)
{
    const conv_bf16_image *x = operand;
    for (int64_t f = k; f < k + count; f++) {
        const int64_t place = conv_place_at(x->v, f);
        *to++ = place < 0 ? 0 : x->w[place * x->v->K + x->unit / conv_strips(x->v) * CONV_SIDE + i];
    }
}

static float *conv_bf16_sums(const void *c, int64_t i) { return ((const conv_bf16_image *)c)->out + i * CONV_SIDE; }

enum { CONV_BF16_SUMS = 1 << 19 }; /* bytes of the scratch */

static void conv_bf16_chain(const nn_call *c, const conv_shape *v, float *sums, int64_t unit, int64_t units, int64_t n,
                            int64_t end)
{
    const int64_t strips = conv_strips(v);
    for (int64_t i = 0; i < units * CONV_SIDE * CONV_SIDE; i++)
        sums[i] = 0;
    for (int64_t u = unit; u < unit + units; u++)
        for (int64_t m = n; m < end; m++) {
            conv_bf16_image x = {.v = v, .unit = u, .out = sums + (u - unit) * CONV_SIDE * CONV_SIDE,
                                 .in = (const float *)c->arg[1] + m * v->H * v->W * v->C,
                                 .w = (const float *)c->arg[2] + m * v->P * v->Q * v->K};
            bf16_product o = {.m = at_most(CONV_SIDE, v->R * v->S * v->C - u % strips * CONV_SIDE),
                              .n = at_most(CONV_SIDE, v->K - u / strips * CONV_SIDE), .k = conv_blocks(v) * BF16_BLOCK,
                              .planes = (int)v->planes, .fetch_a = conv_bf16_row, .fetch_b = conv_bf16_column, .a = &x, .b = &x,
                              .row = conv_bf16_sums, .c = &x, .resume = 1};
            bf16_multiply(&o, c->team->scratch + CONV_BF16_SUMS, NN_RANK_NBYTES - CONV_BF16_SUMS);
        }
}

static void conv_bf16_bwd_weight(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    for (; begin < end; begin++)
        conv_units(c, &v, conv_bf16_chain, (float *)(void *)c->team->scratch, begin, 1);
}
