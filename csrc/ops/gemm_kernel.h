/* gemm_kernel.h - the KERNEL part of gemm.c: a register tile, strips and panels around it, the epilogue behind it.
 *
 * The tile keeps MR x NV vectors of C in registers; per k it loads NV vectors of B and broadcasts MR elements of A: on
 * AVX-512 14 x 32 floats is 28 accumulators + 2 of B + 1 broadcast = 31 of 32 registers and 16 loads for 28 FMAs
 * (performance.md section 3). Tiles are constant-bound loops over arrays, which the compiler must unroll into registers;
 * a test looks at the disassembly.
 *
 * Bits: every output is ONE chain c = fma(a_ik, b_kj, c), k ascending from +0. Between blocks of KC the chain is carried
 * through memory in C, which changes nothing. So MR, NR, KC, NC, packing and threads are free tuning (numerics.md R1). */
#include "../vec/transpose.h"

#if defined(NN_ISA_AVX512)
enum { MR = 14, NV = 2 };
#elif defined(NN_ISA_AVX2) || defined(NN_ISA_RANDOM)
enum { MR = 6, NV = 2 };
#elif defined(NN_ISA_NEON)
enum { MR = 8, NV = 2 }; /* with 3 gcc 12 spills: it loads all broadcasts ahead */
#else
enum { MR = 4, NV = 2 }; /* 16 registers, of which 3 x 3 would leave three and 4 x 4 spills */
#endif
enum {
    NR = NV * VW,
    KC = 512 * 4 / (int)sizeof(real),            /* a strip of A (KC x MR) lives in L1, panels of B stream past it */
    NC = 512 * 4 / (int)sizeof(real) / NR * NR,  /* a block of B (KC x NC) is a megabyte of L2 */
    A_WIDTH = (MR + VW - 1) / VW * VW,           /* a packed column of A */
    GROUP = 16,                                  /* strips of A packed together */
    RUN = 16,                                    /* k steps that are packed across all parts before the next ones */
    AHEAD = 8, /* k steps that B is prefetched, 5 to 20 % of a product from L2, and columns of A, 2 to 16 % */
    UNROLL = 4,                                  /* k steps between sums of addresses, in tiles one vector wide */
    /* Whom packing does not pay is read in place. Writing a packed copy to L2 costs 6 cycles a vector, so: rows of B for
     * up to so many strips (128x784x512: 12 % faster than packed, 512x512x512: 5 %), A always (256x256x256: 6 %; by columns
     * 784x128x512: 15 %). Rows so many bytes apart share a few sets of the L1 cache: columns ALIAS, or rows twice that, are
     * packed. */
    SWEEPS_B = 40,
    ALIAS = 2048,
    SWEEPS_L1 = 20, /* strips for which panels that are turned are used up one by one (13 % where 32x784x512 nt was not) */
    TURNED_K = 32,  /* terms from which on it is faster to turn a few rows of C (32x784x512 nt: 20 %) */
    FETCHED_K = 16  /* terms from which on it takes longer to fetch C than to ask for it (512x128x10: 6 %) */
};
enum { SCRATCH = KC * (NC + NR + GROUP * A_WIDTH) }; /* elements that packed panels take */
_Static_assert(sizeof(real) * (SCRATCH + VW * NC) <= NN_RANK_NBYTES, "must fit the scratch");

/* The compiler may not look through x: or it would keep a pointer per row, more than there are registers. */
#define OPAQUE(x) __asm__("" : "+r"(x))

/* What a tile multiplies: element (i, k) of A is a[i * rsa + k * csa], either stride being 1; row k of B is b + k * rsb. */
typedef struct operands {
    const real *a, *b;
    real *c;
    int64_t rsa, csa, rsb, rsc, k;
    int64_t next; /* from c to the part of C that is prefetched meanwhile: no further than this rank writes */
    vmask tail; /* of the last vector of C's rows */
    int resume; /* start from C (later K blocks), else from +0 */
} operands;

