/* emulate.c - instructions whose sums are kept in an emulated format, or added by another method: accumulate.h has the definition.
 *
 * A sum is made here term by term (sums.c), or, of a product to nearest and in any method but the exact one, with outputs in the
 * lanes (ops/accumulate_kernel.h), to the same bits. All that is not a sum - differences from a mean, divisions, the elements of a
 * normalised tensor - is float32's. A convolution is the product of its patches and its weights: a tap outside the image, or
 * between the strides, is a term of 0, and a weight's gradient one sum over all images of the shard.
 *
 * The variance is two-pass, as in ops/batch_norm.c and layer_norm.c: the mean, rounded, then the squares of x - mean. Threads
 * share the outputs; which thread makes one changes no bit. */
#include "accumulate.h"
#include "ops/conv_shape.h"

enum {
    SOME = 256,      /* terms that are computed at a time */
    FETCHED = 1 << 18 /* of a row of patches */
};
_Static_assert(FETCHED * sizeof(float) <= NN_RANK_NBYTES, "must fit the scratch");

static nn_accumulation open_for(const nn_call *c, int32_t op)
{
    return acc_open(c->dim[nn_sums_dim(op)], c->run->seed, (uint64_t)c->run->step);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static void begin_sum(nn_summing *sum, const nn_accumulation *in, int64_t element, int64_t n)
{
    nn_sum_open(sum, &in->m, in->method, n, 0);
    sum->m.a.index += (uint64_t)element << 32;
}

static void fetch_strided(const nn_emulated *e, float *to, int64_t stride, int64_t i, int64_t k, int64_t n)
{
    for (int64_t q = 0; q < n; q++)
        to[q * stride] = e->a[i * e->rsa + (k + q) * e->csa];
}

/* One element of c. `row`: terms of row i of a, all of them if they fit. */
static float element_of(const nn_emulated *e, float *row, int64_t i, int64_t j)
{
    nn_summing sum;
    begin_sum(&sum, &e->in, e->first + i * e->rsc + j, e->k);
    for (int64_t k = 0, fetched = 0, n; k < e->k; k += n) {
        if (e->k > FETCHED && k == fetched) {
            fetched = e->k - k < FETCHED ? e->k : k + FETCHED;
            e->fetch(e, row, 1, i, k, fetched - k);
        }
        const int64_t end = e->k > FETCHED ? fetched : e->k, left = e->inner - k % e->inner;
        n = left < end - k ? left : end - k;
        const nn_terms x = {row + k % FETCHED, 1, 0};
        const nn_terms y = {nn_emulated_row(e, k) + j * e->csb, e->rsb, 0};
        nn_sum_add(&sum, &x, &y, n);
    }
    return (float)nn_sum_close(&sum);
}

static void one_by_one(const nn_emulated *e, float *row)
{
    for (int64_t i = e->i; i < e->i_end; i++) {
        if (e->k <= FETCHED)
            e->fetch(e, row, 1, i, 0, e->k);
        for (int64_t j = e->j; j < e->j_end; j++)
            e->c[i * e->rsc + j] = element_of(e, row, i, j);
    }
}

/* This rank's part of a product and what stands behind it: + bias (n, or NULL), then act, an elementwise _fwd op or -1. */
static void drive_product(const nn_call *c, nn_emulated e, int plain, const float *bias, int64_t act)
{
    const int by_rows = e.m >= e.n;
    int64_t begin, end;
    nn_team_split(c->team, by_rows ? e.m : e.n, NN_GRAIN, &begin, &end);
    e.i = by_rows ? begin : 0, e.i_end = by_rows ? end : e.m;
    e.j = by_rows ? 0 : begin, e.j_end = by_rows ? e.n : end;
    if (plain || e.in.m.kind == MACHINE_EMULATED || e.in.method == NN_SUM_EXACT)
        one_by_one(&e, (float *)(void *)c->team->scratch);
    else
        c->set->emulated(&e, c->team->scratch);
    int64_t columns = e.j_end - e.j;
    for (int64_t i = e.i; i < e.i_end; i++) {
        float *y = e.c + i * e.rsc + e.j;
        for (int64_t j = 0; bias && j < columns; j++)
            y[j] += bias[e.j + j];
        if (act >= 0) {
            void *arg[2] = {y, y};
            nn_call call = {.arg = arg, .dim = &columns, .scalar = c->scalar};
            nn_kernel_of(c, act)(&call, 0, columns);
        }
    }
}

static void dense(const nn_call *c, int32_t op, int plain)
{
    const int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2];
    nn_emulated e = {.in = open_for(c, op), .m = N, .n = O, .k = I, .fetch = fetch_strided, .a = c->arg[1], .rsa = I, .csa = 1,
                     .b = c->arg[2], .rsb = O, .csb = 1, .inner = INT64_MAX, .c = c->arg[0], .rsc = O};
    if (op == NN_OP_DENSE_FWD) {
        drive_product(c, e, plain, c->arg[3], c->dim[3]);
    } else if (op == NN_OP_DENSE_BWD_DATA) {
        e.n = I, e.k = O, e.rsa = O, e.rsb = 1, e.csb = O, e.rsc = I;
        drive_product(c, e, plain, NULL, -1);
    } else {
        const int64_t shards = c->dim[3];
        e.m = I, e.k = N / shards, e.rsa = 1, e.csa = I;
        for (int64_t s = 0; s < shards; s++, e.a += e.k * I, e.b += e.k * O, e.c += I * O, e.first += I * O)
            drive_product(c, e, plain, NULL, -1);
    }
}

