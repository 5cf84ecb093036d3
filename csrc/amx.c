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

/* Blocks of B take a megabyte of L2, a strip of A sweeps over them. */
enum { AMX_KC = 1024, AMX_B_NBYTES = 1 << 20, AMX_STEPS = AMX_KC / BF16_BLOCK };

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
    if (rows == T_SIDE && cols == T_SIDE) {
        o.c = c;
        o.c_stride = rsc * (int64_t)sizeof(float);
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

static void amx_gemm(const nn_gemm_args *g, void *scratch)
{
    const int planes = g->planes;
    const int64_t step = planes * T_STEP, kc = at_most(AMX_KC, g->k > 0 ? (g->k + 31) / 32 * 32 : 32);
    const int64_t panel = kc / BF16_BLOCK * step, panels = AMX_B_NBYTES / panel;
    char *strip = scratch, *block = strip + AMX_STEPS * 3 * T_STEP;
    float *side = (float *)(void *)(block + AMX_B_NBYTES);
    int64_t at[AMX_STEPS];
    for (int64_t s = 0; s < AMX_STEPS; s++)
        at[s] = s * step;
    tiles_open();
    for (int64_t j0 = 0; j0 < g->n; j0 += panels * T_SIDE)
        for (int64_t k0 = 0; k0 == 0 || k0 < g->k; k0 += kc) {
            const int64_t nc = at_most(g->n - j0, panels * T_SIDE), ks = at_most(g->k - k0, kc);
            const int last = k0 + ks == g->k;
            for (int64_t j = 0; j < nc; j += T_SIDE)
                pack_b[planes](block + j / T_SIDE * panel, (const float *)g->b + (j0 + j) * g->csb + k0 * g->rsb, g->csb, g->rsb,
                               nc - j, ks);
            for (int64_t i = 0; i < g->m; i += T_SIDE) {
                const int64_t rows = at_most(g->m - i, T_SIDE);
                pack_a[planes](strip, (const float *)g->a + i * g->rsa + k0 * g->csa, g->rsa, g->csa, rows, ks);
                for (int64_t j = 0; j < nc; j += T_SIDE) {
                    tile_run o = {.a = strip, .b = block + j / T_SIDE * panel, .at = at,
                                  .steps = (ks + BF16_BLOCK - 1) / BF16_BLOCK, .a_stride = T_ROW, .a_plane = T_STEP,
                                  .a_tile = T_NBYTES, .resume = k0 > 0};
                    block_product(tile_products[planes], o, (float *)g->c + i * g->rsc + j0 + j, g->rsc, rows,
                                  at_most(nc - j, T_SIDE), side);
                }
                if (last && j0 + nc == g->n)
                    finish_rows(g, i, rows);
            }
        }
    _tile_release();
}

#include "amx_conv.h"
#include "amx_weight.h"

extern const nn_bf16_set nn_bf16_amx;
const nn_bf16_set nn_bf16_amx = {amx_gemm, tile_conv_fwd, tile_conv_bwd_data, tile_conv_bwd_weight};
