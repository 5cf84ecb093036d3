/* gemm_turned_kernel.h - the KERNEL part of gemm.c for products whose rows go to the lanes. Included by gemm_kernel.h. */

/* A block of C from its transpose, whose rows are `stride` apart, whole vectors: c (rows, cols) = t^T. */
static void turn_block(real *c, int64_t rsc, const real *t, int64_t stride, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i += VW)
        for (int64_t j = 0; j < cols; j += VW) {
            const vmask tail = v_tail(at_most(cols - j, VW));
            vreal block[VW];
            const real *row[VW];
            for (int64_t q = 0; q < VW; q++)
                row[q] = t + at_most(j + q, cols - 1) * stride + i;
            v_load_turned(block, row);
            for (int64_t q = 0; q < VW && i + q < rows; q++)
                v_store_m(c + (i + q) * rsc + j, tail, block[q]);
        }
}

/* C^T = B^T A^T, `width` rows of C at a time, which are turned as they are finished. */
static void gemm_turned(const nn_gemm_args *g, real *scratch, int64_t width)
{
    real *turned = scratch + SCRATCH;
    const int64_t height = VW * NC / width;
    for (int64_t i0 = 0; i0 < g->m; i0 += width)
        for (int64_t j0 = 0; j0 < g->n; j0 += height) {
            nn_gemm_args t = {.m = at_most(g->n - j0, height), .n = at_most(g->m - i0, width), .k = g->k,
                              .a = (const real *)g->b + j0 * g->csb, .rsa = g->csb, .csa = g->rsb,
                              .b = (const real *)g->a + i0 * g->rsa, .rsb = g->csa, .csb = g->rsa, .c = turned, .rsc = width};
            gemm_wide(&t, scratch);
            turn_block((real *)g->c + i0 * g->rsc + j0, g->rsc, turned, width, t.n, t.m);
            if (g->bias || g->act)
                epilogue(g, i0, t.n, j0, t.m);
        }
}

/* Fewer columns than a vector has lanes, and A's columns contiguous: the rows of C go to the lanes. */
static int is_narrow(const nn_gemm_args *g) { return g->n < VW && g->m >= NR && g->rsa == 1; }

/* A few rows, and B's rows contiguous along k: A is less to turn than B. */
static int is_flat(const nn_gemm_args *g)
{
    return g->rsb == 1 && g->csb != 1 && g->csa == 1 && g->m > VW / 2 && g->m <= NR && 2 * g->m <= g->n && g->k >= TURNED_K;
}