/* ---- convolutions ------------------------------------------------------------------------------------------------- */

/* What weight `tap` (r, s, c) sees for the output `place` (n, p, q). */
static float patch(const nn_emulated *e, int64_t place, int64_t tap)
{
    const conv_shape *v = e->shape;
    const int64_t C = v->C / v->G, c = tap % C, s = tap / C % v->S, r = tap / C / v->S;
    const int64_t q = place % v->Q, p = place / v->Q % v->P, n = place / v->Q / v->P;
    const int64_t h = p * v->sh - v->pt + r * v->dh, w = q * v->sw - v->pl + s * v->dw;
    return h >= 0 && h < v->H && w >= 0 && w < v->W ? e->a[((n * v->H + h) * v->W + w) * v->C + c] : 0;
}

static void fetch_forward(const nn_emulated *e, float *to, int64_t stride, int64_t i, int64_t k, int64_t n)
{
    for (int64_t q = 0; q < n; q++)
        to[q * stride] = patch(e, i, k + q);
}

static void fetch_weight(const nn_emulated *e, float *to, int64_t stride, int64_t i, int64_t k, int64_t n)
{
    for (int64_t q = 0; q < n; q++)
        to[q * stride] = patch(e, k + q, i);
}

/* Row i is a pixel (n, h, w) of the input; term (r, s, k) the output that it reaches through that tap. */
static void fetch_backward(const nn_emulated *e, float *to, int64_t stride, int64_t i, int64_t from, int64_t n)
{
    const conv_shape *v = e->shape;
    const int64_t K = v->K / v->G, w = i % v->W, h = i / v->W % v->H, image = i / v->W / v->H;
    for (int64_t t = from; t < from + n; t++, to += stride) {
        const int64_t k = t % K, s = t / K % v->S, r = t / K / v->S, p = h + v->pt - r * v->dh, q = w + v->pl - s * v->dw;
        const int met = p >= 0 && q >= 0 && p % v->sh == 0 && q % v->sw == 0 && p / v->sh < v->P && q / v->sw < v->Q;
        *to = met ? e->a[((image * v->P + p / v->sh) * v->Q + q / v->sw) * v->K + k] : 0;
    }
}

static void conv_weight(const nn_call *c, nn_emulated e, const conv_shape *v, int plain)
{
    const int64_t images = v->N / v->last, count = e.m * v->K;
    e.k = images * v->P * v->Q;
    for (int64_t z = 0; z < v->last; z++) {
        drive_product(c, e, plain, NULL, -1);
        e.a += images * v->H * v->W * v->C, e.b += e.k * v->K;
        e.c += count, e.first += count;
    }
}

