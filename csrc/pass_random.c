/* pass_random.c - the float kernels in Monte Carlo arithmetic (vec/vec_random.h), compiled per ISA: the same random numbers and
 * bits on each. The build passes NN_SET and NN_DRAW, the names of the two symbols that this object exports. */
#undef NN_ISA_SCALAR
#undef NN_ISA_AVX2
#undef NN_ISA_AVX512
#undef NN_ISA_NEON
#define NN_ISA_RANDOM
#include "pass_kernel.c"

extern nn_draw_fn *const NN_DRAW;

/* Zero is the one state that a generator does not leave. */
static void draw_from(uint64_t seed)
{
    uint64_t n[8];
    for (uint32_t k = 0; k < 8; k++) {
        uint32_t block[4];
        philox_block(block, seed, NN_STREAM_MONTE_CARLO, k, 0);
        n[k] = (uint64_t)block[0] << 32 | block[1] | 1;
    }
    /* At once: were its lanes written by number, the kernels could not keep it in a register. */
    noise = (lanes_u){n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]};
}
nn_draw_fn *const NN_DRAW = draw_from;
