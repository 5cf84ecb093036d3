/* activation.c - elementwise activation functions and their derivatives.
 *
 *   step      y = [x >= 0]                                               McCulloch and Pitts 1943; definitions.md
 *   satlin    y = min(max(x, 0), 1)               dx = dy [0 < y < 1]
 *   sigmoid   y = 1 / (1 + exp(-lambda x))        dx = dy lambda y (1 - y)          Bishop 2006, 4.59, 4.88
 *   tanh      y = a tanh(b x)                     dx = dy (b / a) (a - y) (a + y)   LeCun et al. 1998, 4.4
 *   relu      y = x < 0 ? 0 : x                   dx = dy [y > 0]                   Goodfellow et al. 2016, 6.3.1
 *   leaky     y = x < 0 ? slope x : x             dx = y > 0 ? dy : slope dy        Maas et al. 2013
 *   elu       y = x > 0 ? lambda x : lambda alpha (exp(x) - 1)                      Clevert et al. 2016; SELU:
 *             dx = dy (y > 0 ? lambda : y + lambda alpha)                           Klambauer et al. 2017
 *   softplus  y = log(1 + exp(x))                 dx = dy / (1 + exp(-x))           Dugas et al. 2001
 *   gelu      y = x Phi(x)                        dx = dy (Phi(x) + x phi(x))       Hendrycks and Gimpel 2016
 *             Phi(x) = (1 + erf(x / sqrt 2)) / 2, phi(x) = exp(-x^2 / 2) / sqrt(2 pi): the normal distribution, its density
 *
 * Shapes: all (n). y may alias x, dx may alias dy. Where the derivative is a function of y it is computed from y, so
 * that the potential x need not be kept (slope must be positive, lambda alpha too); softplus and gelu need x.
 * At kinks: relu, leaky and elu take the left derivative at 0 (0, slope, lambda alpha), satlin 0 at both ends.
 * NaN propagates forward (numerics.md R9): comparisons are written so that a NaN takes the branch that passes it on;
 * step(NaN) is NaN, step(-0) is 1, relu(-0) is -0. Backward a NaN in y counts as "not active" where the derivative is a
 * choice (satlin, relu: 0; leaky: slope dy) and propagates where it is computed.
 * What is hard: 1 / (1 + exp(-x)) and log(1 + exp(x)) as written overflow; v_sigmoid and v_softplus do not.
 * 1 + erf cancels for negative x: v_normal_cdf (vec/erf.h) does not, so gelu is as good far below 0 as elsewhere. Its limits are
 * taken, not inf - inf: gelu(-inf) = -0, and the derivative there is 0. The derivative crosses 0 at x = -0.75, where
 * Phi and x phi cancel; there the error is u of either, not of their sum.
 * Errors: u |y| for each operation, the function's own bound (elementary.h), and what the rounding of lambda x or b x
 * moves: relative to y, u |lambda x| (1 - y) for sigmoid, so far below 0 as many u as lambda x is large; none for
 * lambda = 1. The derivations stand beside the bounds in nncore/bench/cases/activation.py.
 * Constants that combine two scalars (lambda alpha, b / a) are computed in double and rounded to real once.
 * Called by: graph nodes, and every _fwd by the GEMM epilogue, in place, with arg and scalar alone.
 */
#ifdef NN_PASS_LIST
NN_OP(step_fwd, STEP_FWD)
NN_OP(satlin_fwd, SATLIN_FWD)
NN_OP(satlin_bwd, SATLIN_BWD)
NN_OP(sigmoid_fwd, SIGMOID_FWD)
NN_OP(sigmoid_bwd, SIGMOID_BWD)
NN_OP(tanh_fwd, TANH_FWD)
NN_OP(tanh_bwd, TANH_BWD)
NN_OP(relu_fwd, RELU_FWD)
NN_OP(relu_bwd, RELU_BWD)
NN_OP(leaky_relu_fwd, LEAKY_RELU_FWD)
NN_OP(leaky_relu_bwd, LEAKY_RELU_BWD)
NN_OP(elu_fwd, ELU_FWD)
NN_OP(elu_bwd, ELU_BWD)
NN_OP(softplus_fwd, SOFTPLUS_FWD)
NN_OP(softplus_bwd, SOFTPLUS_BWD)
NN_OP(gelu_fwd, GELU_FWD)
NN_OP(gelu_bwd, GELU_BWD)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
/* In double whatever real is: for x < 0 the form exp(x) / (1 + exp(x)) does not overflow. */
static double ref_sigmoid(double x)
{
    double e = nn_exp64(x < 0 ? x : -x);
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

static double ref_softplus(double x)
{
    return x > 0 ? x + nn_log1p64(nn_exp64(-x)) : nn_log1p64(nn_exp64(x));
}

static void step_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] >= 0 ? 1 : x[i] < 0 ? 0 : x[i];
}

