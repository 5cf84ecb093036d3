/* loss.c - losses of one row each, with the gradient of the whole computed along.
 *
 *   softmax_xent    loss = log sum_j exp(z_j - m) - (z_t - m)            Bishop 2006, 4.108
 *                   dz = scale (softmax(z) - [j = t])
 *   softmax_xent_soft loss = s log sum_j exp(z_j - m) - sum_j t_j (z_j - m), s = sum_j t_j   Bishop 2006, 4.108, any t >= 0
 *                   dz = scale (s softmax(z) - t)
 *   squared_error   loss = f sum_j e_j^2, e = z - t                      definitions.md: f = 1/2, or 1/C for MSE
 *                   dz = scale 2 f e
 *   absolute_error  loss = sum_j |e_j|
 *                   dz = scale sign(e), sign(0) = 0
 *   huber           loss = sum_j |e| <= d ? e^2 / 2 : d (|e| - d / 2)    Huber 1964
 *                   dz = scale min(max(e, -d), d)
 *   binary_xent     loss = sum_j log(1 + exp(z)) - t z, 0 <= t <= 1      Bishop 2006, 4.90
 *                   dz = scale (sigmoid(z) - t)
 *   logistic_loss   loss = sum_j log(1 + exp(-t z)), t = -1 or +1        Bishop 2006, 7.47 without its 1 / log 2
 *                   dz = -scale t sigmoid(-t z)
 *   hinge           loss = sum_j max(0, 1 - t z), t = -1 or +1           Bishop 2006, 7.44
 *                   dz = 1 - t z > 0 ? -scale t : 0
 *   multi_hinge     loss = sum_{j != t} max(0, q_j), q_j = z_j - z_t + 1 Weston and Watkins 1999
 *                   dz_j = scale [q_j > 0], dz_t = -scale |{j != t: q_j > 0}|
 *   perceptron      loss = sum_j (s_j - t_j) z_j, s = [z >= 0], t = 0/1  Bishop 2006, 4.54 (both codings); Rosenblatt 1958
 *                   dz = scale (s - t): the perceptron rule
 *   one_hot         y_j = j = t ? high : low
 *
 * Shapes: z, dz, t (N, C); loss (N); labels (N) i32 in [0, C), checked by the gather that brought them. dz may be z.
 * The loss is not scaled; scale (1 / N for the mean over the batch) is rounded to real and multiplies dz once.
 * Sums over j in R3's order (softmax.c); the element of the label's class takes part in multi_hinge's sum as a +0.
 * What is hard. softmax_xent: m, the row maximum, is subtracted first; never NaN for finite logits (a loss beyond the
 * largest real is +inf). softmax_xent_soft has its bits where t is 0 but for one 1; where t is 0 a logit may be -inf. binary_xent: log(1 + exp(z)) - t z cancels for t = 1, so it is computed as
 * (max(z, 0) - t z) + log(1 + exp(-|z|)), the first one fma, exact for t = 0, 1; and dz from s = sigmoid(-|z|), which
 * keeps its relative accuracy: z > 0 ? (1 - t) - s : s - t. So neither loss nor gradient of a confident right answer
 * is 0 before it underflows; the textbook's log(1 - sigmoid(z)) is -inf from z = 16.64 on (numerics.md E4a).
 * Kinks: derivative 0 at e = 0 and at a margin of exactly 1; huber's is continuous. NaN propagates to loss and dz, also
 * through the comparisons. An infinite logit gives inf or NaN. Errors: gamma_C sum |terms|; bounds in the cases.
 * Called by: the losses of nncore/nn/losses.py, as the last forward instruction of a training tape.
 */
#ifdef NN_PASS_LIST
NN_OP(softmax_xent, SOFTMAX_XENT)
NN_OP(softmax_xent_soft, SOFTMAX_XENT_SOFT)
NN_OP(squared_error, SQUARED_ERROR)
NN_OP(absolute_error, ABSOLUTE_ERROR)
NN_OP(huber, HUBER)
NN_OP(binary_xent, BINARY_XENT)
NN_OP(logistic_loss, LOGISTIC_LOSS)
NN_OP(hinge, HINGE)
NN_OP(multi_hinge, MULTI_HINGE)
NN_OP(perceptron, PERCEPTRON)
NN_OP(one_hot, ONE_HOT)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void softmax_xent(const nn_call *c)
{
    const int64_t C = c->dim[1];
    const real scale = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *loss = (real *)c->arg[0] + i, *dz = (real *)c->arg[1] + i * C;
        const real *z = (const real *)c->arg[2] + i * C, m = ref_row_max(z, C);
        const int32_t t = ((const int32_t *)c->arg[3])[i];
        real sum = 0;
        for (int64_t j = 0; j < C; j++)
            sum += (real)nn_exp64(z[j] - m);
        *loss = (real)nn_log64(sum) - (z[t] - m);
        for (int64_t j = 0; j < C; j++)
            dz[j] = scale * ((real)nn_exp64(z[j] - m) / sum - (j == t));
    }
}

