/* amx.c - the math modes bf16, bf16x3, bf16x6 on the tiles of AMX: matrix products. Convolutions are in amx_conv.h.
 *
 * The bits are those of bf16.h, so this is a faster way, not another mode. Compiled for AVX-512 with AMX; cpu.c asks the CPU
 * and the operating system first. The tiles' state is opened and released by each call: no context switch carries it along. */
#include "internal.h"

#define NN_REAL_IS_DOUBLE 0
#define NN_ISA_AVX512
#include "vec/vec.h"

static inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t at_least_zero(int64_t a) { return a > 0 ? a : 0; }

#include "amx.h"

/* A block of B takes a megabyte of L2, a strip of A sweeps over it. Terms of a block, by planes: with more the columns are too
 * few, and A is split again for the next ones (two planes, 1024x1024x1024: 512 terms 5 to 15 % faster than 1024 or 256). */
static const int64_t block_terms[4] = {0, 1024, 512, 512};
enum { AMX_STEPS = 1024 / BF16_BLOCK, AMX_A_NBYTES = 512 / BF16_BLOCK * 3 * T_STEP, AMX_B_NBYTES = 1 << 20 };

typedef void pack_fn(char *to, const float *from, int64_t rs, int64_t cs, int64_t is, int64_t ks);
#define PACK(planes)                                                                                             \
    static void pack_a_##planes(char *to, const float *from, int64_t rs, int64_t cs, int64_t is, int64_t ks)     \
    {                                                                                                            \
        pack_panel(to, planes, 0, from, rs, cs, is, ks);                                                         \
    }                                                                                                            \
    static void pack_b_##planes(char *to, const float *from, int64_t rs, int64_t cs, int64_t is, int64_t ks)     \
    {                                                                                                            \
        pack_panel(to, planes, 1, from, rs, cs, is, ks);                                                         \
    }
PACK(1)
PACK(2)
PACK(3)
static pack_fn *const pack_a[4] = {NULL, pack_a_1, pack_a_2, pack_a_3}, *const pack_b[4] = {NULL, pack_b_1, pack_b_2, pack_b_3};

/* A whole or ragged block of c from the tiles: through `side`, 32 x 32, where it is ragged. */
static void block_product(tile_fn *product, tile_run o, float *c, int64_t rsc, int64_t rows, int64_t cols, float *side)
{
    o.home = (const char *)c;
    o.home_stride = rsc * (int64_t)sizeof(float);
    if (rows == T_SIDE && cols == T_SIDE) {
        o.c = c;
        o.c_stride = o.home_stride;
        product(&o);
        return;
    }
    const vmask m0 = v_tail(at_most(cols, 16)), m1 = v_tail(at_least_zero(cols - 16));
    o.c = side;
    o.c_stride = T_SIDE * sizeof(float);
    for (int64_t i = 0; i < rows && o.resume; i++) {
        v_store(side + i * T_SIDE, v_load_m(c + i * rsc, m0));
        v_store(side + i * T_SIDE + 16, v_load_m(c + i * rsc + 16, m1));
    }
    product(&o);
    for (int64_t i = 0; i < rows; i++) {
        v_store_m(c + i * rsc, m0, v_load(side + i * T_SIDE));
        v_store_m(c + i * rsc + 16, m1, v_load(side + i * T_SIDE + 16));
    }
}

/* y = act(c + bias) on finished rows. */
static void finish_rows(const nn_gemm_args *g, int64_t i, int64_t rows)
{
    for (int64_t end = i + rows; i < end; i++) {
        float *c = (float *)g->c + i * g->rsc;
        const float *bias = g->bias;
        for (int64_t j = 0; bias && j < g->n; j += VW) {
            vmask m = v_tail(at_most(g->n - j, VW));
            v_store_m(c + j, m, v_add(v_load_m(c + j, m), v_load_m(bias + j, m)));
        }
        if (g->act) {
            void *arg[2] = {c, c};
            nn_call call = {.arg = arg, .dim = &g->n, .scalar = g->scalar};
            g->act(&call, 0, g->n);
        }
    }
}

/* What one block of B is: panels of 32 columns from column j0 and term k0 on, packed. */
typedef struct tile_block {
    char *panels;
    int64_t panel; /* bytes */
    int64_t j0, nc, k0, ks;
} tile_block;

