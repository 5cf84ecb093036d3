/* operate.c - single operations and variances in any arithmetic of rounding.h.
 *
 * Variances of n numbers, errors relative, kappa = sqrt(1 + mean^2 / variance) (Chan, Golub, LeVeque 1983; Higham 2002, 1.9):
 *   textbook   (sum x^2 - (sum x)^2 / n) / n                              n u kappa^2
 *   two-pass   sum (x - mean)^2 / n, mean = (sum x) / n                   n u + (n u kappa)^2
 *   Welford    d = x - m; m += d / k; s += d (x - m); s / n               n u kappa
 * Their sums are naive: what is compared is the formula. */
#include "rounding.h"

/* a / b to odd in double: the remainder, exact in an fma, tells on which side the quotient lies. */
static double divide_odd(double a, double b)
{
    const double q = a / b;
    uint64_t bits = nn_bits_of(q);
    if (!nn_is_finite(q) || q == 0 || bits & 1)
        return q;
    const double rest = nn_fma_soft(-q, b, a);
    if (rest == 0)
        return q;
    bits = (rest > 0) == ((b > 0) == (q > 0)) ? bits + 1 : bits - 1;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return odd;
}

NN_ALWAYS double over(int kind, nn_machine *m, double a, double b)
{
    if (kind == MACHINE_F32)
        return (float)a / (float)b;
    return kind == MACHINE_F64 ? a / b : nn_round_double(m, divide_odd(a, b), nn_dice(m, m->drawn + 1));
}

NN_ALWAYS double operate(int kind, nn_machine *m, int op, double a, double b)
{
    switch (op) {
    case NN_PLUS: return nn_plus(kind, m, a, b);
    case NN_MINUS: return nn_plus(kind, m, a, -b);
    case NN_TIMES: return nn_times(kind, m, a, b);
    default: return over(kind, m, a, b);
    }
}

static double operate_by(nn_machine *m, int op, double a, double b)
{
    return m->kind == MACHINE_F32   ? operate(MACHINE_F32, m, op, a, b)
           : m->kind == MACHINE_F64 ? operate(MACHINE_F64, m, op, a, b)
                                    : operate(MACHINE_EMULATED, m, op, a, b);
}

int32_t nn_operate(double *y, int32_t operation, const double *a, const double *b, int64_t n, const nn_arithmetic *arithmetic)
{
    nn_machine m;
    if (n < 0 || operation < NN_PLUS || operation > NN_OVER || nn_machine_start(&m, arithmetic, NN_F64, 1) != NN_OK)
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    for (int64_t i = 0; i < n; i++)
        y[i] = operate_by(&m, operation, a[i], b[i]);
    nn_fp_leave(caller);
    return NN_OK;
}

/* ---- variances ------------------------------------------------------------------------------------------------- */

NN_ALWAYS double textbook(int kind, nn_machine *m, const float *x, int64_t n)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        sum = nn_plus(kind, m, sum, (double)x[i]);
        squares = nn_plus(kind, m, squares, nn_times(kind, m, (double)x[i], (double)x[i]));
    }
    const double mean_square = over(kind, m, nn_times(kind, m, sum, sum), (double)n);
    return over(kind, m, nn_plus(kind, m, squares, -mean_square), (double)n);
}

NN_ALWAYS double two_pass(int kind, nn_machine *m, const float *x, int64_t n)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum = nn_plus(kind, m, sum, (double)x[i]);
    const double mean = over(kind, m, sum, (double)n);
    for (int64_t i = 0; i < n; i++) {
        const double d = nn_plus(kind, m, (double)x[i], -mean);
        squares = nn_plus(kind, m, squares, nn_times(kind, m, d, d));
    }
    return over(kind, m, squares, (double)n);
}

NN_ALWAYS double welford(int kind, nn_machine *m, const float *x, int64_t n)
{
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = nn_plus(kind, m, (double)x[i], -mean);
        mean = nn_plus(kind, m, mean, over(kind, m, d, (double)(i + 1)));
        squares = nn_plus(kind, m, squares, nn_times(kind, m, d, nn_plus(kind, m, (double)x[i], -mean)));
    }
    return over(kind, m, squares, (double)n);
}

NN_ALWAYS double variance_by(int kind, nn_machine *m, int method, const float *x, int64_t n)
{
    return method == NN_VARIANCE_TEXTBOOK   ? textbook(kind, m, x, n)
           : method == NN_VARIANCE_TWO_PASS ? two_pass(kind, m, x, n)
                                            : welford(kind, m, x, n);
}

int32_t nn_variance(double *variance, const float *x, int64_t n, int32_t method, const nn_arithmetic *arithmetic)
{
    nn_machine m;
    if (n < 1 || n > 1 << 24 || method < NN_VARIANCE_TEXTBOOK || method > NN_VARIANCE_WELFORD ||
        nn_machine_start(&m, arithmetic, NN_F32, 1) != NN_OK)
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    *variance = m.kind == MACHINE_F32   ? variance_by(MACHINE_F32, &m, method, x, n)
                : m.kind == MACHINE_F64 ? variance_by(MACHINE_F64, &m, method, x, n)
                                        : variance_by(MACHINE_EMULATED, &m, method, x, n);
    nn_fp_leave(caller);
    return NN_OK;
}
