/* sums.c - sums and dot products by the methods of the literature, in any arithmetic of rounding.h.
 *
 * Error bounds, u the unit roundoff, S = sum |x_i| (Higham, Accuracy and Stability of Numerical Algorithms, 2002, chapter 4):
 *   naive      s = s + x                                                              (n - 1) u S + O(u^2)
 *   Kahan      y = x - c; t = s + y; c = (t - s) - y; s = t                           (2 u + O(n u^2)) S
 *   Neumaier   t = s + x; c = c + what that lost, found from the larger of s and x; s + c last
 *                                                                                     u |s| + u^2 (3/4 n^2 + n) S
 *   pairwise   neighbours in a binary tree over leaves of `width` terms               u ceil(log2 n) S
 *   blocked    naive over the naive sums of blocks of b                               u (b + n / b) S
 *   lanes      lane i mod W, then halves added to halves (numerics.md R3)             u (n / W + log2 W) S
 *   exact      the superaccumulator of exact.h, rounded once                          u |s|
 * Dot products: naive rounds products and sums, fma once a term, dot2 is Ogita, Rump and Oishi 2005, algorithm 5.3: products
 * and sums with their errors (two-product by fma, two-sum), which are summed apart; as if in twice the precision.
 *
 * Each method is written once over an operation whose kind is known at compile time. */
#include "exact.h"

enum { LANES = 64 };

typedef struct terms {
    const void *x;
    int64_t n, width;
    int is_double;
} terms;

NN_ALWAYS double term(const terms *t, int64_t i)
{
    return t->is_double ? ((const double *)t->x)[i] : (double)((const float *)t->x)[i];
}

NN_ALWAYS double naive(int kind, nn_machine *m, const terms *t, int64_t begin, int64_t end)
{
    double s = 0;
    for (int64_t i = begin; i < end; i++)
        s = nn_plus(kind, m, s, term(t, i));
    return s;
}

NN_ALWAYS double kahan(int kind, nn_machine *m, const terms *t)
{
    double s = 0, c = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const double y = nn_plus(kind, m, term(t, i), -c), next = nn_plus(kind, m, s, y);
        c = nn_plus(kind, m, nn_plus(kind, m, next, -s), -y);
        s = next;
    }
    return s;
}

NN_ALWAYS double neumaier(int kind, nn_machine *m, const terms *t)
{
    double s = 0, c = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const double x = term(t, i), next = nn_plus(kind, m, s, x);
        const int sum_is_larger = (s < 0 ? -s : s) >= (x < 0 ? -x : x);
        const double large = sum_is_larger ? s : x, small = sum_is_larger ? x : s;
        c = nn_plus(kind, m, c, nn_plus(kind, m, nn_plus(kind, m, large, -next), small));
        s = next;
    }
    return nn_plus(kind, m, s, c);
}

/* Sums of 2^k leaves wait on a stack until their neighbour of the same size is there. */
NN_ALWAYS double pairwise(int kind, nn_machine *m, const terms *t)
{
    double stack[64];
    int depth = 0;
    int64_t leaves = 0;
    for (int64_t i = 0; i < t->n; i += t->width) {
        stack[depth++] = naive(kind, m, t, i, t->n - i < t->width ? t->n : i + t->width);
        for (int64_t pairs = ++leaves; pairs % 2 == 0; pairs /= 2, depth--)
            stack[depth - 2] = nn_plus(kind, m, stack[depth - 2], stack[depth - 1]);
    }
    for (; depth > 1; depth--)
        stack[depth - 2] = nn_plus(kind, m, stack[depth - 2], stack[depth - 1]);
    return depth ? stack[0] : 0;
}

NN_ALWAYS double blocked(int kind, nn_machine *m, const terms *t)
{
    double s = 0;
    for (int64_t i = 0; i < t->n; i += t->width)
        s = nn_plus(kind, m, s, naive(kind, m, t, i, t->n - i < t->width ? t->n : i + t->width));
    return s;
}

NN_ALWAYS double in_lanes(int kind, nn_machine *m, const terms *t)
{
    double lane[LANES] = {0};
    for (int64_t i = 0; i < t->n; i += t->width)
        for (int64_t j = 0; j < t->width && i + j < t->n; j++)
            lane[j] = nn_plus(kind, m, lane[j], term(t, i + j));
    for (int64_t half = t->width / 2; half; half /= 2)
        for (int64_t j = 0; j < half; j++)
            lane[j] = nn_plus(kind, m, lane[j], lane[j + half]);
    return lane[0];
}

static double exactly(nn_machine *m, const terms *t)
{
    nn_exact s = {{0}, 0, 0, 0, 0};
    for (int64_t i = 0; i < t->n; i++)
        exact_add(&s, term(t, i));
    return exact_round(&s, m);
}

NN_ALWAYS double sum_by(int kind, nn_machine *m, const terms *t, int method)
{
    switch (method) {
    case NN_SUM_NAIVE: return naive(kind, m, t, 0, t->n);
    case NN_SUM_KAHAN: return kahan(kind, m, t);
    case NN_SUM_NEUMAIER: return neumaier(kind, m, t);
    case NN_SUM_PAIRWISE: return pairwise(kind, m, t);
    case NN_SUM_BLOCKED: return blocked(kind, m, t);
    case NN_SUM_LANES: return in_lanes(kind, m, t);
    default: return exactly(m, t);
    }
}