/* Where the elements of A for this k lie. By rows: 0 to 6 are found from `upper`, 7 to 13 from `lower`, by 1, 3 and 5 strides
 * and the scales 1, 2, 4 of an address. */
typedef struct a_walk {
    const char *upper, *lower;
    int64_t s1, s3, s5;
} a_walk;

V_INLINE void opaque_walk(const int mr, a_walk *a)
{
    OPAQUE(a->s1);
    OPAQUE(a->s3);
    OPAQUE(a->s5);
    if (mr > 7)
        OPAQUE(a->lower);
}

/* One k: acc[i][j] = a_i b_j + acc[i][j]. `at` bytes into A's rows. As many a_i come with the FMAs themselves as two loads a
 * cycle allow and addresses are simple: where another thread shares the core, what is decoded is the limit (2 to 7 %). */
V_INLINE void tile_step(const int mr, const int nv, const int by_rows, vreal (*acc)[NV], const a_walk *a, const int at,
                        const real *b, int64_t ahead)
{
    const int64_t below[7] = {0, a->s1, 2 * a->s1, a->s3, 4 * a->s1, a->s5, 2 * a->s3};
    vreal row[NV];
    V_UNROLL for (int j = 0; j < nv; j++) {
        row[j] = v_load(b + j * VW);
        __builtin_prefetch(b + ahead + j * VW);
    }
    V_UNROLL for (int i = 0; i < mr; i++) {
        const char *at_i = by_rows ? (i < 7 ? a->upper : a->lower) + below[i % 7] + at : a->upper + i * (int)sizeof(real);
        const real *ai = (const real *)(const void *)at_i;
        const int direct = nv > 1 && (by_rows ? i % 7 == 0 : i % 2 == 1);
        const vreal v = direct ? v_zero() : v_set1(*ai);
        V_UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = direct ? v_fma_from(ai, row[j], acc[i][j]) : v_fma(v, row[j], acc[i][j]);
    }
}

#ifdef NN_FREE_ORDER
/* The rival of `nncore bench kernels --against free`: even and odd k in chains of their own wherever registers allow, as a
 * product could be that owes nobody its bits. Returns how many k are left over. */
