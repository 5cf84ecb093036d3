/* reduce.c - sums: of columns, of everything, of squares and magnitudes, and of shards.
 *
 *   sum_rows:    y[s,j] = sum_i x[s,i,j]            y (shards, C), x (N, C); N / shards rows a shard
 *   sum_all:     y[s]   = scale sum_i x[s,i]        y (shards), x (n); n / shards elements a shard
 *   sum_squares: y[0]   = scale sum_i x[i]^2        y (1), x (n)
 *   sum_abs:     y[0]   = scale sum_i |x[i]|        y (1), x (n)
 *   tree_sum:    y[i]   = x[0,i] + ... + x[S-1,i]   y (n), x (S, n); y may be x
 *
 * What is hard is the order, because it is the result (numerics.md R2, R3; Higham 2002, chapter 4). It is a function of
 * the shape alone:
 *   columns    one chain of additions a column, i ascending from +0;
 *   scalars    chunks of 4096 elements; in a chunk element i goes to lane i mod 16 of sixteen chains from +0, squares
 *              by fma(x, x, lane), the lanes added as a tree 8-4-2-1; chunks as shards;
 *   shards     pairs (0,1) (2,3) ..., then pairs of these, an odd one out being carried up a level unchanged.
 * The scale, rounded to real, multiplies the finished sum once. An empty sum is +0. NaN and infinities propagate; the
 * square of a float above 1.8e19 is infinite.
 *
 * Errors, relative to sum |terms|: columns gamma_rows; scalars gamma_k with k = min(ceil(n / 16), 256) + 4 +
 * ceil(log2 chunks), + 2 for the scale; shards gamma_ceil(log2 S) (Higham 2002, section 4.2, eq. 4.4 and 4.6).
 * Called by: bias gradients (sum_rows), losses and penalties (sum_all, squares, abs), the combination of shards.
 */
#ifdef NN_PASS_LIST
NN_OP(sum_rows, SUM_ROWS)
NN_OP(sum_all, SUM_ALL)
NN_OP(sum_squares, SUM_SQUARES)
NN_OP(sum_abs, SUM_ABS)
NN_OP(tree_sum, TREE_SUM)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void sum_rows(const nn_call *c)
{
    const int64_t C = c->dim[1], shards = c->dim[2], rows = c->dim[0] / shards;
    for (int64_t s = 0; s < shards; s++) {
        real *y = (real *)c->arg[0] + s * C;
        const real *x = (const real *)c->arg[1] + s * rows * C;
        for (int64_t j = 0; j < C; j++) {
            real sum = 0;
            for (int64_t i = 0; i < rows; i++)
                sum += x[i * C + j];
            y[j] = sum;
        }
    }
}

static void sum_all(const nn_call *c)
{
    const int64_t shards = c->dim[1], n = c->dim[0] / shards;
    real *y = c->arg[0];
    for (int64_t s = 0; s < shards; s++) {
        const real *x = (const real *)c->arg[1] + s * n;
        real sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i];
        y[s] = (real)c->scalar[0] * sum;
    }
}

static void sum_squares(const nn_call *c)
{
    const real *x = c->arg[1];
    real sum = 0;
    for (int64_t i = 0; i < c->dim[0]; i++)
        sum += x[i] * x[i];
    *(real *)c->arg[0] = (real)c->scalar[0] * sum;
}

static void sum_abs(const nn_call *c)
{
    const real *x = c->arg[1];
    real sum = 0;
    for (int64_t i = 0; i < c->dim[0]; i++)
        sum += x[i] < 0 ? -x[i] : x[i];
    *(real *)c->arg[0] = (real)c->scalar[0] * sum;
}

/* The tree by its definition: the first half rounded up to a power of two, then the rest. */
static real tree(const real *x, int64_t stride, int64_t count)
{
    if (count == 1)
        return x[0];
    int64_t half = 1;
    while (2 * half < count)
        half *= 2;
    return tree(x, stride, half) + tree(x + half * stride, stride, count - half);
}

static void tree_sum(const nn_call *c)
{
    const int64_t n = c->dim[0], shards = c->dim[1];
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < n; i++)
        y[i] = shards ? tree(x + i, n, shards) : 0;
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
enum { SUM_CHUNK = 4096 };

/* Partial sums combined pairwise by index as they come: part[] holds complete subtrees, larger ones first, as the
 * bits of count say. 2^40 chunks are more than memory holds. */