static void conv(const nn_call *c, int32_t op, int plain)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t C = v.C / v.G, K = v.K / v.G, taps = v.R * v.S;
    for (int64_t g = 0; g < v.G; g++) {
        nn_emulated e = {.in = open_for(c, op), .n = K, .shape = &v, .inner = INT64_MAX, .rsb = v.K, .csb = 1, .rsc = v.K,
                         .first = g * K, .c = (float *)c->arg[0] + g * K, .a = (const float *)c->arg[1] + g * C,
                         .b = (const float *)c->arg[2] + g * K};
        const float *bias = op == NN_OP_CONV_BWD_WEIGHT ? NULL : c->arg[3];
        if (op == NN_OP_CONV_FWD) {
            e.m = v.N * v.P * v.Q, e.k = taps * C, e.fetch = fetch_forward;
            drive_product(c, e, plain, bias ? bias + g * K : NULL, v.last);
        } else if (op == NN_OP_CONV_BWD_WEIGHT) {
            e.m = taps * C, e.fetch = fetch_weight;
            conv_weight(c, e, &v, plain);
        } else {
            e.m = v.N * v.H * v.W, e.n = C, e.k = taps * K, e.fetch = fetch_backward;
            e.a = (const float *)c->arg[1] + g * K, e.c = (float *)c->arg[0] + g * C, e.rsc = v.C, e.first = g * C;
            e.inner = K, e.rsb = 1, e.csb = v.K, e.outer_stride = C * v.K;
            drive_product(c, e, plain, bias ? bias + g * C : NULL, v.last);
        }
    }
}

/* ---- sums of numbers ---------------------------------------------------------------------------------------------- */

static float sum_of(const nn_accumulation *in, int64_t element, const float *x, int64_t stride, int64_t n, int squares)
{
    nn_summing sum;
    const nn_terms t = {x, stride, 0};
    begin_sum(&sum, in, element, n);
    nn_sum_add(&sum, &t, squares ? &t : NULL, n);
    return (float)nn_sum_close(&sum);
}

static float sum_of_sizes(const nn_accumulation *in, const float *x, int64_t n)
{
    nn_summing sum;
    float size[SOME];
    const nn_terms t = {size, 1, 0};
    begin_sum(&sum, in, 0, n);
    for (int64_t i = 0; i < n; i += SOME) {
        const int64_t some = n - i < SOME ? n - i : SOME;
        for (int64_t j = 0; j < some; j++)
            size[j] = __builtin_fabsf(x[i + j]);
        nn_sum_add(&sum, &t, NULL, some);
    }
    return (float)nn_sum_close(&sum);
}

/* Columns of x (parts, rows, C), or all of each part as one column. */
static void reduce(const nn_call *c, int32_t op)
{
    const nn_accumulation in = open_for(c, op);
    const int64_t *d = c->dim;
    const int columns = op == NN_OP_SUM_ROWS || op == NN_OP_TREE_SUM;
    const int64_t C = op == NN_OP_SUM_ROWS ? d[1] : op == NN_OP_TREE_SUM ? d[0] : 1;
    const int64_t parts = op == NN_OP_SUM_ROWS ? d[2] : op == NN_OP_SUM_ALL ? d[1] : 1;
    const int64_t rows = op == NN_OP_TREE_SUM ? d[1] : d[0] / parts;
    int64_t i, end;
    for (nn_team_split(c->team, parts * C, columns ? NN_GRAIN : 1, &i, &end); i < end; i++) {
        const float *x = (const float *)c->arg[1] + i / C * rows * C + i % C;
        const float sum = op == NN_OP_SUM_ABS ? sum_of_sizes(&in, x, rows) : sum_of(&in, i, x, C, rows, op == NN_OP_SUM_SQUARES);
        ((float *)c->arg[0])[i] = columns ? sum : (float)c->scalar[0] * sum;
    }
}

/* ---- normalisations ----------------------------------------------------------------------------------------------- */

/* n terms g z, g alone or, where dy is NULL, z^2: g = dy gamma, z = (x - mean) inverse. gamma and inverse may be NULL. */
typedef struct centred {
    const float *x, *mean, *inverse, *dy, *gamma;
    int64_t x_stride, mean_stride, dy_stride, gamma_stride;
} centred;

