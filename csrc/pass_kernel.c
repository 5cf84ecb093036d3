/* pass_kernel.c - the KERNEL part of every op, compiled once per ISA and per real type.
 *
 * The build passes NN_SET (the name of the one symbol this object exports), NN_ISA_<LEVEL> and NN_REAL_IS_DOUBLE.
 * Everything else is static: a non-static inline compiled with AVX could be picked by the linker for everyone. */
#include "internal.h"
#include "random.h"
#include "vec/vec.h"
#include "vec/elementary.h"
#if NN_REAL_IS_DOUBLE
#include "vec/exact_f64.h"
#endif
#include "vec/philox.h"

#define NN_PASS_KERNEL
#include "ops/all.h"
#undef NN_PASS_KERNEL
#if !NN_REAL_IS_DOUBLE
#include "ops/instruments_kernel.h"
#endif

#if NN_REAL_IS_DOUBLE
/* Lane 0 of the vector functions: drivers get the same bits on every ISA. */
#define NN_SCALAR_FN(name) \
    static double scalar_##name(double x) { real lane[VW]; v_store(lane, v_##name(v_set1(x))); return lane[0]; }
NN_SCALAR_FN(exp)
NN_SCALAR_FN(log)
NN_SCALAR_FN(sin)
NN_SCALAR_FN(cos)
static double scalar_pow(double x, double y)
{
    real lane[VW];
    v_store(lane, v_pow(v_set1(x), v_set1(y)));
    return lane[0];
}
#endif

#define NN_PASS_LIST
#define NN_OP(name, ID) [NN_OP_##ID] = name,
#define NN_OP_DRIVEN(name, ID)
#define NN_OP_HOST(name, ID)
extern const nn_kernel_set NN_SET; /* declared for -Wmissing-variable-declarations */
const nn_kernel_set NN_SET = {
    .range = {
#include "ops/all.h"
    },
    .gemm = gemm_block,
#if !NN_REAL_IS_DOUBLE
    .emulated = acc_product,
    .look = {look_describe, look_update, look_twin, look_terms, look_widen, look_sizes},
    .bf16 = {bf16_gemm, conv_bf16_fwd, conv_bf16_bwd_data, conv_bf16_bwd_weight, NULL},
#endif
    .mr = MR,
    .nr = NR,
    .probe = probe_kernel,
#if NN_REAL_IS_DOUBLE
    .exp = scalar_exp,
    .log = scalar_log,
    .sin = scalar_sin,
    .cos = scalar_cos,
    .pow = scalar_pow,
    .exact = {exact_exp, exact_expm1, exact_log, exact_tanh, exact_sigmoid, exact_softplus, exact_erf, exact_normal_cdf},
    .numbers = draw_numbers,
#endif
};