/* Rows of B are read through all panels, 32 at a time: a prefetcher does not follow the pieces of one (10 to 25 %). */
static void pack_block(const nn_gemm_args *g, const tile_block *o)
{
    const float *b = (const float *)g->b + o->j0 * g->csb + o->k0 * g->rsb;
    const int64_t run = g->csb == 1 ? BF16_BLOCK : o->ks;
    for (int64_t k = 0; k < o->ks; k += run)
        for (int64_t j = 0; j < o->nc; j += T_SIDE)
            pack_b[g->planes](o->panels + j / T_SIDE * o->panel + k / BF16_BLOCK * g->planes * T_STEP,
                              b + j * g->csb + k * g->rsb, g->csb, g->rsb, o->nc - j, at_most(run, o->ks - k));
}

/* All strips of A times a block of B. */
static void sweep_block(const nn_gemm_args *g, const tile_block *o, char *strip, float *side)
{
    int64_t at[AMX_STEPS];
    for (int64_t s = 0; s < AMX_STEPS; s++)
        at[s] = s * g->planes * T_STEP;
    for (int64_t i = 0; i < g->m; i += T_SIDE) {
        const int64_t rows = at_most(g->m - i, T_SIDE);
        float *c = (float *)g->c + i * g->rsc + o->j0;
        pack_a[g->planes](strip, (const float *)g->a + i * g->rsa + o->k0 * g->csa, g->rsa, g->csa, rows, o->ks);
        for (int64_t j = 0; j < o->nc; j += T_SIDE) {
            const tile_run run = {.a = strip, .b = o->panels + j / T_SIDE * o->panel, .at = at,
                                  .steps = (o->ks + BF16_BLOCK - 1) / BF16_BLOCK, .a_stride = T_ROW, .a_plane = T_STEP,
                                  .a_tile = T_NBYTES, .resume = o->k0 > 0};
            block_product(tile_products[g->planes], run, c + j, g->rsc, rows, at_most(o->nc - j, T_SIDE), side);
        }
        if (o->k0 + o->ks == g->k && o->j0 + o->nc == g->n)
            finish_rows(g, i, rows);
    }
}

static void amx_gemm(const nn_gemm_args *g, void *scratch)
{
    const int64_t kc = at_most(block_terms[g->planes], g->k > 0 ? (g->k + BF16_BLOCK - 1) / BF16_BLOCK * BF16_BLOCK : BF16_BLOCK);
    char *strip = scratch, *panels = strip + AMX_A_NBYTES;
    float *side = (float *)(void *)(panels + AMX_B_NBYTES);
    tile_block o = {.panels = panels, .panel = kc / BF16_BLOCK * g->planes * T_STEP};
    const int64_t width = AMX_B_NBYTES / o.panel * T_SIDE;
    tiles_open();
    for (o.j0 = 0; o.j0 < g->n; o.j0 += width)
        for (o.k0 = 0; o.k0 == 0 || o.k0 < g->k; o.k0 += kc) {
            o.nc = at_most(g->n - o.j0, width);
            o.ks = at_most(g->k - o.k0, kc);
            pack_block(g, &o);
            sweep_block(g, &o, strip, side);
        }
    _tile_release();
}

/* One step again and again, for nn_probe: 32 x 32 floats of data each as a and as b. */
V_INLINE void repeat_step(const int planes, const char *a, const char *b, int64_t repeats)
{
    for (int64_t r = 0; r < repeats; r++)
        tile_step(planes, 0, a, T_ROW, T_STEP, T_NBYTES, b);
}

static double tile_probe(int32_t what, void *out, const void *data, int64_t nbytes, int64_t repeats)
{
    const int planes = what - NN_PROBE_BF16 + 1;
    char *a = out, *b = a + 3 * T_STEP;
    const float *x = data;
    (void)nbytes;
    pack_a[planes](a, x, T_SIDE, 1, T_SIDE, T_SIDE);
    pack_b[planes](b, x + T_SIDE * T_SIDE, 1, T_SIDE, T_SIDE, T_SIDE);
    tiles_open();
    tiles_zero();
    if (planes == 1)
        repeat_step(1, a, b, repeats);
    else if (planes == 2)
        repeat_step(2, a, b, repeats);
    else
        repeat_step(3, a, b, repeats);
    tiles_store(b + 3 * T_STEP, T_SIDE * sizeof(float));
    _tile_release();
    return (double)repeats * 2 * T_SIDE * T_SIDE * T_SIDE;
}

#include "amx_conv.h"
#include "amx_weight.h"

extern const nn_bf16_set nn_bf16_amx;
const nn_bf16_set nn_bf16_amx = {amx_gemm, tile_conv_fwd, tile_conv_bwd_data, tile_conv_bwd_weight, tile_probe};
