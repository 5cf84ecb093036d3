/* exhaustive_elementary.c - every float through every float function: the fast ones against a double oracle, or, built with
 * NN_REAL_IS_DOUBLE, the correctly rounded ones (vec/exact_f64.h) against the nearest float.
 *
 * usage: exhaustive_elementary [stride [function]]     stride 1 (default): all 2^32 floats; 1009: a second
 *
 * For each function: the largest error in ulp and where, wrong specials, and a checksum of all result bits (NaN made
 * canonical), which must be the same number in every ISA's build. Exit 1 above the bound the headers promise.
 * libm in double is the ORACLE here, and only in tests; the library never calls it. Where it lies too near to the middle of
 * two floats to tell the nearest, quadruple precision is asked, and the nearest miss is printed. */
#include "vec/elementary.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(NN_QUADMATH)
#include <quadmath.h>
__extension__ typedef __float128 wide;
#define W(name) name##q
#define WIDE_EPSILON 0x1p-112
#else
typedef long double wide; /* quadruple on AArch64 */
#define W(name) name##l
#define WIDE_EPSILON (double)LDBL_EPSILON
#include <float.h>
#endif

static double oracle_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double oracle_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
/* erfc(t + lost) / 2, t + lost = -x / sqrt 2: to 2 ulp of erfc where the rounded argument alone would cost x^2 of them. */
static double oracle_normal_cdf(double x)
{
    if (isinf(x)) return x > 0;
    const double root = 0x1.6a09e667f3bcdp-1, t = -x * root, lost = fma(-x, root, -t) + x * 0x1.bdd3413b26456p-55;
    return 0.5 * (erfc(t) - lost * 0x1.20dd750429b6dp+0 * exp(-t * t));
}

#if defined(_OPENMP)
#define PARALLEL(clauses) _Pragma(#clauses)
#else
#define PARALLEL(clauses) /* one thread, same results */
#endif

typedef void run_fn(float *y, const float *x);
enum { BLOCK = 1024 }; /* floats per call: a multiple of every VW */
#if NN_REAL_IS_DOUBLE
#include "vec/exact_f64.h"
#define RUN(name) \
    static void run_##name(float *y, const float *x) \
    { \
        for (int i = 0; i < BLOCK; i += X_FLOATS) exact_##name(y + i, x + i); \
    }
