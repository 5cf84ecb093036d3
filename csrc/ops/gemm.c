/* gemm.c - matrix products: the dense layer forward, its data gradient, its weight gradient.
 *
 *   dense_fwd         y (N, O)  = act(x (N, I) w (I, O) + b (O))          b optional; act any elementwise _fwd op
 *   dense_bwd_data    dx (N, I) = dy (N, O) w^T
 *   dense_bwd_weight  dw (S, I, O): dw[s] = x[s]^T dy[s], x (N, I) and dy (N, O) cut into S equal groups of rows
 *
 * Source: Goodfellow, Bengio, Courville 2016, algorithm 6.4. A matrix is pointer + row stride + column stride, so all
 * three are one routine (BLIS). Outputs alias no input.
 * Numerics: each output is one FMA chain over k ascending from +0; the bias is added once, last (numerics.md R1).
 * Error: |c - exact| <= gamma_K sum_k |a_ik b_kj| (Higham 2002, eq. 3.5; one rounding per term with FMA), + u |c| for the bias.
 * Threads split rows or columns of C, never K. The tile is in gemm_kernel.h.
 */
#ifdef NN_PASS_LIST
NN_OP_DRIVEN(dense_fwd, DENSE_FWD)
NN_OP_DRIVEN(dense_bwd_data, DENSE_BWD_DATA)
NN_OP_DRIVEN(dense_bwd_weight, DENSE_BWD_WEIGHT)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
#if NN_REAL_IS_DOUBLE
#define REF_TABLE nn_reference_f64
#else
#define REF_TABLE nn_reference_f32
#endif
extern nn_op_fn *const REF_TABLE[NN_OP_COUNT_];

/* The epilogue of a product, conv.c's too: act, the opcode of an elementwise _fwd op or -1, applied in place. */
static void ref_activate(const nn_call *c, real *y, int64_t count, int64_t act)
{
    if (act < 0)
        return;
    void *arg[2] = {y, y};
    nn_call call = {.arg = arg, .dim = &count, .scalar = c->scalar};
    REF_TABLE[act](&call);
}

static void dense_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], *w = c->arg[2], *b = c->arg[3];
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], act = c->dim[3];
    for (int64_t n = 0; n < N; n++)
        for (int64_t o = 0; o < O; o++) {
            vreal sum = 0;
            for (int64_t i = 0; i < I; i++)
                sum = v_fma(x[n * I + i], w[i * O + o], sum);
            y[n * O + o] = b ? sum + b[o] : sum;
        }
    ref_activate(c, y, N * O, act);
}

static void dense_bwd_data(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *w = c->arg[2];
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2];
    for (int64_t n = 0; n < N; n++)
        for (int64_t i = 0; i < I; i++) {
            vreal sum = 0;
            for (int64_t o = 0; o < O; o++)
                sum = v_fma(dy[n * O + o], w[i * O + o], sum);
            dx[n * I + i] = sum;
        }
}

static void dense_bwd_weight(const nn_call *c)
{
    real *dw = c->arg[0];
    const real *x = c->arg[1], *dy = c->arg[2];
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], S = c->dim[3];
    for (int64_t s = 0; s < S; s++)
        for (int64_t i = 0; i < I; i++)
            for (int64_t o = 0; o < O; o++) {
                vreal sum = 0;
                for (int64_t n = N / S * s; n < N / S * (s + 1); n++)
                    sum = v_fma(x[n * I + i], dy[n * O + o], sum);
                dw[(s * I + i) * O + o] = sum;
            }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "gemm_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
/* This rank's part of a product: a band along the longer side of C, for what lies along the shorter one is packed by
 * every rank. */
static void gemm_team(const nn_team *team, const nn_kernel_set *set, nn_gemm_args g, int64_t nbytes)
{
    int64_t begin, end;
    int by_rows = g.m >= g.n || g.n < set->nr * team->size;
    nn_team_split(team, by_rows ? g.m : g.n, by_rows ? 1 : set->nr, &begin, &end);
    if (begin == end)
        return;
    if (by_rows) {
        g.a = (const char *)g.a + begin * g.rsa * nbytes;
        g.c = (char *)g.c + begin * g.rsc * nbytes;
        g.m = end - begin;
    } else {
        g.b = (const char *)g.b + begin * g.csb * nbytes;
        g.c = (char *)g.c + begin * nbytes;
        g.bias = g.bias ? (const char *)g.bias + begin * nbytes : NULL;
        g.n = end - begin;
    }
    set->gemm(&g, team->scratch);
}

static void dense_fwd(const nn_call *c)
{
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], act = c->dim[3];
    nn_gemm_args g = {.m = N, .n = O, .k = I, .a = c->arg[1], .rsa = I, .csa = 1, .b = c->arg[2], .rsb = O, .csb = 1,
                      .c = c->arg[0], .rsc = O, .bias = c->arg[3], .act = act < 0 ? NULL : c->set->range[act],
                      .scalar = c->scalar};
    gemm_team(c->team, c->set, g, c->is_double ? 8 : 4);
}

static void dense_bwd_data(const nn_call *c)
{
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2];
    nn_gemm_args g = {.m = N, .n = I, .k = O, .a = c->arg[1], .rsa = O, .csa = 1, .b = c->arg[2], .rsb = 1, .csb = O,
                      .c = c->arg[0], .rsc = I};
    gemm_team(c->team, c->set, g, c->is_double ? 8 : 4);
}

static void dense_bwd_weight(const nn_call *c)
{
    int64_t I = c->dim[1], O = c->dim[2], S = c->dim[3], rows = c->dim[0] / S, nbytes = c->is_double ? 8 : 4;
    for (int64_t s = 0; s < S; s++) {
        nn_gemm_args g = {.m = I, .n = O, .k = rows, .a = (char *)c->arg[1] + s * rows * I * nbytes, .rsa = 1, .csa = I,
                          .b = (char *)c->arg[2] + s * rows * O * nbytes, .rsb = O, .csb = 1,
                          .c = (char *)c->arg[0] + s * I * O * nbytes, .rsc = O};
        gemm_team(c->team, c->set, g, nbytes);
    }
}

typedef struct gemm_context {
    nn_gemm_args args;
    const nn_kernel_set *set;
    int64_t nbytes;
} gemm_context;

static void gemm_rank(const nn_team *team, void *context)
{
    const gemm_context *x = context;
    gemm_team(team, x->set, x->args, x->nbytes);
}

int32_t nn_gemm(const nn_kernels *kernels, int32_t real, int32_t threads, void *c, const void *a, const void *b,
                const void *bias, int64_t m, int64_t n, int64_t k, int64_t rsc, int64_t rsa, int64_t csa,
                int64_t rsb, int64_t csb, void *scratch)
{
    if ((real != NN_F32 && real != NN_F64) || threads < 1 || threads > NN_MAX_THREADS || m < 0 || n < 0 || k < 0 ||
        rsc < n || !scratch)
        return NN_ERR_ARGUMENT;
    gemm_context x = {{.m = m, .n = n, .k = k, .a = a, .rsa = rsa, .csa = csa, .b = b, .rsb = rsb, .csb = csb, .c = c,
                       .rsc = rsc, .bias = bias},
                      real == NN_F64 ? kernels->f64 : kernels->f32, real == NN_F64 ? 8 : 4};
    nn_team_run(threads, scratch, gemm_rank, &x);
    return NN_OK;
}
#endif
