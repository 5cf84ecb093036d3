/* gemm_kernel.h - the KERNEL part of gemm.c: a register tile, packed panels around it, the epilogue behind it.
 *
 * The tile keeps MR x NV vectors of C in registers, loads NV vectors of B and broadcasts MR elements of A per k: on
 * AVX-512 14 x 32 floats is 28 accumulators + 2 of B + 1 broadcast = 31 of 32 registers and 16 loads for 28 FMAs
 * (performance.md section 3). Tiles are written as constant-bound loops over arrays, which the compiler must unroll
 * into registers; a test looks at the disassembly.
 *
 * Bits: every output is ONE chain c = fma(a_ik, b_kj, c), k ascending from +0. Between blocks of KC the chain is carried
 * through memory in C, which changes nothing. So MR, NR, KC, NC and threads are free tuning (numerics.md R1). */

#if defined(NN_ISA_AVX512)
enum { MR = 14, NV = 2 };
#elif defined(NN_ISA_AVX2)
enum { MR = 6, NV = 2 };
#elif defined(NN_ISA_NEON)
enum { MR = 8, NV = 3 };
#else
enum { MR = 4, NV = 4 };
#endif
enum {
    NR = NV * VW,
    KC = 256,                                    /* a B panel of KC x NR is 32 KB: streams from L2, once per strip */
    NC = 512 * 4 / (int)sizeof(real) / NR * NR,  /* a B block of KC x NC is half a megabyte of L2 */
    A_PANEL = KC * MR
};
_Static_assert(sizeof(real) * (KC * (NC + NR) + A_PANEL) <= NN_RANK_NBYTES, "packed panels must fit the scratch");

/* One mr x (nv vectors) tile over k steps. a: k-th column at a + k * ka, rows contiguous; b: packed panel, k-th row at
 * b + k * NR. `resume` starts from C (later K blocks), else from +0. `tail` masks the last vector of C's rows. */