typedef struct pairwise {
    int64_t count;
    int depth;
    real part[41];
} pairwise;

static inline void pairwise_push(pairwise *p, real sum)
{
    for (int64_t bit = 1; p->count & bit; bit *= 2)
        sum = p->part[--p->depth] + sum;
    p->part[p->depth++] = sum;
    p->count++;
}

/* What is left are subtrees of falling size: the odd ones out, carried up to each other. */
static inline real pairwise_total(const pairwise *p)
{
    if (!p->depth)
        return 0;
    real sum = p->part[p->depth - 1];
    for (int d = p->depth - 2; d >= 0; d--)
        sum = p->part[d] + sum;
    return sum;
}

/* Columns [j, end) of one shard. Four vectors of columns at a time, so that four chains hide the latency of add. */
static void sum_rows_shard(real *y, const real *x, int64_t rows, int64_t C, int64_t j, int64_t end)
{
    for (; j + 4 * VW <= end; j += 4 * VW) {
        vreal s0 = v_zero(), s1 = v_zero(), s2 = v_zero(), s3 = v_zero();
        const real *p = x + j;
        for (int64_t i = 0; i < rows; i++, p += C) {
            s0 = v_add(s0, v_load(p));
            s1 = v_add(s1, v_load(p + VW));
            s2 = v_add(s2, v_load(p + 2 * VW));
            s3 = v_add(s3, v_load(p + 3 * VW));
        }
        v_store(y + j, s0);
        v_store(y + j + VW, s1);
        v_store(y + j + 2 * VW, s2);
        v_store(y + j + 3 * VW, s3);
    }
    for (; j < end; j += VW) {
        vmask m = v_tail(end - j < VW ? end - j : VW);
        vreal s = v_zero();
        const real *p = x + j;
        for (int64_t i = 0; i < rows; i++, p += C)
            s = v_add(s, v_load_m(p, m));
        v_store_m(y + j, m, s);
    }
}

static void sum_rows(const nn_call *c, int64_t begin, int64_t end)
{
    const int64_t C = c->dim[1], shards = c->dim[2], rows = c->dim[0] / shards;
    for (int64_t s = 0; s < shards; s++)
        sum_rows_shard((real *)c->arg[0] + s * C, (const real *)c->arg[1] + s * rows * C, rows, C, begin, end);
}

/* Term of one element, added to its lane. */
V_INLINE vreal add_plain(vreal lane, vreal x) { return v_add(lane, x); }
V_INLINE vreal add_square(vreal lane, vreal x) { return v_fma(x, x, lane); }
V_INLINE vreal add_magnitude(vreal lane, vreal x) { return v_add(lane, v_abs(x)); }

#ifdef NN_FREE_ORDER
/* The rival of `nncore bench kernels --against free`: four times as many lanes, so that a chunk alone waits for none. */
enum { SUM_CHAINS = 1 };
V_INLINE void sum_beside(const int chains, real *sum, const real *x, int64_t apart, int64_t n, vreal (*add)(vreal, vreal))
{
    vsum16 s[4] = {s16_zero(), s16_zero(), s16_zero(), s16_zero()};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        V_UNROLL for (int q = 0; q < 4; q++)
            V_UNROLL for (int b = 0; b < V_BLOCKS; b++)
                s[q].v[b] = add(s[q].v[b], v_load(x + i + 16 * q + b * VW));
    for (int q = 0; i < n; i += 16, q++)
        for (int b = 0; b < V_BLOCKS && i + b * VW < n; b++) {
            vmask m = s16_tail(b, n - i < 16 ? n - i : 16);
            s[q].v[b] = v_select(m, add(s[q].v[b], v_load_m(x + i + b * VW, m)), s[q].v[b]);
        }
    for (int b = 0; b < V_BLOCKS; b++)
        s->v[b] = v_add(v_add(s[0].v[b], s[1].v[b]), v_add(s[2].v[b], s[3].v[b]));
    (void)chains, (void)apart;
    *sum = s16_total(s);
}
#else
/* Chunks side by side: one alone would wait for its additions, each of which needs the one before. */
enum { SUM_CHAINS = V_BLOCKS < 4 ? 4 / V_BLOCKS : 1 };

