/* bf16_kernel.h - the math modes bf16, bf16x3, bf16x6 where there are no tiles: the definition of bf16.h with outputs in the
 * lanes. Slow, for each product of bfloat16 is a float fma whose result must be looked at; right on every CPU.
 *
 * One loop serves matrix products and convolutions: they differ in how a row of A and a column of B are fetched. */
#include "../bf16.h"

enum { BF16_KB = 256 }; /* terms at a time: the sums wait in the output between blocks, as tiles do */

/* Terms [k, k + count) of row (of A) or column (of B) i. */
typedef void bf16_fetch(const void *operand, int64_t i, int64_t k, int64_t count, float *to);

/* c (m, n) = a b in `planes`; element (i, j) is put at c[row(i) + j]. */
typedef struct bf16_product {
    int64_t m, n, k;
    int planes;
    bf16_fetch *fetch_a, *fetch_b;
    const void *a, *b;
    float *(*row)(const void *c, int64_t i);
    const void *c;
    int resume; /* the first block starts from c */
} bf16_product;

/* r = fma(a, b, t) flushed. That a lane lies at or below 2^-126, yet is not 0, is rare. */
V_INLINE vreal bf16_fma(vreal a, vreal b, vreal t)
{
    vreal r = v_fma(a, b, t), size = v_abs(r);
    if (m_any(m_and(v_le(size, v_set1(0x1p-126f)), v_gt(size, v_zero())))) {
        float lane[4][VW];
        v_store(lane[0], r);
        v_store(lane[1], a);
        v_store(lane[2], b);
        v_store(lane[3], t);
        for (int i = 0; i < VW; i++)
            lane[0][i] = bf16_flush(lane[0][i], lane[1][i], lane[2][i], lane[3][i]);
        r = v_load(lane[0]);
    }
    return r;
}

V_INLINE vreal bf16_sum(vreal a, vreal b)
{
    vreal r = v_add(a, b);
    return v_select(v_lt(v_abs(r), v_set1(0x1p-126f)), v_copysign(v_zero(), r), r);
}

/* Planes of terms, filled up with zeros to whole blocks: plane p of term k at to[(k * planes + p) * apart]. */
static void bf16_split(float *to, int64_t apart, const float *from, int64_t count, int planes)
{
    for (int64_t k = 0; k < BF16_KB; k++) {
        float rest = k < count ? from[k] : 0;
        for (int p = 0; p < planes; p++)
            to[(k * planes + p) * apart] = bf16_plane(&rest);
    }
}

/* VW outputs, `blocks` of terms. a: [term][plane], b: [term][plane][lane]. */
static vreal bf16_chain(vreal c, const float *a, const float *b, int planes, int64_t blocks)
{
    for (; blocks > 0; blocks--, a += BF16_BLOCK * planes, b += BF16_BLOCK * planes * VW)
        for (int i = 0; i < bf16_products[planes]; i++) {
            const float *x = a + bf16_pairs[planes][i][0], *y = b + bf16_pairs[planes][i][1] * VW;
            vreal even = v_zero(), odd = v_zero();
            for (int k = 0; k < BF16_BLOCK; k += 2, x += 2 * planes, y += 2 * planes * VW) {
                even = bf16_fma(v_set1(x[0]), v_load(y), even);
                odd = bf16_fma(v_set1(x[planes]), v_load(y + planes * VW), odd);
            }
            c = bf16_sum(c, bf16_sum(even, odd));
        }
    return c;
}

/* Columns [j, end) of c by terms [k, k + count). */
static void bf16_columns(const bf16_product *o, float *scratch, int64_t j, int64_t end, int64_t k, int64_t count)
{
    float *terms = scratch, *a = terms + BF16_KB, *b = a + BF16_KB * 3;
    const int64_t panel = BF16_KB * o->planes * VW, blocks = (count + BF16_BLOCK - 1) / BF16_BLOCK;
    for (int64_t i = j; i < (end - j + VW - 1) / VW * VW + j; i++) {
        o->fetch_b(o->b, at_most(i, end - 1), k, count, terms);
        bf16_split(b + (i - j) / VW * panel + (i - j) % VW, VW, terms, count, o->planes);
    }
    for (int64_t i = 0; i < o->m; i++) {
        o->fetch_a(o->a, i, k, count, terms);
        bf16_split(a, 1, terms, count, o->planes);
        float *c = o->row(o->c, i) + j;
        for (int64_t q = 0; q < end - j; q += VW) {
            vmask m = v_tail(at_most(end - j - q, VW));
            vreal start = k || o->resume ? v_load_m(c + q, m) : v_zero();
            v_store_m(c + q, m, bf16_chain(start, a, b + q / VW * panel, o->planes, blocks));
        }
    }
}

static void bf16_multiply(const bf16_product *o, void *scratch, int64_t nbytes)
{
    const int64_t room = nbytes / (int64_t)sizeof(float) - BF16_KB * 4, fit = room / (BF16_KB * o->planes * VW) * VW;
    for (int64_t j = 0; j < o->n; j += fit)
        for (int64_t k = 0; k == 0 || k < o->k; k += BF16_KB)
            bf16_columns(o, scratch, j, at_most(o->n, j + fit), k, at_most(o->k - k, BF16_KB));
}

/* ---- matrix products -------------------------------------------------------------------------------------------- */

static void bf16_fetch_row(const void *operand, int64_t i, int64_t k, int64_t count, float *to)
{
    const nn_gemm_args *g = operand;
    for (const float *from = (const float *)g->a + i * g->rsa + k * g->csa; count > 0; count--, from += g->csa)
        *to++ = *from;
}

static void bf16_fetch_column(const void *operand, int64_t i, int64_t k, int64_t count, float *to)
{
    const nn_gemm_args *g = operand;
    for (const float *from = (const float *)g->b + i * g->csb + k * g->rsb; count > 0; count--, from += g->rsb)
        *to++ = *from;
}

static float *bf16_c_row(const void *c, int64_t i)
{
    const nn_gemm_args *g = c;
    return (float *)g->c + i * g->rsc;
}

static void bf16_gemm(const nn_gemm_args *g, void *scratch)
{
    bf16_product o = {.m = g->m, .n = g->n, .k = g->k, .planes = (int)g->planes, .fetch_a = bf16_fetch_row,
                      .fetch_b = bf16_fetch_column, .a = g, .b = g, .row = bf16_c_row, .c = g};
    bf16_multiply(&o, scratch, NN_RANK_NBYTES);
    for (int64_t i = 0; i < g->m && (g->bias || g->act); i += MR)
        epilogue(g, i, at_most(g->m - i, MR), 0, g->n);
}
