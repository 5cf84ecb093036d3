/* batch_norm_kernel.h - the KERNEL part of batch_norm.c, where formulas, order and errors stand.
 *
 * Columns are channels: a vector holds neighbouring channels, rows follow each other with stride C. Statistics walk down
 * a chunk one vector of channels at a time, the chunk staying in the first-level cache; elements are walked row by row. */

enum { BN_CHAINS = 4 }; /* an addition takes four cycles: four chains keep one vector of channels busy */

/* The shape of a call, and where its work buffer holds what. */
typedef struct bn_shape {
    int64_t C, shards, rows, chunk, chunks; /* rows of a shard; chunks of a shard */
    real *first, *second;                   /* (shards chunks, C): the two sums of each chunk */
    real *factor;                           /* (factors, shards, C): what the elementwise pass multiplies by */
} bn_shape;

static bn_shape bn_shape_of(const nn_call *c)
{
    bn_shape s = {.C = c->dim[1], .shards = c->dim[2], .rows = c->dim[0] / c->dim[2], .chunk = c->dim[3], .first = c->arg[3]};
    s.chunks = (s.rows + s.chunk - 1) / s.chunk;
    s.second = s.first + s.shards * s.chunks * s.C;
    s.factor = s.second + s.shards * s.chunks * s.C;
    return s;
}

/* Chunk t, counted through all shards: its shard, first row and rows. */
typedef struct bn_chunk {
    int64_t shard, row, rows;
} bn_chunk;

static bn_chunk bn_chunk_of(const bn_shape *s, int64_t t)
{
    const int64_t shard = t / s->chunks, begin = t % s->chunks * s->chunk;
    return (bn_chunk){shard, shard * s->rows + begin, s->rows - begin < s->chunk ? s->rows - begin : s->chunk};
}

/* What a pass over the columns does with one vector of them, from column j on. */
typedef void bn_column_fn(const nn_call *c, const bn_shape *s, int64_t at, int64_t j, vmask m, int full);

V_INLINE void bn_columns(const nn_call *c, const bn_shape *s, int64_t at, int64_t j, int64_t end, bn_column_fn *f)
{
    for (; j + VW <= end; j += VW)
        f(c, s, at, j, v_tail(VW), 1);
    if (j < end)
        f(c, s, at, j, v_tail(end - j), 0);
}

/* A pointer that may be NULL: then `absent`. */
V_INLINE vreal bn_load(const real *x, int64_t j, vmask m, int full, vreal absent)
{
    return x ? row_load(x + j, m, full) : absent;
}

V_INLINE vreal bn_inverse(const nn_call *c, vreal var)
{
    return v_div(v_set1(1), v_sqrt(v_add(var, v_set1((real)c->scalar[0]))));
}

V_INLINE vreal bn_total(const vreal chain[BN_CHAINS]) { return v_add(v_add(chain[0], chain[1]), v_add(chain[2], chain[3])); }

/* ---- sums of a chunk -------------------------------------------------------------------------------------------- */
/* Adds the terms of one row to a chain: one sum, or two at once. */
typedef struct bn_terms {
    const real *x, *dy; /* the chunk's first row, at column j */
    int64_t C;
    vreal shift, mean;
} bn_terms;

typedef void bn_term_fn(const bn_terms *t, int64_t row, vmask m, int full, vreal *one, vreal *two);

V_INLINE void bn_sums(const bn_terms *t, int64_t rows, vmask m, int full, bn_term_fn *f, vreal *one, vreal *two)
{
    vreal a[BN_CHAINS], b[BN_CHAINS];
    for (int q = 0; q < BN_CHAINS; q++)
        a[q] = b[q] = v_zero();
    int64_t i = 0;
    for (; i + BN_CHAINS <= rows; i += BN_CHAINS)
        for (int q = 0; q < BN_CHAINS; q++)
            f(t, i + q, m, full, a + q, b + q);
    for (int q = 0; q < BN_CHAINS; q++)
        if (i + q < rows)
            f(t, i + q, m, full, a + q, b + q);
    *one = bn_total(a);
    *two = bn_total(b);
}