static float sum_centred(const nn_accumulation *in, int64_t element, const centred *t, int64_t n, int alone)
{
    nn_summing sum;
    float z[SOME], g[SOME];
    const nn_terms left = {t->dy ? g : z, 1, 0}, right = {z, 1, 0};
    begin_sum(&sum, in, element, n);
    for (int64_t i = 0; i < n; i += SOME) {
        const int64_t some = n - i < SOME ? n - i : SOME;
        for (int64_t j = 0; j < some; j++) {
            const int64_t k = i + j;
            z[j] = alone ? 0 : t->x[k * t->x_stride] - t->mean[k * t->mean_stride];
            if (t->inverse && !alone)
                z[j] *= t->inverse[k * t->mean_stride];
            if (t->dy)
                g[j] = t->gamma ? t->dy[k * t->dy_stride] * t->gamma[k * t->gamma_stride] : t->dy[k * t->dy_stride];
        }
        nn_sum_add(&sum, &left, alone ? NULL : &right, some);
    }
    return (float)nn_sum_close(&sum);
}

static float inverse_of(const nn_call *c, float var) { return 1 / __builtin_sqrtf(var + (float)c->scalar[0]); }

/* The last pass of a batch normalisation's kernel, which takes what stands in mean and `work` (batch_norm.c). */
static void finish_batch(const nn_call *c, int32_t op)
{
    const int64_t shards = c->dim[2], rows = c->dim[0] / shards;
    nn_call last = *c;
    last.pass = 2;
    nn_team_barrier(c->team, &c->fault->code);
    nn_drive_range(&last, op, (rows + c->dim[3] - 1) / c->dim[3] * shards, 1);
}

/* Where batch_norm.c keeps its factors, behind the sums of the chunks. */
static float *factors_of(const nn_call *c)
{
    const int64_t C = c->dim[1], shards = c->dim[2], rows = c->dim[0] / shards, chunks = (rows + c->dim[3] - 1) / c->dim[3];
    return (float *)c->arg[3] + 2 * shards * chunks * C;
}

static void batch_norm_fwd(const nn_call *c)
{
    const nn_accumulation in = open_for(c, NN_OP_BATCH_NORM_FWD);
    const int64_t C = c->dim[1], shards = c->dim[2], n = c->dim[0] / shards;
    const float *gamma = c->arg[5];
    float *mean = c->arg[1], *var = c->arg[2], *factor = factors_of(c);
    int64_t i, end;
    for (nn_team_split(c->team, shards * C, NN_GRAIN, &i, &end); i < end; i++) {
        const float *x = (const float *)c->arg[4] + i / C * n * C + i % C;
        mean[i] = sum_of(&in, i, x, C, n, 0) / (float)n;
        const centred t = {.x = x, .mean = mean + i, .x_stride = C};
        var[i] = sum_centred(&in, shards * C + i, &t, n, 0) / (float)n;
        factor[i] = (gamma ? gamma[i % C] : 1) * inverse_of(c, var[i]);
    }
    finish_batch(c, NN_OP_BATCH_NORM_FWD);
}

static void batch_norm_bwd(const nn_call *c)
{
    const nn_accumulation in = open_for(c, NN_OP_BATCH_NORM_BWD);
    const int64_t C = c->dim[1], shards = c->dim[2], n = c->dim[0] / shards, plane = shards * C, fixed = c->dim[4];
    const float *gamma = c->arg[8];
    float *dgamma = c->arg[1], *dbeta = c->arg[2], *factor = factors_of(c);
    int64_t i, end;
    for (nn_team_split(c->team, plane, NN_GRAIN, &i, &end); i < end; i++) {
        const int64_t at = i / C * n * C + i % C, stat = fixed ? i % C : i;
        const float inverse = inverse_of(c, ((const float *)c->arg[7])[stat]);
        const centred t = {.x = (const float *)c->arg[5] + at, .mean = (const float *)c->arg[6] + stat, .x_stride = C,
                           .dy = (const float *)c->arg[4] + at, .dy_stride = C};
        dbeta[i] = sum_centred(&in, plane + i, &t, n, 1);
        dgamma[i] = sum_centred(&in, i, &t, n, 0) * inverse;
        factor[i] = (gamma ? gamma[i % C] : 1) * inverse;
        factor[plane + i] = fixed ? 0 : dbeta[i] / (float)n;
        factor[2 * plane + i] = fixed ? 0 : dgamma[i] * inverse / (float)n;
    }
    finish_batch(c, NN_OP_BATCH_NORM_BWD);
}