/* The width that a method takes, -1 if it cannot be. */
static int64_t width_of(int method, int64_t n, int64_t width)
{
    if (width < 0 || (method == NN_SUM_LANES && (width > LANES || width & (width - 1))))
        return -1;
    if (width)
        return width;
    int64_t root = 1;
    while (root * root < n)
        root++;
    return method == NN_SUM_LANES ? 16 : method == NN_SUM_BLOCKED ? root : 1;
}

int32_t nn_sum(double *sum, const void *x, int32_t real, int64_t n, int32_t method, int64_t width,
               const nn_arithmetic *arithmetic)
{
    nn_machine m;
    const terms t = {x, n, width_of(method, n, width), real == NN_F64};
    if (n < 0 || method < NN_SUM_NAIVE || method > NN_SUM_EXACT || t.width < 0 ||
        nn_machine_start(&m, arithmetic, real, method != NN_SUM_EXACT) != NN_OK)
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    *sum = m.kind == MACHINE_F32   ? sum_by(MACHINE_F32, &m, &t, method)
           : m.kind == MACHINE_F64 ? sum_by(MACHINE_F64, &m, &t, method)
                                   : sum_by(MACHINE_EMULATED, &m, &t, method);
    nn_fp_leave(caller);
    return NN_OK;
}

NN_ALWAYS double run(int kind, nn_machine *m, const terms *t, double s, double *sums, int64_t *stalled)
{
    for (int64_t i = 0; i < t->n; i++) {
        const double x = term(t, i), next = nn_plus(kind, m, s, x);
        if (next == s && x != 0 && *stalled < 0)
            *stalled = i;
        s = next;
        if (sums)
            sums[i] = s;
    }
    return s;
}

int32_t nn_running_sum(double *sums, int64_t *stalled, double *last, double start, const void *x, int32_t real, int64_t n,
                       const nn_arithmetic *arithmetic)
{
    nn_machine m;
    const terms t = {x, n, 0, real == NN_F64};
    if (n < 0 || nn_machine_start(&m, arithmetic, real, 1) != NN_OK)
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    *stalled = -1;
    *last = m.kind == MACHINE_F32   ? run(MACHINE_F32, &m, &t, start, sums, stalled)
            : m.kind == MACHINE_F64 ? run(MACHINE_F64, &m, &t, start, sums, stalled)
                                    : run(MACHINE_EMULATED, &m, &t, start, sums, stalled);
    nn_fp_leave(caller);
    return NN_OK;
}

/* ---- dot products ---------------------------------------------------------------------------------------------- */

NN_ALWAYS double dot2(int kind, nn_machine *m, const terms *a, const terms *b)
{
    double s = 0, c = 0;
    for (int64_t i = 0; i < a->n; i++) {
        const double x = term(a, i), y = term(b, i), p = nn_times(kind, m, x, y), p_error = nn_fused(kind, m, x, y, -p);
        const double next = nn_plus(kind, m, s, p), part = nn_plus(kind, m, next, -s);
        const double s_error = nn_plus(kind, m, nn_plus(kind, m, s, -nn_plus(kind, m, next, -part)), nn_plus(kind, m, p, -part));
        c = nn_plus(kind, m, c, nn_plus(kind, m, s_error, p_error));
        s = next;
    }
    return nn_plus(kind, m, s, c);
}

static double dot_exactly(nn_machine *m, const terms *a, const terms *b)
{
    nn_exact s = {{0}, 0, 0, 0, 0};
    for (int64_t i = 0; i < a->n; i++)
        exact_add_product(&s, term(a, i), term(b, i));
    return exact_round(&s, m);
}

NN_ALWAYS double dot_by(int kind, nn_machine *m, const terms *a, const terms *b, int method)
{
    if (method == NN_DOT_EXACT)
        return dot_exactly(m, a, b);
    if (method == NN_DOT_DOT2)
        return dot2(kind, m, a, b);
    double s = 0;
    for (int64_t i = 0; i < a->n; i++)
        s = method == NN_DOT_FMA ? nn_fused(kind, m, term(a, i), term(b, i), s)
                                 : nn_plus(kind, m, s, nn_times(kind, m, term(a, i), term(b, i)));
    return s;
}

int32_t nn_dot(double *dot, const void *a, const void *b, int32_t real, int64_t n, int32_t method,
               const nn_arithmetic *arithmetic)
{
    nn_machine m;
    const terms x = {a, n, 0, real == NN_F64}, y = {b, n, 0, real == NN_F64};
    if (n < 0 || method < NN_DOT_NAIVE || method > NN_DOT_EXACT ||
        nn_machine_start(&m, arithmetic, real, method != NN_DOT_EXACT) != NN_OK ||
        (real == NN_F64 && method != NN_DOT_EXACT && m.kind != MACHINE_F64))
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    *dot = m.kind == MACHINE_F32   ? dot_by(MACHINE_F32, &m, &x, &y, method)
           : m.kind == MACHINE_F64 ? dot_by(MACHINE_F64, &m, &x, &y, method)
                                   : dot_by(MACHINE_EMULATED, &m, &x, &y, method);
    nn_fp_leave(caller);
    return NN_OK;
}