V_INLINE void bn_deviation(const bn_terms *t, int64_t row, vmask m, int full, vreal *one, vreal *two)
{
    (void)two;
    *one = v_add(*one, v_sub(row_load(t->x + row * t->C, m, full), t->shift));
}

V_INLINE void bn_square(const bn_terms *t, int64_t row, vmask m, int full, vreal *one, vreal *two)
{
    (void)two;
    vreal d = v_sub(v_sub(row_load(t->x + row * t->C, m, full), t->shift), t->mean);
    *one = v_fma(d, d, *one);
}

V_INLINE void bn_gradient(const bn_terms *t, int64_t row, vmask m, int full, vreal *one, vreal *two)
{
    vreal dy = row_load(t->dy + row * t->C, m, full);
    *one = v_add(*one, dy);
    *two = v_fma(dy, v_sub(row_load(t->x + row * t->C, m, full), t->mean), *two);
}

/* Mean and sum of squared deviations of chunk `at`, less the shard's first row. */
V_INLINE void bn_chunk_statistics(const nn_call *c, const bn_shape *s, int64_t at, int64_t j, vmask m, int full)
{
    const bn_chunk k = bn_chunk_of(s, at);
    const real *x = (const real *)c->arg[4] + j;
    bn_terms t = {.x = x + k.row * s->C, .C = s->C, .shift = row_load(x + k.shard * s->rows * s->C, m, full)};
    vreal sum, squares, none;
    bn_sums(&t, k.rows, m, full, bn_deviation, &sum, &none);
    t.mean = v_div(sum, v_set1((real)k.rows));
    bn_sums(&t, k.rows, m, full, bn_square, &squares, &none);
    row_store(s->first + at * s->C + j, m, full, t.mean);
    row_store(s->second + at * s->C + j, m, full, squares);
}

/* sum dy and sum dy (x - mean) of chunk `at`. */
V_INLINE void bn_chunk_gradients(const nn_call *c, const bn_shape *s, int64_t at, int64_t j, vmask m, int full)
{
    const bn_chunk k = bn_chunk_of(s, at);
    const real *dy = c->arg[4], *x = c->arg[5], *mean = c->arg[6];
    const int64_t from = k.row * s->C + j, stat = c->dim[4] ? j : k.shard * s->C + j;
    const bn_terms t = {.x = x + from, .dy = dy + from, .C = s->C, .mean = row_load(mean + stat, m, full)};
    vreal one, two;
    bn_sums(&t, k.rows, m, full, bn_gradient, &one, &two);
    row_store(s->first + at * s->C + j, m, full, one);
    row_store(s->second + at * s->C + j, m, full, two);
}

/* ---- chunks to channels ----------------------------------------------------------------------------------------- */
/* Statistics of n rows of some channels. */
typedef struct bn_node {
    vreal mean, squares;
    int64_t n;
} bn_node;

/* a and b, a the earlier rows: Chan, Golub, LeVeque 1983, eq. 2.1. The shares are rounded to real from double. */
V_INLINE bn_node bn_merge(const bn_node *a, const bn_node *b)
{
    const double share = (double)b->n / (double)(a->n + b->n);
    const vreal d = v_sub(b->mean, a->mean);
    return (bn_node){v_fma(d, v_set1((real)share), a->mean),
                     v_fma(v_mul(d, d), v_set1((real)((double)a->n * share)), v_add(a->squares, b->squares)), a->n + b->n};
}

/* Statistics of shard `at`, its chunks pairwise by index, and the factor a = gamma / sqrt(var + eps). */
V_INLINE void bn_statistics(const nn_call *c, const bn_shape *s, int64_t at, int64_t j, vmask m, int full)
{
    bn_node part[41];
    int depth = 0;
    for (int64_t i = 0; i < s->chunks; i++) {
        const int64_t from = (at * s->chunks + i) * s->C + j, left = s->rows - i * s->chunk;
        bn_node node = {row_load(s->first + from, m, full), row_load(s->second + from, m, full), 0};
        node.n = left < s->chunk ? left : s->chunk;
        for (int64_t bit = 1; i & bit; bit *= 2) {
            depth--;
            node = bn_merge(&part[depth], &node);
        }
        part[depth++] = node;
    }
    bn_node all = part[--depth];
    while (depth) {
        depth--;
        all = bn_merge(&part[depth], &all);
    }
    const vreal shift = row_load((const real *)c->arg[4] + at * s->rows * s->C + j, m, full);
    const vreal var = v_div(all.squares, v_set1((real)s->rows));
    row_store((real *)c->arg[1] + at * s->C + j, m, full, v_add(shift, all.mean));
    row_store((real *)c->arg[2] + at * s->C + j, m, full, var);
    row_store(s->factor + at * s->C + j, m, full, v_mul(bn_load(c->arg[5], j, m, full, v_set1(1)), bn_inverse(c, var)));
}