#else
#define RUN(name) \
    static void run_##name(float *y, const float *x) \
    { \
        for (int i = 0; i < BLOCK; i += VW) v_store(y + i, v_##name(v_load(x + i))); \
    }
RUN(log1p)
#endif
RUN(exp) RUN(expm1) RUN(log) RUN(tanh) RUN(sigmoid) RUN(softplus) RUN(erf) RUN(normal_cdf)

typedef struct function {
    const char *name;
    run_fn *run;
    double (*oracle)(double);
    double bound; /* ulp, of the fast one */
    wide (*wide)(wide);
} function;

#if NN_REAL_IS_DOUBLE
static wide wide_sigmoid(wide x) { return x >= 0 ? 1 / (1 + W(exp)(-x)) : W(exp)(x) / (1 + W(exp)(x)); }
static wide wide_softplus(wide x) { return (x > 0 ? x : 0) + W(log1p)(W(exp)(-W(fabs)(x))); }
static wide wide_normal_cdf(wide x) { return W(erfc)(-x * W(sqrt)((wide)0.5)) / 2; }
#define FUNCTION(name, oracle, bound, wide) {#name, run_##name, oracle, bound, wide}
#else
#define FUNCTION(name, oracle, bound, wide) {#name, run_##name, oracle, bound, NULL}
#endif
static const function functions[] = {
    FUNCTION(exp, exp, 1.0, W(exp)),
    FUNCTION(expm1, expm1, 1.1, W(expm1)),
    FUNCTION(log, log, 1.0, W(log)),
#if !NN_REAL_IS_DOUBLE
    FUNCTION(log1p, log1p, 1.0, NULL),
#endif
    FUNCTION(tanh, tanh, 1.5, W(tanh)),
    FUNCTION(sigmoid, oracle_sigmoid, 1.5, wide_sigmoid),
    FUNCTION(softplus, oracle_softplus, 2.0, wide_softplus),
    FUNCTION(erf, erf, 1.5, W(erf)),
    FUNCTION(normal_cdf, oracle_normal_cdf, 2.0, wide_normal_cdf),
};

typedef struct tally {
    double worst; /* ulp; of the nearest floats: minus the least distance of a value from the middle of two, relative */
    float at;
    int64_t wrong; /* NaN or infinity where the oracle has none, or the reverse; or the wrong sign of zero; or not the nearest */
    float wrong_at;
    uint64_t sum;
    int64_t asked; /* what double did not tell */
} tally;

static uint32_t bits_of(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}
static float float_of(uint32_t b)
{
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static uint32_t canonical_bits(float x) { return x != x ? 0x7fc00000u : bits_of(x); }

/* A bijective scramble of (x, result), summed: independent of the order of threads. */
static void digest(tally *t, float x, float got)
{
    uint64_t h = ((uint64_t)bits_of(x) << 32 | canonical_bits(got)) * 0x9E3779B97F4A7C15u;
    t->sum += (h ^ h >> 29) * 0xBF58476D1CE4E5B9u;
}

#if NN_REAL_IS_DOUBLE
/* Whether the ends of an interval around a value round to one float. */
static int decides(double d, double margin, float *nearest)
{
    *nearest = (float)(d * (1 - margin));
    return canonical_bits(*nearest) == canonical_bits((float)(d * (1 + margin)));
}

/* glibc's functions in double are good to 2 ulp and ours made of them to 4, 2^-50; in quadruple far better than 2^-104. */
static void judge_nearest(tally *t, const function *f, float x, float got)
{
    float want;
    if (!decides(f->oracle(x), 0x1p-47, &want)) {
        const wide value = f->wide(x);
        want = (float)value; /* rounds once */
        const float other = nextafterf(want, value > (wide)want ? INFINITY : -INFINITY);
        const wide middle = ((wide)want + (isinf(other) ? copysign(0x1p128, other) : (wide)other)) / 2;
        const double apart = (double)((value - middle) / value);
        t->asked++;
        if (fabs(apart) < WIDE_EPSILON * 256) t->wrong++, t->wrong_at = x; /* not decided even so */
        if (-fabs(apart) > t->worst) t->worst = -fabs(apart), t->at = x;
    }
    if (canonical_bits(got) != canonical_bits(want)) t->wrong++, t->wrong_at = x;
}
#else
/* |got - want| in units of the last place a float at want would have. By bits: ilogb and ldexp would take the day. */
static double ulp_error(float got, double want)
{
    uint64_t b;
    memcpy(&b, &want, sizeof b);
    int64_t e = (int64_t)(b >> 52 & 0x7ff) - 1023;
    if (e < -126) e = -126;
    if (e > 127) e = 127;
    b = (uint64_t)(1023 + 23 - e) << 52;
    double per_ulp;
    memcpy(&per_ulp, &b, sizeof per_ulp);
    return fabs((double)got - want) * per_ulp;
}

static void judge(tally *t, float x, float got, double want)
{
    uint32_t canonical = canonical_bits(got);
    float rounded = (float)want;
    int special = rounded != rounded || isinf(rounded) || want == 0;
    if (special) {
        double slack = isinf(rounded) && isfinite(want) ? ulp_error(got, want) : 9;
        int same = canonical == (rounded != rounded ? 0x7fc00000u : bits_of(rounded));
        if (!same && (isfinite(got) ? slack > 1 : 1)) {
            t->wrong++;
            t->wrong_at = x;
        }
        return;
    }
    double error = ulp_error(got, want);
    if (isinf(got)) error = ulp_error(0x1.fffffep127f, want) + 1;
    if (!(error <= t->worst)) {
        t->worst = error;
        t->at = x;
    }
}
#endif

static tally sweep(const function *f, uint64_t stride)
{
    tally all = {-1 + !NN_REAL_IS_DOUBLE, 0, 0, 0, 0, 0};
    const uint64_t count = (((uint64_t)1 << 32) + stride - 1) / stride;
    PARALLEL(omp parallel for schedule(dynamic, 64))
    for (uint64_t begin = 0; begin < count; begin += BLOCK) {
        float x[BLOCK], y[BLOCK];
        tally mine = {-1 + !NN_REAL_IS_DOUBLE, 0, 0, 0, 0, 0};
        int n = count - begin < BLOCK ? (int)(count - begin) : BLOCK;
        for (int i = 0; i < BLOCK; i++) x[i] = i < n ? float_of((uint32_t)((begin + (uint64_t)i) * stride)) : 0;
        f->run(y, x);
        for (int i = 0; i < n; i++) {
            digest(&mine, x[i], y[i]);
#if NN_REAL_IS_DOUBLE
            judge_nearest(&mine, f, x[i], y[i]);
#else
            judge(&mine, x[i], y[i], f->oracle(x[i]));
#endif
        }
        PARALLEL(omp critical)
        {
            all.sum += mine.sum;
            all.wrong += mine.wrong;
            all.asked += mine.asked;
            if (mine.wrong) all.wrong_at = mine.wrong_at;
            if (mine.worst > all.worst) {
                all.worst = mine.worst;
                all.at = mine.at;
            }
        }
    }
    return all;
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int failed = 0;
    if (stride == 0) return 2;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const function *f = &functions[i];
        if (argc > 2 && strcmp(argv[2], f->name)) continue;
        tally t = sweep(f, stride);
        int bad = t.wrong != 0 || !(t.worst <= f->bound);
        if (!NN_REAL_IS_DOUBLE)
            printf("%-10s max %.4f ulp at %a", f->name, t.worst, (double)t.at);
        else if (t.asked)
            printf("%-10s to nearest; open in double: %lld, 2^%.1f beside a middle at %a", f->name, (long long)t.asked,
                   log2(-t.worst), (double)t.at);
        else
            printf("%-10s to nearest", f->name);
        printf("  checksum %016llx", (unsigned long long)t.sum);
        if (t.wrong) printf("  wrong: %lld, as at %a", (long long)t.wrong, (double)t.wrong_at);
        printf("%s\n", bad ? "  FAIL" : "");
        fflush(stdout);
        failed |= bad;
    }
    return failed;
}