static void satlin_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] < 0 ? 0 : x[i] > 1 ? 1 : x[i];
}

static void satlin_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *y = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = y[i] > 0 && y[i] < 1 ? dy[i] : 0;
}

static void sigmoid_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], lambda = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = (real)ref_sigmoid(lambda * x[i]);
}

static void sigmoid_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *y = c->arg[2], lambda = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = dy[i] * (lambda * (y[i] * (1 - y[i])));
}

static void tanh_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], a = (real)c->scalar[0], b = (real)c->scalar[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = a * (real)nn_tanh64(b * x[i]);
}

static void tanh_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *y = c->arg[2], a = (real)c->scalar[0], ba = (real)(c->scalar[1] / c->scalar[0]);
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = dy[i] * (ba * ((a - y[i]) * (a + y[i])));
}

static void relu_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *y = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = y[i] > 0 ? dy[i] : 0;
}

static void leaky_relu_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], slope = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] < 0 ? slope * x[i] : x[i];
}

static void leaky_relu_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *y = c->arg[2], slope = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = y[i] > 0 ? dy[i] : slope * dy[i];
}

static void elu_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], lambda = (real)c->scalar[0], depth = (real)(c->scalar[0] * c->scalar[1]);
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] > 0 ? lambda * x[i] : depth * (real)nn_expm164(x[i]);
}

static void elu_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *y = c->arg[2];
    const real lambda = (real)c->scalar[0], depth = (real)(c->scalar[0] * c->scalar[1]);
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = dy[i] * (y[i] > 0 ? lambda : y[i] + depth);
}

static void softplus_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = (real)ref_softplus(x[i]);
}

static void softplus_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *x = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = dy[i] * (real)ref_sigmoid(x[i]);
}

/* Beyond 40 either side Phi is 0 or 1 and phi is 0, in double too: infinities do not meet zeros. */
static double ref_clip(double x) { return x < -40 ? -40 : x > 40 ? 40 : x; }

static void gelu_fwd(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = (real)((x[i] < 0 ? ref_clip(x[i]) : x[i]) * nn_normal_cdf64(x[i]));
}

static void gelu_bwd(const nn_call *c)
{
    real *dx = c->arg[0];
    const real *dy = c->arg[1], *x = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        dx[i] = dy[i] * (real)nn_gelu_slope64(ref_clip(x[i]));
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "activation_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ELEMENTS(step_fwd, STEP_FWD)
NN_DRIVE_ELEMENTS(satlin_fwd, SATLIN_FWD)
NN_DRIVE_ELEMENTS(satlin_bwd, SATLIN_BWD)
NN_DRIVE_ELEMENTS(sigmoid_fwd, SIGMOID_FWD)
NN_DRIVE_ELEMENTS(sigmoid_bwd, SIGMOID_BWD)
NN_DRIVE_ELEMENTS(tanh_fwd, TANH_FWD)
NN_DRIVE_ELEMENTS(tanh_bwd, TANH_BWD)
NN_DRIVE_ELEMENTS(relu_fwd, RELU_FWD)
NN_DRIVE_ELEMENTS(relu_bwd, RELU_BWD)
NN_DRIVE_ELEMENTS(leaky_relu_fwd, LEAKY_RELU_FWD)
NN_DRIVE_ELEMENTS(leaky_relu_bwd, LEAKY_RELU_BWD)
NN_DRIVE_ELEMENTS(elu_fwd, ELU_FWD)
NN_DRIVE_ELEMENTS(elu_bwd, ELU_BWD)
NN_DRIVE_ELEMENTS(softplus_fwd, SOFTPLUS_FWD)
NN_DRIVE_ELEMENTS(softplus_bwd, SOFTPLUS_BWD)
NN_DRIVE_ELEMENTS(gelu_fwd, GELU_FWD)
NN_DRIVE_ELEMENTS(gelu_bwd, GELU_BWD)
#endif
