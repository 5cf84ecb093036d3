/* join.c - images put together and cut apart, bit for bit: concatenation of channels, and copies of blocks.
 *
 *   concat      y[i,:] = x_0[i,:], x_1[i,:], ...    rows i of C_0 + C_1 + ... elements
 *   block_copy  y[n,p,q,k] = x[n, p + a, q + b, k + c] where that exists, else +0
 *
 * Shapes: x_j (rows, C_j), up to NN_MAX_ARGS - 1 of them, y (rows, sum C_j); x (N, H, W, C), y (N, P, Q, K). With offsets
 * >= 0 and y inside x a block copy cuts a slice; with x inside y it pads with zeros; each is the other's derivative, and
 * concat's is a slice for every input. Nothing aliases. Exact: NaN keeps its bits.
 * Called by: Concat, Slice, Pad2D and their gradients.
 */
#ifdef NN_PASS_LIST
NN_OP(concat, CONCAT)
NN_OP(block_copy, BLOCK_COPY)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void concat(const nn_call *c)
{
    real *y = c->arg[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        for (int64_t j = 0; j < c->dim[1]; j++)
            for (int64_t k = 0, C = c->dim[2 + j]; k < C; k++)
                *y++ = ((const real *)c->arg[1 + j])[i * C + k];
}

static void block_copy(const nn_call *c)
{
    const int64_t *d = c->dim, P = d[4], Q = d[5], K = d[6];
    for (int64_t y = 0; y < d[0] * P * Q * K; y++) {
        int64_t h = y / K / Q % P + d[7], w = y / K % Q + d[8], k = y % K + d[9], n = y / K / Q / P;
        int inside = h >= 0 && h < d[1] && w >= 0 && w < d[2] && k >= 0 && k < d[3];
        ((real *)c->arg[0])[y] = inside ? ((const real *)c->arg[1])[((n * d[1] + h) * d[2] + w) * d[3] + k] : 0;
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
V_INLINE void copy_reals(real *y, const real *x, int64_t n) { map1(y, x, 0, n, assign_v, NULL); }

static void concat(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t inputs = c->dim[1], *C = c->dim + 2;
    int64_t width = 0;
    for (int64_t j = 0; j < inputs; j++)
        width += C[j];
    for (real *y = (real *)c->arg[0] + i * width; i < end; i++)
        for (int64_t j = 0; j < inputs; y += C[j++])
            copy_reals(y, (const real *)c->arg[1 + j] + i * C[j], C[j]);
}

/* What of [0, size) of y lies in [0, from) of x when shifted by offset; begin == end if nothing does. */
V_INLINE pool_span copy_span(int64_t size, int64_t from, int64_t offset)
{
    int64_t begin = offset < 0 ? -offset : 0, end = from - offset < size ? from - offset : size;
    begin = begin < size ? begin : size;
    return (pool_span){begin, end < begin ? begin : end};
}

/* Rows [t, end) of y, counted through all images. */
static void block_copy(const nn_call *c, int64_t t, int64_t end)
{
    const int64_t *d = c->dim, H = d[1], W = d[2], C = d[3], P = d[4], Q = d[5], K = d[6];
    const pool_span p = copy_span(P, H, d[7]), q = copy_span(Q, W, d[8]), k = copy_span(K, C, d[9]);
    for (; t < end; t++) {
        real *y = (real *)c->arg[0] + t * Q * K;
        if (t % P < p.begin || t % P >= p.end || q.begin == q.end || k.begin == k.end) {
            pool_zero(y, Q * K);
            continue;
        }
        const real *x = (const real *)c->arg[1] + ((t / P * H + t % P + d[7]) * W + q.begin + d[8]) * C + k.begin + d[9];
        pool_zero(y, q.begin * K);
        if (K == C && d[9] == 0)
            copy_reals(y + q.begin * K, x, (q.end - q.begin) * C);
        else
            for (int64_t j = q.begin; j < q.end; j++, x += C) {
                pool_zero(y + j * K, k.begin);
                copy_reals(y + j * K + k.begin, x, k.end - k.begin);
                pool_zero(y + j * K + k.end, K - k.end);
            }
        pool_zero(y + q.end * K, (Q - q.end) * K);
    }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(concat, CONCAT)
static void block_copy(const nn_call *c) { nn_drive_range(c, NN_OP_BLOCK_COPY, c->dim[0] * c->dim[4], 1); }
#endif
