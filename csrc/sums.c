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
 *   dot2       sums, and products, with their errors (two-sum, two-product by fma), which are summed apart: as if in twice the
 *              precision (Ogita, Rump and Oishi 2005, algorithms 4.4 and 5.3)           u |s| + n^2 u^2 S
 *   exact      the superaccumulator of exact.h, rounded once                          u |s|
 * Dot products: naive rounds products and sums, fma once a term.
 *
 * Each method is written once (summing.h), over operations whose kind is known at compile time. */
#include "accumulate.h"

#define NUM double
#define ZERO 0
#define GIVEN const int kind, nn_machine *m
#define GIVE kind, m
#define PLUS(a, b) nn_plus(kind, m, a, b)
#define MINUS(a, b) nn_plus(kind, m, a, -(b))
#define TIMES(a, b) nn_times(kind, m, a, b)
#define FUSED(a, b, c) nn_fused(kind, m, a, b, c)
#define SORT(s, x, large, small) large = size_of(s) >= size_of(x) ? s : x, small = size_of(s) >= size_of(x) ? x : s

static inline double size_of(double x) { return x < 0 ? -x : x; }

#include "summing.h"

static inline double term(const nn_terms *t, int64_t i)
{
    return t->is_double ? ((const double *)t->x)[i * t->stride] : (double)((const float *)t->x)[i * t->stride];
}

void nn_sum_open(nn_summing *sum, const nn_machine *m, int method, int64_t n, int64_t width)
{
    sum->m = *m;
    sum->method = method;
    sum->at = (sum_walk){.width = sum_width(method, n, width)};
    sum->s = sum->c = 0;
    if (method == NN_SUM_LANES)
        memset(sum->part, 0, sizeof(double) * (size_t)sum->at.width);
    if (method == NN_SUM_EXACT)
        memset(&sum->exact, 0, sizeof sum->exact);
}

NN_ALWAYS void add_by(int kind, nn_summing *sum, const nn_terms *x, const nn_terms *y, int64_t n)
{
    nn_machine *m = &sum->m;
    for (int64_t i = 0; i < n; i++) {
        if (sum_is_full(sum->method, &sum->at)) {
            sum_close(GIVE, sum->method, sum->at.blocks++, &sum->s, &sum->c, sum->part);
            sum->at.inside = 0;
        }
        sum_term(GIVE, sum->method, y != NULL, &sum->at, term(x, i), y ? term(y, i) : 0, &sum->s, &sum->c, sum->part);
        sum->at.i++, sum->at.inside++;
    }
}

void nn_sum_add(nn_summing *sum, const nn_terms *x, const nn_terms *y, int64_t n)
{
    if (sum->method == NN_SUM_EXACT) {
        for (int64_t i = 0; i < n; i++)
            if (y)
                exact_add_product(&sum->exact, term(x, i), term(y, i));
            else
                exact_add(&sum->exact, term(x, i));
        return;
    }
    switch (sum->m.kind) {
    case MACHINE_F32: add_by(MACHINE_F32, sum, x, y, n); return;
    case MACHINE_F64: add_by(MACHINE_F64, sum, x, y, n); return;
    case MACHINE_TWICE: add_by(MACHINE_TWICE, sum, x, y, n); return;
    default: add_by(MACHINE_EMULATED, sum, x, y, n);
    }
}

double nn_sum_close(nn_summing *sum)
{
    if (sum->method == NN_SUM_EXACT)
        return exact_round(&sum->exact, &sum->m);
    const int kind = sum->m.kind;
    nn_machine *m = &sum->m;
    return sum_total(GIVE, sum->method, &sum->at, &sum->s, &sum->c, sum->part);
}

int32_t nn_sum(double *sum, const void *x, int32_t real, int64_t n, int32_t method, int64_t width,
               const nn_arithmetic *arithmetic)
{
    nn_machine m;
    nn_summing s;
    const nn_terms t = {x, 1, real == NN_F64};
    if (n < 0 || method < NN_SUM_NAIVE || method > NN_SUM_DOT2 || width < 0 ||
        (method == NN_SUM_LANES && (width > SUM_PARTS || width & (width - 1))) ||
        nn_machine_start(&m, arithmetic, real, method != NN_SUM_EXACT) != NN_OK)
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    nn_sum_open(&s, &m, method, n, width);
    nn_sum_add(&s, &t, NULL, n);
    *sum = nn_sum_close(&s);
    nn_fp_leave(caller);
    return NN_OK;
}

NN_ALWAYS double run(int kind, nn_machine *m, const nn_terms *t, int64_t n, double s, double *sums, int64_t *stalled)
{
    for (int64_t i = 0; i < n; i++) {
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
    const nn_terms t = {x, 1, real == NN_F64};
    if (n < 0 || nn_machine_start(&m, arithmetic, real, 1) != NN_OK)
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    *stalled = -1;
    *last = m.kind == MACHINE_F32   ? run(MACHINE_F32, &m, &t, n, start, sums, stalled)
            : m.kind == MACHINE_F64 ? run(MACHINE_F64, &m, &t, n, start, sums, stalled)
                                    : run(MACHINE_EMULATED, &m, &t, n, start, sums, stalled);
    nn_fp_leave(caller);
    return NN_OK;
}

/* ---- dot products ---------------------------------------------------------------------------------------------- */

/* Products and sums rounded one after the other. */
NN_ALWAYS double dot_naively(int kind, nn_machine *m, const nn_terms *a, const nn_terms *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s = nn_plus(kind, m, s, nn_times(kind, m, term(a, i), term(b, i)));
    return s;
}

static double dot_by(nn_machine *m, const nn_terms *a, const nn_terms *b, int64_t n, int method)
{
    static const int as_sums[] = {[NN_DOT_FMA] = NN_SUM_NAIVE, [NN_DOT_DOT2] = NN_SUM_DOT2, [NN_DOT_EXACT] = NN_SUM_EXACT};
    nn_summing s;
    if (method == NN_DOT_NAIVE)
        return m->kind == MACHINE_F32   ? dot_naively(MACHINE_F32, m, a, b, n)
               : m->kind == MACHINE_F64 ? dot_naively(MACHINE_F64, m, a, b, n)
                                        : dot_naively(MACHINE_EMULATED, m, a, b, n);
    nn_sum_open(&s, m, as_sums[method], n, 0);
    nn_sum_add(&s, a, b, n);
    return nn_sum_close(&s);
}

int32_t nn_dot(double *dot, const void *a, const void *b, int32_t real, int64_t n, int32_t method,
               const nn_arithmetic *arithmetic)
{
    nn_machine m;
    const nn_terms x = {a, 1, real == NN_F64}, y = {b, 1, real == NN_F64};
    if (n < 0 || method < NN_DOT_NAIVE || method > NN_DOT_EXACT ||
        nn_machine_start(&m, arithmetic, real, method != NN_DOT_EXACT) != NN_OK ||
        (real == NN_F64 && method != NN_DOT_EXACT && m.kind != MACHINE_F64))
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    *dot = dot_by(&m, &x, &y, n, method);
    nn_fp_leave(caller);
    return NN_OK;
}