static inline __attribute__((always_inline)) void
tile(const int mr, const int nv, int64_t k, const real *a, int64_t ka, const real *b, real *c, int64_t rsc, vmask tail,
     int resume)
{
    vreal acc[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            acc[i][j] = !resume ? v_zero() : j == nv - 1 ? v_load_m(c + i * rsc + j * VW, tail) : v_load(c + i * rsc + j * VW);
    for (; k > 0; k--, a += ka, b += NR) {
        vreal row[NV];
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            row[j] = v_load(b + j * VW);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            vreal ai = v_set1(a[i]);
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++)
                acc[i][j] = v_fma(ai, row[j], acc[i][j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) {
            if (j == nv - 1)
                v_store_m(c + i * rsc + j * VW, tail, acc[i][j]);
            else
                v_store(c + i * rsc + j * VW, acc[i][j]);
        }
}

typedef void tile_fn(int64_t k, const real *a, int64_t ka, const real *b, real *c, int64_t rsc, vmask tail, int resume);

/* The family: one out-of-line tile per height and width, so that ragged edges run at nearly full speed too. */
#define TILE(mr, nv)                                                                                                   \
    static void gemm_ukr_##mr##x##nv(int64_t k, const real *a, int64_t ka, const real *b, real *c, int64_t rsc,       \
                                     vmask tail, int resume)                                                           \
    { tile(mr, nv, k, a, ka, b, c, rsc, tail, resume); }
#if defined(NN_ISA_AVX512)
#define TILES(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv) X(5, nv) X(6, nv) X(7, nv) X(8, nv) X(9, nv) X(10, nv) \
    X(11, nv) X(12, nv) X(13, nv) X(14, nv)
#elif defined(NN_ISA_AVX2)
#define TILES(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv) X(5, nv) X(6, nv)
#elif defined(NN_ISA_NEON)
#define TILES(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv) X(5, nv) X(6, nv) X(7, nv) X(8, nv)
#else
#define TILES(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv)
#endif
#define TILE_NAME(mr, nv) gemm_ukr_##mr##x##nv,
TILES(TILE, 1)
TILES(TILE, 2)
#if !defined(NN_ISA_AVX512) && !defined(NN_ISA_AVX2)
TILES(TILE, 3)
#if !defined(NN_ISA_NEON)
TILES(TILE, 4)
#endif
#endif

static tile_fn *const tiles[NV][MR] = {
    {TILES(TILE_NAME, 1)},
    {TILES(TILE_NAME, 2)},
#if !defined(NN_ISA_AVX512) && !defined(NN_ISA_AVX2)
    {TILES(TILE_NAME, 3)},
#if !defined(NN_ISA_NEON)
    {TILES(TILE_NAME, 4)},
#endif
#endif
};

/* B block (kc, nc) -> panels of NR columns, row by row. The last panel is filled up with copies of its last column, which
 * are multiplied but never stored: unlike zeros they raise no floating-point flag that a real column would not. */
static void pack_b(real *to, const nn_gemm_args *g, int64_t k0, int64_t kc, int64_t j0, int64_t nc)
{
    const real *b = (const real *)g->b + k0 * g->rsb + j0 * g->csb;
    for (int64_t j = 0; j < nc; j += NR, to += kc * NR) {
        int64_t width = nc - j < NR ? nc - j : NR;
        if (g->csb == 1 && width == NR) {
            for (int64_t p = 0; p < kc; p++)
                for (int v = 0; v < NV; v++)
                    v_store(to + p * NR + v * VW, v_load(b + p * g->rsb + j + v * VW));
            continue;
        }
        /* Column by column when columns are contiguous (B = W^T), else row by row: reads run along memory. */
        if (g->rsb == 1) {
            for (int64_t q = 0; q < width; q++)
                for (int64_t p = 0; p < kc; p++)
                    to[p * NR + q] = b[p + (j + q) * g->csb];
        } else {
            for (int64_t p = 0; p < kc; p++)
                for (int64_t q = 0; q < width; q++)
                    to[p * NR + q] = b[p * g->rsb + (j + q) * g->csb];
        }
        for (int64_t p = 0; width < NR && p < kc; p++)
            for (int64_t q = width; q < NR; q++)
                to[p * NR + q] = to[p * NR + width - 1];
    }
}

/* A strip (mr, kc) -> columns of mr contiguous elements. */
static void pack_a(real *to, const real *a, int64_t rsa, int64_t csa, int64_t mr, int64_t kc)
{
    for (int64_t p = 0; p < kc; p++)
        for (int64_t i = 0; i < mr; i++)
            to[p * mr + i] = a[i * rsa + p * csa];
}

/* y = act(c + bias) on a finished strip, while it is in cache. */
static void epilogue(const nn_gemm_args *g, int64_t i0, int64_t rows, int64_t j0, int64_t cols)
{
    for (int64_t i = i0; i < i0 + rows; i++) {
        real *c = (real *)g->c + i * g->rsc + j0;
        const real *bias = g->bias ? (const real *)g->bias + j0 : NULL;
        int64_t j = 0;
        for (; bias && j + VW <= cols; j += VW)
            v_store(c + j, v_add(v_load(c + j), v_load(bias + j)));
        if (bias && j < cols) {
            vmask m = v_tail(cols - j);
            v_store_m(c + j, m, v_add(v_load_m(c + j, m), v_load_m(bias + j, m)));
        }
        if (g->act) {
            void *arg[2] = {c, c};
            nn_call call = {.arg = arg, .dim = &cols, .scalar = g->scalar};
            g->act(&call, 0, cols);
        }
    }
}

/* Rows i0.. of strip s of `strips`: sizes differ by one at most (32 rows are 11 + 11 + 10, not 14 + 14 + 4). */
static int64_t strip_begin(int64_t m, int64_t strips, int64_t s) { return m * s / strips; }

static void gemm_block(const nn_gemm_args *g, void *scratch)
{
    real *packed_a = scratch, *packed_b = packed_a + A_PANEL;
    int64_t strips = (g->m + MR - 1) / MR;
    for (int64_t j0 = 0; j0 < g->n; j0 += NC) {
        int64_t nc = g->n - j0 < NC ? g->n - j0 : NC;
        /* K = 0 still runs once: the empty sum is +0. */
        for (int64_t k0 = 0; k0 == 0 || k0 < g->k; k0 += KC) {
            int64_t kc = g->k - k0 < KC ? g->k - k0 : KC;
            pack_b(packed_b, g, k0, kc, j0, nc);
            for (int64_t s = 0; s < strips; s++) {
                int64_t i0 = strip_begin(g->m, strips, s), mr = strip_begin(g->m, strips, s + 1) - i0, ka = mr;
                const real *a = (const real *)g->a + i0 * g->rsa + k0 * g->csa, *strip = packed_a;
                if (g->rsa == 1) { /* A = X^T: the rows of a column are contiguous already */
                    strip = a;
                    ka = g->csa;
                } else {
                    pack_a(packed_a, a, g->rsa, g->csa, mr, kc);
                }
                for (int64_t j = 0; j < nc; j += NR) {
                    int64_t width = nc - j < NR ? nc - j : NR, nv = (width + VW - 1) / VW;
                    tiles[nv - 1][mr - 1](kc, strip, ka, packed_b + j * kc, (real *)g->c + i0 * g->rsc + j0 + j,
                                          g->rsc, v_tail(width - (nv - 1) * VW), k0 > 0);
                }
                if (k0 + KC >= g->k && (g->bias || g->act))
                    epilogue(g, i0, mr, j0, nc);
            }
        }
    }
}
