/* exhaustive_elementary.c - every float through every float function, against a double oracle.
 *
 * usage: exhaustive_elementary [stride [function]]     stride 1 (default): all 2^32 floats; 1009: a second
 *
 * For each function: the largest error in ulp and where, wrong specials, and a checksum of all result bits (NaN made
 * canonical), which must be the same number in every ISA's build. Exit 1 above the bound the headers promise.
 * libm in double is the ORACLE here, and only in tests; the library never calls it. */
#include "vec/elementary.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if NN_REAL_IS_DOUBLE
#error "exhaustive means float"
#endif

static double oracle_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double oracle_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

#if defined(_OPENMP)
#define PARALLEL(clauses) _Pragma(#clauses)
#else
#define PARALLEL(clauses) /* one thread, same results */
#endif

typedef void run_fn(float *y, const float *x);
enum { BLOCK = 1024 }; /* floats per call: a multiple of every VW */
#define RUN(name) \
    static void run_##name(float *y, const float *x) \
    { \
        for (int i = 0; i < BLOCK; i += VW) v_store(y + i, v_##name(v_load(x + i))); \
    }
RUN(exp) RUN(expm1) RUN(log) RUN(log1p) RUN(tanh) RUN(sigmoid) RUN(softplus)

typedef struct function {
    const char *name;
    run_fn *run;
    double (*oracle)(double);
    double bound; /* ulp */
} function;

static const function functions[] = {
    {"exp", run_exp, exp, 1.0},
    {"expm1", run_expm1, expm1, 1.1},
    {"log", run_log, log, 1.0},
    {"log1p", run_log1p, log1p, 1.0},
    {"tanh", run_tanh, tanh, 1.5},
    {"sigmoid", run_sigmoid, oracle_sigmoid, 1.5},
    {"softplus", run_softplus, oracle_softplus, 2.0},
};

typedef struct tally {
    double worst; /* ulp */
    float at;
    int64_t wrong; /* NaN or infinity where the oracle has none, or the reverse; or the wrong sign of zero */
    float wrong_at;
    uint64_t sum;
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
    uint32_t canonical = got != got ? 0x7fc00000u : bits_of(got);
    /* a bijective scramble of (x, result), summed: independent of the order of threads */
    uint64_t h = ((uint64_t)bits_of(x) << 32 | canonical) * 0x9E3779B97F4A7C15u;
    t->sum += (h ^ h >> 29) * 0xBF58476D1CE4E5B9u;
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

static tally sweep(const function *f, uint64_t stride)
{
    tally all = {0, 0, 0, 0, 0};
    const uint64_t count = (((uint64_t)1 << 32) + stride - 1) / stride;
    PARALLEL(omp parallel for schedule(dynamic, 64))
    for (uint64_t begin = 0; begin < count; begin += BLOCK) {
        float x[BLOCK], y[BLOCK];
        tally mine = {0, 0, 0, 0, 0};
        int n = count - begin < BLOCK ? (int)(count - begin) : BLOCK;
        for (int i = 0; i < BLOCK; i++) x[i] = i < n ? float_of((uint32_t)((begin + (uint64_t)i) * stride)) : 0;
        f->run(y, x);
        for (int i = 0; i < n; i++) judge(&mine, x[i], y[i], f->oracle(x[i]));
        PARALLEL(omp critical)
        {
            all.sum += mine.sum;
            all.wrong += mine.wrong;
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
        printf("%-9s max %.4f ulp at %a  checksum %016llx", f->name, t.worst, (double)t.at, (unsigned long long)t.sum);
        if (t.wrong) printf("  wrong specials: %lld, as at %a", (long long)t.wrong, (double)t.wrong_at);
        printf("%s\n", bad ? "  FAIL" : "");
        fflush(stdout);
        failed |= bad;
    }
    return failed;
}
