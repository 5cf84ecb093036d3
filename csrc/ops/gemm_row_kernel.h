/* gemm_row_kernel.h - the KERNEL part of gemm.c for one row of A, as a prediction of one sample has. Included by gemm_kernel.h. */

enum { ROW_NV = 8 }; /* vectors of the only row of C: chains that hide the latency of an FMA */

/* ROW_NV vectors of the only row of C, all of K: a tile would have NV chains, each waiting for its last sum. */
V_INLINE void row_part(const nn_gemm_args *g, int64_t j0, const int nv, vmask tail)
{
    vreal acc[ROW_NV];
    V_UNROLL for (int j = 0; j < nv; j++)
        acc[j] = v_zero();
    const real *a = g->a, *b = (const real *)g->b + j0;
    for (int64_t k = 0; k < g->k; k++, a += g->csa, b += g->rsb) {
        vreal v = v_set1(*a);
        V_UNROLL for (int j = 0; j < nv; j++) {
            __builtin_prefetch(b + AHEAD * g->rsb + j * VW);
            acc[j] = v_fma(v, j < nv - 1 ? v_load(b + j * VW) : v_load_m(b + j * VW, tail), acc[j]);
        }
    }
    V_UNROLL for (int j = 0; j < nv; j++)
        v_store_m((real *)g->c + j0 + j * VW, j < nv - 1 ? v_tail(VW) : tail, acc[j]);
}

/* One row of A, as a prediction of one sample has, and rows of B where they lie. */
static void gemm_row(const nn_gemm_args *g)
{
    for (int64_t j = 0, left = g->n; left > 0; left = g->n - j)
        if (left >= ROW_NV * VW) {
            row_part(g, j, ROW_NV, v_tail(VW));
            j += ROW_NV * VW;
        } else if (left >= ROW_NV / 2 * VW) {
            row_part(g, j, ROW_NV / 2, v_tail(VW));
            j += ROW_NV / 2 * VW;
        } else {
            row_part(g, j, 1, v_tail(at_most(left, VW)));
            j += VW;
        }
    if (g->bias || g->act)
        epilogue(g, 0, 1, 0, g->n);
}