/* dgamma and dbeta of shard `at`, and the factors a, p, q of dx. */
V_INLINE void bn_gradients(const nn_call *c, const bn_shape *s, int64_t at, int64_t j, vmask m, int full)
{
    const int64_t from = at * s->chunks * s->C + j, to = at * s->C + j, plane = s->shards * s->C;
    const real *var = c->arg[7];
    const vreal inverse = bn_inverse(c, row_load(var + (c->dim[4] ? j : to), m, full)), n = v_set1((real)s->rows);
    const vreal dbeta = tree_vector(s->first + from, s->C, s->chunks, m, full);
    const vreal dgamma = v_mul(inverse, tree_vector(s->second + from, s->C, s->chunks, m, full));
    row_store((real *)c->arg[1] + to, m, full, dgamma);
    row_store((real *)c->arg[2] + to, m, full, dbeta);
    row_store(s->factor + to, m, full, v_mul(bn_load(c->arg[8], j, m, full, v_set1(1)), inverse));
    row_store(s->factor + plane + to, m, full, c->dim[4] ? v_zero() : v_div(dbeta, n));
    row_store(s->factor + 2 * plane + to, m, full, c->dim[4] ? v_zero() : v_div(v_mul(inverse, dgamma), n));
}

/* ---- elements --------------------------------------------------------------------------------------------------- */
/* One row of C: y = (x - mean) a + beta. */
V_INLINE void bn_normalise(real *y, const real *x, const real *mean, const real *a, const real *beta, int64_t C)
{
    int64_t j = 0;
    for (; j + VW <= C; j += VW) {
        const vreal d = v_sub(v_load(x + j), v_load(mean + j));
        map_ahead(y + j);
        v_store(y + j, beta ? v_fma(d, v_load(a + j), v_load(beta + j)) : v_mul(d, v_load(a + j)));
    }
    if (j < C) {
        const vmask m = v_tail(C - j);
        const vreal d = v_sub(v_load_m(x + j, m), v_load_m(mean + j, m));
        v_store_m(y + j, m, beta ? v_fma(d, v_load_m(a + j, m), v_load_m(beta + j, m)) : v_mul(d, v_load_m(a + j, m)));
    }
}

/* One row: dx = a (dy - p - (x - mean) q). */
V_INLINE void bn_row_gradient(real *dx, const real *dy, const real *x, const real *mean, const real *a, const real *p,
                              const real *q, int64_t C)
{
    int64_t j = 0;
    for (; j + VW <= C; j += VW) {
        const vreal d = v_sub(v_load(x + j), v_load(mean + j));
        map_ahead(dx + j);
        v_store(dx + j, v_mul(v_load(a + j), v_fnma(d, v_load(q + j), v_sub(v_load(dy + j), v_load(p + j)))));
    }
    if (j < C) {
        const vmask m = v_tail(C - j);
        const vreal d = v_sub(v_load_m(x + j, m), v_load_m(mean + j, m));
        const vreal g = v_fnma(d, v_load_m(q + j, m), v_sub(v_load_m(dy + j, m), v_load_m(p + j, m)));
        v_store_m(dx + j, m, v_mul(v_load_m(a + j, m), g));
    }
}

