/* reference.c - the functions of reference.h: one lane of the double versions of vec/elementary.h, baseline flags.
 *
 * The same text compiled for one lane gives the same bits as every vector version (numerics.md R5, R7), without a CPU
 * feature and without libm. Slow where the baseline has no fma instruction: fma_soft.h stands in. */
#define NN_REAL_IS_DOUBLE 1
#define NN_ISA_SCALAR
#include "internal.h"
#include "vec/vec.h"
#include "vec/elementary.h"

#include "reference.h"

double nn_exp64(double x) { return v_exp(x); }
double nn_log64(double x) { return v_log(x); }
double nn_expm164(double x) { return v_expm1(x); }
double nn_log1p64(double x) { return v_log1p(x); }
double nn_tanh64(double x) { return v_tanh(x); }
double nn_erf64(double x) { return v_erf(x); }
double nn_normal_cdf64(double x) { return v_normal_cdf(x); }
double nn_gelu_slope64(double x)
{
    const double half = 0.5 * x, high = half * x, low = v_fma(half, x, -high), e = v_exp(-high);
    return v_fma(x, NN_INV_ROOT_2PI * v_fma(e, -low, e), v_normal_cdf(x));
}
double nn_sin64(double x) { return v_sin(x); }
double nn_cos64(double x) { return v_cos(x); }
double nn_pow64(double x, double y) { return v_pow(x, y); }