/* The sums of `chains` chunks, which begin so many elements apart, all whole but the last, which has `last` elements. */
V_INLINE void sum_beside(const int chains, real *sum, const real *x, int64_t apart, int64_t last, vreal (*add)(vreal, vreal))
{
    const real *end = x + (chains - 1) * apart;
    vsum16 s[SUM_CHAINS];
    int64_t i = 0;
    V_UNROLL for (int q = 0; q < chains; q++)
        s[q] = s16_zero();
    for (; i + 16 <= last; i += 16)
        V_UNROLL for (int q = 0; q < chains; q++)
            V_UNROLL for (int b = 0; b < V_BLOCKS; b++)
                s[q].v[b] = add(s[q].v[b], v_load(x + q * apart + i + b * VW));
    for (int b = 0; b < V_BLOCKS && i + b * VW < last; b++) {
        vmask m = s16_tail(b, last - i);
        s[chains - 1].v[b] = v_select(m, add(s[chains - 1].v[b], v_load_m(end + i + b * VW, m)), s[chains - 1].v[b]);
    }
    for (; i < SUM_CHUNK; i += 16)
        V_UNROLL for (int q = 0; q < chains - 1; q++)
            V_UNROLL for (int b = 0; b < V_BLOCKS; b++)
                s[q].v[b] = add(s[q].v[b], v_load(x + q * apart + i + b * VW));
    V_UNROLL for (int q = 0; q < chains; q++)
        sum[q] = s16_total(&s[q]);
}
#endif

/* The sums of neighbouring chunks, the last of `last` elements. Each chain walks through a part of its own: caches foresee a few
 * long streams better than many short ones. */
V_INLINE void sum_neighbours(real *sum, const real *x, int64_t count, int64_t last, vreal (*add)(vreal, vreal))
{
    const int64_t part = count / SUM_CHAINS, left = count % SUM_CHAINS;
    for (int64_t k = 0; k < part; k++) {
        real found[SUM_CHAINS];
        sum_beside(SUM_CHAINS, found, x + k * SUM_CHUNK, part * SUM_CHUNK, k < part - 1 || left ? SUM_CHUNK : last, add);
        for (int q = 0; q < SUM_CHAINS; q++)
            sum[q * part + k] = found[q];
    }
    x += part * SUM_CHAINS * SUM_CHUNK;
    sum += part * SUM_CHAINS;
    if (SUM_CHAINS > 3 && left == 3)
        sum_beside(SUM_CHAINS > 3 ? 3 : 1, sum, x, SUM_CHUNK, last, add);
    else if (SUM_CHAINS > 2 && left == 2)
        sum_beside(SUM_CHAINS > 2 ? 2 : 1, sum, x, SUM_CHUNK, last, add);
    else if (left)
        sum_beside(1, sum, x, SUM_CHUNK, last, add);
}

/* Chunks [begin, end), counted through all shards, each to its place in the team's shared memory. */
V_INLINE void sum_chunks(const nn_call *c, int64_t shards, int64_t t, int64_t end, vreal (*add)(vreal, vreal))
{
    const int64_t n = c->dim[0] / shards, chunks = (n + SUM_CHUNK - 1) / SUM_CHUNK;
    const int64_t places = NN_SHARED_NBYTES / (int64_t)sizeof(double);
    real *sum = (real *)(void *)c->team->shared + t % places; /* a call's chunks lie within one round of drive_sum */
    for (int64_t count; t < end; t += count, sum += count) {
        const int64_t i = t % chunks, left = chunks - i;
        count = end - t < left ? end - t : left;
        sum_neighbours(sum, (const real *)c->arg[1] + t / chunks * n + i * SUM_CHUNK, count,
                       count < left ? SUM_CHUNK : n - (chunks - 1) * SUM_CHUNK, add);
    }
}

static void sum_all(const nn_call *c, int64_t begin, int64_t end) { sum_chunks(c, c->dim[1], begin, end, add_plain); }
static void sum_squares(const nn_call *c, int64_t begin, int64_t end) { sum_chunks(c, 1, begin, end, add_square); }
static void sum_abs(const nn_call *c, int64_t begin, int64_t end) { sum_chunks(c, 1, begin, end, add_magnitude); }