/* ---- the kernels: passes over chunks, channels, chunks ---------------------------------------------------------- */
static void batch_norm_fwd(const nn_call *c, int64_t t, int64_t end)
{
    const bn_shape s = bn_shape_of(c);
    if (c->pass == 1) {
        for (int64_t shard = 0; shard < s.shards; shard++)
            bn_columns(c, &s, shard, t, end, bn_statistics);
        return;
    }
    for (; t < end; t++) {
        if (c->pass == 0) {
            bn_columns(c, &s, t, 0, s.C, bn_chunk_statistics);
            continue;
        }
        const bn_chunk k = bn_chunk_of(&s, t);
        const int64_t stat = k.shard * s.C;
        for (int64_t i = k.row * s.C; i < (k.row + k.rows) * s.C; i += s.C)
            bn_normalise((real *)c->arg[0] + i, (const real *)c->arg[4] + i, (const real *)c->arg[1] + stat, s.factor + stat,
                         c->arg[6], s.C);
    }
}

static void batch_norm_bwd(const nn_call *c, int64_t t, int64_t end)
{
    const bn_shape s = bn_shape_of(c);
    if (c->pass == 1) {
        for (int64_t shard = 0; shard < s.shards; shard++)
            bn_columns(c, &s, shard, t, end, bn_gradients);
        return;
    }
    for (; t < end; t++) {
        if (c->pass == 0) {
            bn_columns(c, &s, t, 0, s.C, bn_chunk_gradients);
            continue;
        }
        const bn_chunk k = bn_chunk_of(&s, t);
        const int64_t stat = k.shard * s.C, plane = s.shards * s.C;
        const real *mean = (const real *)c->arg[6] + (c->dim[4] ? 0 : stat), *a = s.factor + stat;
        for (int64_t i = k.row * s.C; i < (k.row + k.rows) * s.C; i += s.C)
            bn_row_gradient((real *)c->arg[0] + i, (const real *)c->arg[4] + i, (const real *)c->arg[5] + i, mean, a, a + plane,
                            a + 2 * plane, s.C);
    }
}

enum { BN_TILE = 256 }; /* channels whose factor is kept at hand */

/* Rows [begin, end): the factors of a tile of channels are found once, then used for all rows. */
static void batch_norm_fixed_fwd(const nn_call *c, int64_t begin, int64_t end)
{
    const int64_t C = c->dim[1];
    const real *mean = c->arg[2], *var = c->arg[3], *gamma = c->arg[4], *beta = c->arg[5];
    real a[BN_TILE], zero[BN_TILE] = {0};
    for (int64_t from = 0; from < C; from += BN_TILE) {
        const int64_t width = C - from < BN_TILE ? C - from : BN_TILE;
        for (int64_t j = 0; j < width; j += VW) {
            const vmask m = v_tail(width - j < VW ? width - j : VW);
            const vreal inverse = bn_inverse(c, v_load_m(var + from + j, m));
            v_store_m(a + j, m, v_mul(bn_load(gamma, from + j, m, 0, v_set1(1)), inverse));
        }
        for (int64_t i = begin * C + from; i < end * C; i += C)
            bn_normalise((real *)c->arg[0] + i, (const real *)c->arg[1] + i, mean ? mean + from : zero, a,
                         beta ? beta + from : NULL, width);
    }
}

/* One vector of r = (1 - m) r + m s. */
V_INLINE void running_vector(const nn_call *c, int which, int64_t j, vmask m, int full, real unbiased)
{
    const int64_t C = c->dim[0], shards = c->dim[1];
    real *r = (real *)c->arg[which] + j;
    vreal s = tree_vector((const real *)c->arg[which + 2] + j, C, shards, m, full);
    s = v_mul(v_div(s, v_set1((real)shards)), v_set1(unbiased));
    const real rate = (real)c->scalar[0];
    row_store(r, m, full, v_fma(v_set1(rate), s, v_mul(v_set1(1 - rate), row_load(r, m, full))));
}

static void running_stats(const nn_call *c, int64_t j, int64_t end)
{
    const real unbiased = (real)((double)c->dim[2] / (double)(c->dim[2] - 1));
    for (; j < end; j += VW) {
        const int full = j + VW <= end;
        const vmask m = v_tail(full ? VW : end - j);
        running_vector(c, 0, j, m, full, 1);
        running_vector(c, 1, j, m, full, unbiased);
    }
}