static void softmax_xent_soft(const nn_call *c)
{
    const int64_t C = c->dim[1];
    const real scale = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *loss = (real *)c->arg[0] + i, *dz = (real *)c->arg[1] + i * C;
        const real *z = (const real *)c->arg[2] + i * C, *t = (const real *)c->arg[3] + i * C, m = ref_row_max(z, C);
        real sum = 0, all = 0, right = 0;
        for (int64_t j = 0; j < C; j++) {
            sum += (real)nn_exp64(z[j] - m);
            all += t[j];
            if (t[j] != 0)
                right = v_fma(t[j], z[j] - m, right);
        }
        *loss = v_fma(all, (real)nn_log64(sum), -right);
        for (int64_t j = 0; j < C; j++)
            dz[j] = scale * v_fma(all, (real)nn_exp64(z[j] - m) / sum, -t[j]);
    }
}

/* The losses that are a sum over the outputs: f gives one output's loss and, in *g, its derivative. */
typedef real ref_loss_fn(real z, real t, const double *scalar, real *g);

static void ref_loss(const nn_call *c, ref_loss_fn *f)
{
    const int64_t C = c->dim[1];
    const real *z = c->arg[2], *t = c->arg[3];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real sum = 0, g;
        for (int64_t j = i * C; j < (i + 1) * C; j++) {
            sum += f(z[j], t[j], c->scalar, &g);
            ((real *)c->arg[1])[j] = (real)c->scalar[0] * g;
        }
        ((real *)c->arg[0])[i] = sum;
    }
}

static real ref_squared(real z, real t, const double *scalar, real *g)
{
    real e = z - t, f = (real)scalar[1];
    *g = 2 * f * e;
    return f * (e * e);
}

static real ref_absolute(real z, real t, const double *scalar, real *g)
{
    (void)scalar;
    real e = z - t;
    *g = e > 0 ? 1 : e < 0 ? -1 : e;
    return e < 0 ? -e : e;
}

static real ref_huber(real z, real t, const double *scalar, real *g)
{
    real e = z - t, d = (real)scalar[1], size = e < 0 ? -e : e;
    *g = e > d ? d : e < -d ? -d : e;
    return size <= d ? e * e / 2 : d * (size - d / 2);
}

static real ref_binary(real z, real t, const double *scalar, real *g)
{
    (void)scalar;
    real size = z < 0 ? -z : z, s = (real)ref_sigmoid(-size);
    *g = z > 0 ? (1 - t) - s : s - t;
    return v_fma(-t, z, z < 0 ? 0 : z) + (real)ref_softplus(-size);
}

static real ref_logistic(real z, real t, const double *scalar, real *g)
{
    (void)scalar;
    *g = -t * (real)ref_sigmoid(-t * z);
    return (real)ref_softplus(-t * z);
}

static real ref_hinge(real z, real t, const double *scalar, real *g)
{
    (void)scalar;
    real q = v_fma(-t, z, 1);
    *g = q > 0 ? -t : q <= 0 ? 0 : q;
    return q < 0 ? 0 : q;
}

static real ref_perceptron(real z, real t, const double *scalar, real *g)
{
    (void)scalar;
    *g = (z >= 0 ? 1 : z < 0 ? 0 : z) - t;
    return *g * z;
}

static void squared_error(const nn_call *c) { ref_loss(c, ref_squared); }
static void absolute_error(const nn_call *c) { ref_loss(c, ref_absolute); }
static void huber(const nn_call *c) { ref_loss(c, ref_huber); }
static void binary_xent(const nn_call *c) { ref_loss(c, ref_binary); }
static void logistic_loss(const nn_call *c) { ref_loss(c, ref_logistic); }
static void hinge(const nn_call *c) { ref_loss(c, ref_hinge); }
static void perceptron(const nn_call *c) { ref_loss(c, ref_perceptron); }

static void multi_hinge(const nn_call *c)
{
    const int64_t C = c->dim[1];
    const real scale = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *loss = (real *)c->arg[0] + i, *dz = (real *)c->arg[1] + i * C;
        const real *z = (const real *)c->arg[2] + i * C;
        const int32_t t = ((const int32_t *)c->arg[3])[i];
        const real zt = z[t];
        real sum = 0, violated = 0;
        for (int64_t j = 0; j < C; j++) {
            real q = z[j] - zt + 1;
            if (j == t)
                q = 0;
            sum += q < 0 ? 0 : q;
            violated += q > 0;
            dz[j] = q > 0 ? scale : q <= 0 ? 0 : q;
        }
        *loss = sum;
        dz[t] = sum == sum ? 0 - scale * violated : sum;
    }
}

static void one_hot(const nn_call *c)
{
    const int64_t C = c->dim[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        for (int64_t j = 0; j < C; j++)
            ((real *)c->arg[0])[i * C + j] = (real)c->scalar[j == ((const int32_t *)c->arg[1])[i]];
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "loss_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(softmax_xent, SOFTMAX_XENT)
NN_DRIVE_ROWS(softmax_xent_soft, SOFTMAX_XENT_SOFT)
NN_DRIVE_ROWS(squared_error, SQUARED_ERROR)
NN_DRIVE_ROWS(absolute_error, ABSOLUTE_ERROR)
NN_DRIVE_ROWS(huber, HUBER)
NN_DRIVE_ROWS(binary_xent, BINARY_XENT)
NN_DRIVE_ROWS(logistic_loss, LOGISTIC_LOSS)
NN_DRIVE_ROWS(hinge, HINGE)
NN_DRIVE_ROWS(multi_hinge, MULTI_HINGE)
NN_DRIVE_ROWS(perceptron, PERCEPTRON)
NN_DRIVE_ROWS(one_hot, ONE_HOT)
#endif
