/* pass_ref.c - the REFERENCE part of every op: the loop nest that looks like the formula, compiled for float and for
 * double (NN_REAL_IS_DOUBLE), baseline flags. Elementary functions come from libm's place taken by ours: ref_exp and
 * friends run in double and are rounded once, so they are all but correctly rounded in float. */
#include "internal.h"
#include "random.h"
#define NN_ISA_SCALAR
#include "vec/vec.h"
#include "reference.h"

#define NN_PASS_REF
#include "ops/all.h"
#undef NN_PASS_REF

#define NN_PASS_LIST
#define NN_OP(name, ID) [NN_OP_##ID] = name,
#define NN_OP_DRIVEN(name, ID) [NN_OP_##ID] = name,
#define NN_OP_HOST(name, ID)
#if NN_REAL_IS_DOUBLE
nn_op_fn *const nn_reference_f64[NN_OP_COUNT_] = {
#else
nn_op_fn *const nn_reference_f32[NN_OP_COUNT_] = {
#endif
#include "ops/all.h"
};