static void layer_norm_fwd(const nn_call *c)
{
    const nn_accumulation in = open_for(c, NN_OP_LAYER_NORM_FWD);
    const int64_t N = c->dim[0], D = c->dim[1];
    const float *gamma = c->arg[4], *beta = c->arg[5];
    float *mean = c->arg[1], *inverse = c->arg[2];
    int64_t i, end;
    for (nn_team_split(c->team, N, 1, &i, &end); i < end; i++) {
        const float *x = (const float *)c->arg[3] + i * D;
        float *y = (float *)c->arg[0] + i * D;
        mean[i] = sum_of(&in, i, x, 1, D, 0) / (float)D;
        const centred t = {.x = x, .mean = mean + i, .x_stride = 1};
        inverse[i] = inverse_of(c, sum_centred(&in, N + i, &t, D, 0) / (float)D);
        for (int64_t j = 0; j < D; j++) {
            const float z = (x[j] - mean[i]) * inverse[i];
            y[j] = gamma ? nn_fmaf_soft(z, gamma[j], beta[j]) : z;
        }
    }
}

static void layer_norm_bwd(const nn_call *c)
{
    const nn_accumulation in = open_for(c, NN_OP_LAYER_NORM_BWD);
    const int64_t N = c->dim[0], D = c->dim[1];
    const float *mean = c->arg[3], *inverse = c->arg[4], *gamma = c->arg[5];
    int64_t i, end;
    for (nn_team_split(c->team, N, 1, &i, &end); i < end; i++) {
        const float *dy = (const float *)c->arg[1] + i * D, *x = (const float *)c->arg[2] + i * D;
        float *dx = (float *)c->arg[0] + i * D;
        const centred t = {x, mean + i, inverse + i, dy, gamma, 1, 0, 1, 1};
        const float sum = sum_centred(&in, i, &t, D, 1) / (float)D, product = sum_centred(&in, N + i, &t, D, 0) / (float)D;
        for (int64_t j = 0; j < D; j++) {
            const float g = gamma ? dy[j] * gamma[j] : dy[j];
            dx[j] = inverse[i] * nn_fmaf_soft(-((x[j] - mean[i]) * inverse[i]), product, g - sum);
        }
    }
}

static void layer_norm_bwd_weight(const nn_call *c)
{
    const nn_accumulation in = open_for(c, NN_OP_LAYER_NORM_BWD_WEIGHT);
    const int64_t D = c->dim[1], shards = c->dim[2], rows = c->dim[0] / shards;
    int64_t i, end;
    for (nn_team_split(c->team, shards * D, NN_GRAIN, &i, &end); i < end; i++) {
        const int64_t row = i / D * rows, at = row * D + i % D;
        const centred t = {.x = (const float *)c->arg[3] + at, .mean = (const float *)c->arg[4] + row, .x_stride = D,
                           .inverse = (const float *)c->arg[5] + row, .mean_stride = 1,
                           .dy = (const float *)c->arg[2] + at, .dy_stride = D};
        ((float *)c->arg[0])[i] = sum_centred(&in, i, &t, rows, 0);
        ((float *)c->arg[1])[i] = sum_centred(&in, shards * D + i, &t, rows, 1);
    }
}

void nn_emulate(const nn_call *c, int32_t op, int plain)
{
    switch (op) {
    case NN_OP_DENSE_FWD:
    case NN_OP_DENSE_BWD_DATA:
    case NN_OP_DENSE_BWD_WEIGHT: dense(c, op, plain); return;
    case NN_OP_CONV_FWD:
    case NN_OP_CONV_BWD_DATA:
    case NN_OP_CONV_BWD_WEIGHT: conv(c, op, plain); return;
    case NN_OP_BATCH_NORM_FWD: batch_norm_fwd(c); return;
    case NN_OP_BATCH_NORM_BWD: batch_norm_bwd(c); return;
    case NN_OP_LAYER_NORM_FWD: layer_norm_fwd(c); return;
    case NN_OP_LAYER_NORM_BWD: layer_norm_bwd(c); return;
    case NN_OP_LAYER_NORM_BWD_WEIGHT: layer_norm_bwd_weight(c); return;
    default: reduce(c, op);
    }
}