/* One vector of the output: pairwise as in `pairwise`, with vectors for numbers. */
V_INLINE vreal tree_vector(const real *x, int64_t stride, int64_t shards, vmask m, int full)
{
    vreal part[41];
    int depth = 0;
    for (int64_t s = 0; s < shards; s++, x += stride) {
        vreal sum = full ? v_load(x) : v_load_m(x, m);
        for (int64_t bit = 1; s & bit; bit *= 2)
            sum = v_add(part[--depth], sum);
        part[depth++] = sum;
    }
    vreal sum = depth ? part[depth - 1] : v_zero();
    for (int d = depth - 2; d >= 0; d--)
        sum = v_add(part[d], sum);
    return sum;
}

static void tree_sum(const nn_call *c, int64_t i, int64_t end)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    const int64_t n = c->dim[0], shards = c->dim[1];
    for (; i + VW <= end; i += VW)
        v_store(y + i, tree_vector(x + i, n, shards, v_tail(VW), 1));
    if (i < end) {
        vmask m = v_tail(end - i);
        v_store_m(y + i, m, tree_vector(x + i, n, shards, m, 0));
    }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static void sum_rows(const nn_call *c) { nn_drive_range(c, NN_OP_SUM_ROWS, c->dim[1], NN_GRAIN); }
NN_DRIVE_ELEMENTS(tree_sum, TREE_SUM)

/* Rounding a sum or product of two floats to double first and to float then gives the float result: 53 >= 2 * 24 + 2
 * (Figueroa 1995, "When is double rounding innocuous?"). So one text serves both types. */
static double to_real(const nn_call *c, double x) { return c->is_double ? x : (double)(float)x; }

/* The chunks' sums of one shard, pairwise by index: the KERNEL part's pairwise. */
typedef struct chunk_tree {
    int64_t count;
    int depth;
    double part[41];
} chunk_tree;

static void chunk_push(const nn_call *c, chunk_tree *t, double sum)
{
    for (int64_t bit = 1; t->count & bit; bit *= 2)
        sum = to_real(c, t->part[--t->depth] + sum);
    t->part[t->depth++] = sum;
    t->count++;
}

/* y[shard] = scale times the total; the tree is emptied. */
static void chunk_finish(const nn_call *c, chunk_tree *t, int64_t shard)
{
    double sum = t->depth ? t->part[--t->depth] : 0;
    while (t->depth)
        sum = to_real(c, t->part[--t->depth] + sum);
    t->count = 0;
    double y = to_real(c, c->scalar[0]) * sum;
    if (c->is_double)
        ((double *)c->arg[0])[shard] = y;
    else
        ((float *)c->arg[0])[shard] = (float)y;
}

/* Chunks in rounds of as many as the shared memory holds; rank 0 combines them in order, so rounds leave no trace. A
 * single chunk is not worth a barrier (share.c counts on it). */
static void drive_sum(const nn_call *c, int32_t op, int64_t shards)
{
    const int64_t n = c->dim[0] / shards, chunks = (n + NN_CHUNK - 1) / NN_CHUNK, total = chunks * shards;
    const int64_t places = NN_SHARED_NBYTES / (int64_t)sizeof(double);
    const nn_team alone = {0, 1, NULL, c->team->shared, c->team->scratch}, *team = total > 1 ? c->team : &alone;
    chunk_tree tree = {0};
    if (total <= 1 && c->team->rank != 0)
        return;
    for (int64_t s = 0; s < shards && !chunks && c->team->rank == 0; s++)
        chunk_finish(c, &tree, s);
    for (int64_t first = 0; first < total; first += places) {
        int64_t begin, end, last = total - first < places ? total : first + places;
        nn_team_split(team, last - first, 1, &begin, &end);
        c->set->range[op](c, first + begin, first + end);
        nn_team_barrier(team, &c->fault->code);
        for (int64_t t = first; t < last && c->team->rank == 0; t++) {
            const char *shared = c->team->shared;
            chunk_push(c, &tree, c->is_double ? ((const double *)(const void *)shared)[t - first]
                                              : (double)((const float *)(const void *)shared)[t - first]);
            if (tree.count == chunks)
                chunk_finish(c, &tree, t / chunks);
        }
        if (last < total)
            nn_team_barrier(team, &c->fault->code); /* the next round writes over what rank 0 reads */
    }
}

static void sum_all(const nn_call *c) { drive_sum(c, NN_OP_SUM_ALL, c->dim[1]); }
static void sum_squares(const nn_call *c) { drive_sum(c, NN_OP_SUM_SQUARES, 1); }
static void sum_abs(const nn_call *c) { drive_sum(c, NN_OP_SUM_ABS, 1); }
#endif
