/* gemm.c - matrix products: the dense layer forward, its data gradient, its weight gradient.
 *
 *   dense_fwd         y (N, O)  = act(x (N, I) w (I, O) + b (O))          b optional; act any elementwise _fwd op
 *   dense_bwd_data    dx (N, I) = dy (N, O) w^T
 *   dense_bwd_weight  dw (S, I, O): dw[s] = x[s]^T dy[s], x (N, I) and dy (N, O) cut into S equal groups of rows
 *
 * An emulated accumulator, or another method of summation, is emulate.c's.
 * In the math modes bf16, bf16x3, bf16x6 operands are split into planes of bfloat16: bf16.h. The twin knows only f32's order.
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
#include "../bf16.h"
#define REF_TABLE nn_reference_f32
#endif
extern nn_op_fn *const REF_TABLE[NN_OP_COUNT_];

/* The sum of a product, conv.c's too: one fma chain or, in planes of bfloat16, blocks of 32 terms. */
typedef struct ref_sum {
    vreal chain;
#if !NN_REAL_IS_DOUBLE
    bf16_sum blocks;
#endif
} ref_sum;

static ref_sum ref_sum_of(int64_t planes)
{
#if NN_REAL_IS_DOUBLE
    (void)planes;
    return (ref_sum){0};
#else
    return (ref_sum){.blocks.planes = (int)planes};
#endif
}

static void ref_term(ref_sum *s, real a, real b)
{
#if !NN_REAL_IS_DOUBLE
    if (s->blocks.planes) {
        bf16_add(&s->blocks, a, b);
        return;
    }
#endif
    s->chain = v_fma(a, b, s->chain);
}

static real ref_total(ref_sum *s)
{
#if !NN_REAL_IS_DOUBLE
    if (s->blocks.planes) {
        bf16_close(&s->blocks);
        return s->blocks.c;
    }
#endif
    return s->chain;
}

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
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], act = c->dim[3], planes = c->dim[4];
    for (int64_t n = 0; n < N; n++)
        for (int64_t o = 0; o < O; o++) {
            ref_sum sum = ref_sum_of(planes);
            for (int64_t i = 0; i < I; i++)
                ref_term(&sum, x[n * I + i], w[i * O + o]);
            real y0 = ref_total(&sum);
            y[n * O + o] = b ? y0 + b[o] : y0;
        }
    ref_activate(c, y, N * O, act);
}

static void dense_bwd_data(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *w = c->arg[2];
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], planes = c->dim[3];
    for (int64_t n = 0; n < N; n++)
        for (int64_t i = 0; i < I; i++) {
            ref_sum sum = ref_sum_of(planes);
            for (int64_t o = 0; o < O; o++)
                ref_term(&sum, dy[n * O + o], w[i * O + o]);
            dx[n * I + i] = ref_total(&sum);
        }
}

static void dense_bwd_weight(const nn_call *c)
{
    real *dw = c->arg[0];
    const real *x = c->arg[1], *dy = c->arg[2];
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], S = c->dim[3], planes = c->dim[4];
    for (int64_t s = 0; s < S; s++)
        for (int64_t i = 0; i < I; i++)
            for (int64_t o = 0; o < O; o++) {
                ref_sum sum = ref_sum_of(planes);
                for (int64_t n = N / S * s; n < N / S * (s + 1); n++)
                    ref_term(&sum, x[n * I + i], dy[n * O + o]);
                dw[(s * I + i) * O + o] = ref_total(&sum);
            }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "gemm_kernel.h"
#if !NN_REAL_IS_DOUBLE
#include "bf16_kernel.h"
#include "accumulate_kernel.h"
#endif
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
/* This rank's part of a product. */
static void gemm_team(const nn_team *team, const nn_kernel_set *set, const nn_bf16_set *bf16, nn_gemm_args g, int64_t nbytes)
{
    int64_t begin, end;
    int by_rows = nn_gemm_by_rows(set, team->size, g.m, g.n, g.k);
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
    (g.planes ? bf16->gemm : set->gemm)(&g, team->scratch);
}

/* Planes of bfloat16 that a call's math mode asks for. The twin is exact enough for all of them. */
static int64_t gemm_planes(const nn_call *c, int32_t op) { return c->is_double ? 0 : c->dim[nn_planes_dim(op)]; }

static void dense_fwd(const nn_call *c)
{
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2], act = c->dim[3];
    nn_gemm_args g = {.m = N, .n = O, .k = I, .a = c->arg[1], .rsa = I, .csa = 1, .b = c->arg[2], .rsb = O, .csb = 1,
                      .c = c->arg[0], .rsc = O, .bias = c->arg[3], .act = act < 0 ? NULL : nn_kernel_of(c, act),
                      .scalar = c->scalar, .planes = gemm_planes(c, NN_OP_DENSE_FWD)};
    gemm_team(c->team, c->set, c->bf16, g, c->is_double ? 8 : 4);
}

static void dense_bwd_data(const nn_call *c)
{
    int64_t N = c->dim[0], I = c->dim[1], O = c->dim[2];
    nn_gemm_args g = {.m = N, .n = I, .k = O, .a = c->arg[1], .rsa = O, .csa = 1, .b = c->arg[2], .rsb = 1, .csb = O,
                      .c = c->arg[0], .rsc = I, .planes = gemm_planes(c, NN_OP_DENSE_BWD_DATA)};
    gemm_team(c->team, c->set, c->bf16, g, c->is_double ? 8 : 4);
}

static void dense_bwd_weight(const nn_call *c)
{
    int64_t I = c->dim[1], O = c->dim[2], S = c->dim[3], rows = c->dim[0] / S, nbytes = c->is_double ? 8 : 4;
    for (int64_t s = 0; s < S; s++) {
        nn_gemm_args g = {.m = I, .n = O, .k = rows, .a = (char *)c->arg[1] + s * rows * I * nbytes, .rsa = 1, .csa = I,
                          .b = (char *)c->arg[2] + s * rows * O * nbytes, .rsb = O, .csb = 1,
                          .c = (char *)c->arg[0] + s * I * O * nbytes, .rsc = O,
                          .planes = gemm_planes(c, NN_OP_DENSE_BWD_WEIGHT)};
        gemm_team(c->team, c->set, c->bf16, g, nbytes);
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
    gemm_team(team, x->set, NULL, x->args, x->nbytes);
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