V_INLINE int64_t tile_unordered(const int mr, const int nv, const int by_rows, vreal (*acc)[NV], a_walk *a, const real **b,
                                const operands *o, const int64_t step)
{
    vreal odd[MR][NV];
    int64_t k = 2 * mr * nv + nv < (VW == 16 ? 32 : 16) ? o->k : 0;
    V_UNROLL for (int i = 0; i < mr; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            odd[i][j] = v_zero();
    const int64_t left = o->k - k / 2 * 2;
    for (; k > 1; k -= 2, a->upper += step, a->lower += step) {
        if (by_rows)
            opaque_walk(mr, a);
        tile_step(mr, nv, by_rows, acc, a, 0, *b, AHEAD * o->rsb);
        *b += o->rsb;
        a->upper += step;
        a->lower += step;
        tile_step(mr, nv, by_rows, odd, a, 0, *b, AHEAD * o->rsb);
        *b += o->rsb;
    }
    V_UNROLL for (int i = 0; i < mr; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = v_add(acc[i][j], odd[i][j]);
    return left;
}
#endif

/* One mr x (nv vectors) tile of C. by_rows: A is rows of memory (csa = 1), else columns (rsa = 1). */
V_INLINE void tile(const int mr, const int nv, const int by_rows, const operands *o)
{
    vreal acc[MR][NV];
    const int64_t rsb = o->rsb, rsc = o->rsc;
    const vmask tail = o->tail;
    real *c = o->c;
    V_UNROLL for (int i = 0; i < mr; i++, c += rsc)
        V_UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = !o->resume ? v_zero() : j == nv - 1 ? v_load_m(c + j * VW, tail) : v_load(c + j * VW);
    c = o->c + o->next;
    if (o->k >= FETCHED_K)
        V_UNROLL for (int i = 0; i < mr; i++, c += rsc)
            V_UNROLL for (int j = 0; j < nv; j++)
                __builtin_prefetch(c + j * VW, 1);
    const real *b = o->b;
    const int64_t size = sizeof(real), stride = o->rsa * size, step = (by_rows ? 1 : o->csa) * size;
    a_walk a = {(const char *)o->a, (const char *)o->a + 7 * stride, stride, 3 * stride, 5 * stride};
    int64_t k = o->k;
#ifdef NN_FREE_ORDER
    k = tile_unordered(mr, nv, by_rows, acc, &a, &b, o, step);
#endif
    if (by_rows && nv == 1) /* else sums of addresses take as long as the FMAs */
        for (; k >= UNROLL; k -= UNROLL) {
            opaque_walk(mr, &a);
            V_UNROLL for (int u = 0; u < UNROLL; u++, b += rsb)
                tile_step(mr, nv, by_rows, acc, &a, u * (int)size, b, AHEAD * rsb);
            a.upper += UNROLL * size;
            a.lower += UNROLL * size;
        }
    for (; k > 0; k--, b += rsb, a.upper += step, a.lower += step) {
        if (by_rows) {
            opaque_walk(mr, &a);
        } else { /* no prefetcher follows pieces of a column */
            __builtin_prefetch(a.upper + AHEAD * step);
            __builtin_prefetch(a.upper + AHEAD * step + (mr - 1) * size);
        }
        tile_step(mr, nv, by_rows, acc, &a, 0, b, AHEAD * rsb);
    }
    c = o->c;
    V_UNROLL for (int i = 0; i < mr; i++, c += rsc)
        V_UNROLL for (int j = 0; j < nv; j++) {
            if (j == nv - 1)
                v_store_m(c + j * VW, tail, acc[i][j]);
            else
                v_store(c + j * VW, acc[i][j]);
        }
}

/* The family: one out-of-line tile per height, width and form of A, so that ragged edges run at nearly full speed too. */
typedef void tile_fn(const operands *o);
#define TILE(mr, nv)                                                                    \
    static void gemm_ukr_##mr##x##nv(const operands *o) { tile(mr, nv, 0, o); }         \
    static void gemm_ukr_rows_##mr##x##nv(const operands *o) { tile(mr, nv, 1, o); }
#define TILE_NAMES(mr, nv) {gemm_ukr_##mr##x##nv, gemm_ukr_rows_##mr##x##nv},
#define TILES_4(X, nv) X(1, nv) X(2, nv) X(3, nv) X(4, nv)
#define TILES_6(X, nv) TILES_4(X, nv) X(5, nv) X(6, nv)
#define TILES_8(X, nv) TILES_6(X, nv) X(7, nv) X(8, nv)
#define TILES_14(X, nv) TILES_8(X, nv) X(9, nv) X(10, nv) X(11, nv) X(12, nv) X(13, nv) X(14, nv)
#if defined(NN_ISA_AVX512)
#define TILES TILES_14
#elif defined(NN_ISA_AVX2) || defined(NN_ISA_RANDOM)
#define TILES TILES_6
#elif defined(NN_ISA_NEON)
#define TILES TILES_8
#else
#define TILES TILES_4
#endif
TILES(TILE, 1)
TILES(TILE, 2)

static tile_fn *const tiles[NV][MR][2] = {{TILES(TILE_NAMES, 1)}, {TILES(TILE_NAMES, 2)}};

static inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

/* Rows that are contiguous along k: turned VW x VW at a time. `last` is the last row there is. */
static void pack_turned(real *to, int64_t width, const real *from, int64_t rs, int64_t last, int64_t k)
{
    const real *row[VW];
    V_UNROLL for (int q = 0; q < VW; q++)
        row[q] = from + at_most(q, last) * rs;
    for (int64_t p = 0; p < k; p += VW, to += VW * width) {
        int64_t n = at_most(k - p, VW);
        vreal block[VW];
        if (n == VW) {
            v_load_turned(block, row);
        } else {
            vmask m = v_tail(n);
            V_UNROLL for (int q = 0; q < VW; q++)
                block[q] = v_load_m(row[q], m);
            v_transpose(block);
        }
        V_UNROLL for (int q = 0; q < VW; q++) {
            if (q < n)
                v_store(to + q * width, block[q]);
            row[q] += VW;
        }
    }
}

/* Write k columns of `rows` elements, element (i, p) being from[i * rs + p * cs], one after the other, each filled up to
 * whole vectors with copies of its last element: unlike zeros they raise no floating-point flag that a real one would
 * not. Makes strips of A and, with j for i, panels of B. Returns the length of a column. */
static int64_t pack(real *to, const real *from, int64_t rs, int64_t cs, int64_t rows, int64_t k)
{
    int64_t width = (rows + VW - 1) / VW * VW;
    for (int64_t i = 0; i < rows; i += VW, to += VW, from += VW * rs) {
        int64_t last = at_most(rows - i, VW) - 1;
        vmask m = v_tail(last + 1);
        if (rs == 1 && last == VW - 1)
            for (int64_t p = 0; p < k; p++)
                v_store(to + p * width, v_load(from + p * cs));
        else if (rs == 1)
            for (int64_t p = 0; p < k; p++)
                v_store(to + p * width, v_select(m, v_load_m(from + p * cs, m), v_set1(from[p * cs + last])));
        else if (cs == 1)
            pack_turned(to, width, from, rs, last, k);
        else
            for (int64_t p = 0; p < k; p++)
                for (int64_t q = 0; q < VW; q++)
                    to[p * width + q] = from[at_most(q, last) * rs + p * cs];
    }
    return width;
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

/* Where part s of n cut in `parts` begins: sizes differ by one at most (32 rows are 11 + 11 + 10, not 14 + 14 + 4). */
static int64_t part_begin(int64_t n, int64_t parts, int64_t s) { return n * s / parts; }

/* A block of B (kc, nc): where it lies, unless in_place is 0, and its packed panels; a ragged last one is always packed. */
typedef struct b_block {
    const real *place, *packed;
    int64_t nc, row_stride;
    int in_place;
} b_block;

/* A strip of C, mr rows: the strip of A in `o` times every panel of a block of B. */
static void gemm_strip(operands o, int64_t mr, const b_block *b)
{
    int by_rows = o.rsa != 1;
    for (int64_t j = 0; j < b->nc; j += NR, o.c += NR) {
        int64_t width = at_most(b->nc - j, NR), nv = (width + VW - 1) / VW;
        int in_place = b->in_place && width == NR;
        o.b = in_place ? b->place + j : b->packed + j * o.k;
        o.rsb = in_place ? b->row_stride : nv * VW;
        o.next = j + NR < b->nc ? NR : 0;
        o.tail = v_tail(width - (nv - 1) * VW);
        tiles[nv - 1][mr - 1][by_rows](&o);
    }
}

/* n rows or columns of an operand cut in `parts` of a multiple of grain: strips of A, panels of B. */
typedef struct cut {
    int64_t n, grain, parts;
} cut;

static int64_t cut_begin(const cut *x, int64_t part)
{
    return at_most(x->n, part_begin((x->n + x->grain - 1) / x->grain, x->parts, part) * x->grain);
}

/* Pack parts [begin, end), each `stride` behind the last one. What is contiguous across parts is read in runs through all
 * of them: a prefetcher does not follow the pieces of one part. */
static void pack_parts(real *to, int64_t stride, const real *from, int64_t rs, int64_t cs, const cut *x, int64_t begin,
                       int64_t end, int64_t k)
{
    int64_t run = rs == 1 ? RUN : k;
    for (int64_t p = 0; p < k; p += run)
        for (int64_t s = begin; s < end; s++) {
            int64_t i = cut_begin(x, s), n = cut_begin(x, s + 1) - i, width = (n + VW - 1) / VW * VW;
            pack(to + (s - begin) * stride + p * width, from + i * rs + p * cs, rs, cs, n, at_most(run, k - p));
        }
}

/* Whether the tiles read A where it lies. */
static int a_reads_in_place(const nn_gemm_args *g, int64_t panels)
{
    const int64_t size = sizeof(real);
    if (g->rsa == 1)
        return panels == 1 || g->csa * size % ALIAS;
    return g->csa == 1 && (panels == 1 || g->rsa * size % (2 * ALIAS));
}

/* All of C in this K block times columns j0 to j0 + nc: packs what is worth it, sweeps strip by strip. */
static void gemm_sweep(const nn_gemm_args *g, real *scratch, int64_t j0, int64_t nc, int64_t k0, int64_t kc)
{
    real *packed_a = scratch, *packed_b = scratch + KC * GROUP * A_WIDTH;
    int64_t strips = (g->m + MR - 1) / MR, panels = (nc + NR - 1) / NR;
    int b_in_place = g->csb == 1 && strips <= SWEEPS_B, a_in_place = a_reads_in_place(g, panels);
    const real *b = (const real *)g->b + k0 * g->rsb + j0 * g->csb;
    int64_t placed = b_in_place ? nc / NR : 0;
    int64_t group = g->rsa == 1 ? GROUP : 1;
    cut rows = {g->m, 1, strips}, columns = {nc, NR, panels};
    const real *a = (const real *)g->a + k0 * g->csa;
    pack_parts(packed_b + placed * NR * kc, NR * kc, b, g->csb, g->rsb, &columns, placed, panels, kc);
    b_block block = {b, packed_b, nc, g->rsb, b_in_place};
    for (int64_t s = 0; s < strips; s++) {
        int64_t i0 = cut_begin(&rows, s), mr = cut_begin(&rows, s + 1) - i0;
        operands o = {.a = a + i0 * g->rsa, .rsa = g->rsa, .csa = g->csa,
                      .c = (real *)g->c + i0 * g->rsc + j0, .rsc = g->rsc, .k = kc, .resume = k0 > 0};
        if (!a_in_place) {
            if (s % group == 0)
                pack_parts(packed_a, KC * A_WIDTH, a, g->rsa, g->csa, &rows, s, at_most(s + group, strips), kc);
            o.csa = (mr + VW - 1) / VW * VW;
            o.rsa = 1;
            o.a = packed_a + s % group * KC * A_WIDTH;
        }
        gemm_strip(o, mr, &block);
        if (k0 + kc == g->k && (g->bias || g->act))
            epilogue(g, i0, mr, j0, nc);
    }
}

static void gemm_wide(const nn_gemm_args *g, real *scratch)
{
    /* K = 0 still runs once: the empty sum is +0. */
    int64_t blocks = g->k > 0 ? (g->k + KC - 1) / KC : 1;
    /* Panels that are turned for a few strips are used up one by one, while they are in L1. */
    int64_t width = g->csb != 1 && g->m <= SWEEPS_L1 * MR && g->k >= KC ? NR : NC;
    for (int64_t j0 = 0; j0 < g->n; j0 += width)
        for (int64_t s = 0; s < blocks; s++) {
            int64_t k0 = part_begin(g->k, blocks, s);
            gemm_sweep(g, scratch, j0, at_most(g->n - j0, width), k0, part_begin(g->k, blocks, s + 1) - k0);
        }
}

#include "gemm_turned_kernel.h"
#include "gemm_row_kernel.h"

static void gemm_block(const nn_gemm_args *g, void *scratch)
{
    if (g->m == 1 && g->csb == 1)
        gemm_row(g);
    else if (is_narrow(g))
        gemm_turned(g, scratch, NC);
    else if (is_flat(g))
        gemm_turned(g, scratch, NR);
    else
        gemm_wide(g, scratch);
}
