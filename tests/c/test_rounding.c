/* test_rounding.c - rounding to emulated formats and sums in them, against tables of all values of small formats, against
 * the processor's own float, and against integers. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/nncore.h"
#include "check.h"

#define SPLITMIX_SEED 1
#include "splitmix.h"

__extension__ typedef __int128 int128;

static double any_double(void)
{
    for (;;) {
        uint64_t u = next_u64();
        double x;
        memcpy(&x, &u, sizeof x);
        if (x == x)
            return x;
    }
}

static double uniform(void) { return (double)(next_u64() >> 11) * 0x1p-53; }

static double rounded(double x, nn_arithmetic a)
{
    double y = 0;
    CHECK(nn_round(&y, &x, NN_F64, 1, &a) == NN_OK, "%g", x);
    return y;
}

static int same(double x, double y) { return x == y ? signbit(x) == signbit(y) : x != x && y != y; }

/* To fp32 and nearest, the processor's conversion, subnormals and overflow included. */
static void test_float_is_the_processors(void)
{
    nn_arithmetic a = {.rounding = NN_ROUND_NEAREST};
    nn_format_named(&a.format, "fp32");
    for (int i = 0; i < 300000; i++) {
        double x = i % 3 ? any_double() : ldexp(uniform() - 0.5, (int)(next_u64() % 320) - 170);
        CHECK(same(rounded(x, a), (double)(float)x), "%a", x);
    }
    nn_format_named(&a.format, "fp64");
    for (int i = 0; i < 100000; i++) {
        double x = any_double();
        CHECK(same(rounded(x, a), x), "%a", x);
    }
}

/* All values of a format that are not negative, ascending, and the first that is too large. */
static int values_of(double *value, const nn_format *f)
{
    int n = 0;
    const double last = ldexp(1, f->emin - f->precision + 1), largest = nn_format_largest(f);
    value[n++] = 0;
    if (f->subnormals)
        for (double x = last; x < ldexp(1, f->emin) && x <= largest; x += last)
            value[n++] = x;
    for (int e = f->emin; e <= f->emax; e++)
        for (int k = 0; k < 1 << (f->precision - 1); k++) {
            const double x = ldexp(1 + ldexp(k, 1 - f->precision), e);
            if (x <= largest)
                value[n++] = x;
        }
    value[n] = largest + (value[n - 1] - value[n - 2]);
    return n;
}

/* What a direction makes of x >= 0 between neighbours, index k even or odd. */
static double expected(const nn_format *f, const double *value, int n, double x, int rounding, int negative)
{
    int k = 0;
    while (k < n && value[k + 1] <= x)
        k++;
    const double below = value[k], above = value[k + 1], middle = (below + above) / 2;
    int up = rounding == (negative ? NN_ROUND_DOWN : NN_ROUND_UP) && x > below;
    if (rounding == NN_ROUND_NEAREST)
        up = x > middle || (x == middle && k % 2);
    double y = k == n ? value[n] : up ? above : below;
    if (!f->subnormals && y < ldexp(1, f->emin))
        y = 0;
    if (y <= value[n - 1])
        return y;
    const int stays = f->saturate || rounding == NN_ROUND_ZERO || rounding == (negative ? NN_ROUND_UP : NN_ROUND_DOWN);
    return stays ? value[n - 1] : HUGE_VAL;
}

static void test_small_formats_by_table(void)
{
    static double value[1 << 17];
    const nn_format formats[] = {{4, -6, 8, 1, 1, 448}, {3, -14, 15, 1, 0, 0}, {11, -14, 15, 1, 0, 0}, {7, 6, 6, 1, 1, 0},
                                 {2, -1, 2, 1, 0, 0}, {8, -20, 20, 1, 0, 0}};
    for (unsigned j = 0; j < sizeof formats / sizeof formats[0]; j++) {
        const nn_format *f = &formats[j];
        const int n = values_of(value, f);
        for (int i = 0; i < 4000; i++) {
            const int k = (int)(next_u64() % (unsigned)n);
            const double t = i % 4 == 0 ? 0.5 : i % 4 == 1 ? 0 : uniform();
            const double x = i % 50 == 49 ? value[n] * (1 + uniform()) : value[k] + (value[k + 1] - value[k]) * t;
            for (int mode = NN_ROUND_NEAREST; mode <= NN_ROUND_DOWN; mode++)
                for (int negative = 0; negative < 2; negative++) {
                    const double y = rounded(negative ? -x : x, (nn_arithmetic){*f, mode, 0, 0});
                    const double want = expected(f, value, n, x, mode, negative);
                    CHECK(same(y, negative ? -want : want), "format %u: %a in direction %d: %a, not %a", j, x, mode, y, want);
                }
        }
    }
}

static void test_flush_to_zero(void)
{
    const nn_arithmetic a = {{24, -126, 127, 0, 0, 0}, NN_ROUND_NEAREST, 0, 0};
    CHECK(rounded(0x1p-126, a) == 0x1p-126, "the smallest normal number stays");
    CHECK(same(rounded(-0x1.8p-127, a), -0.0), "below it zero, with its sign");
    CHECK(rounded(0x1.ffffffp-127, a) == 0x1p-126, "tiny is what is tiny after rounding");
}

static void test_stochastic_is_between(void)
{
    nn_arithmetic a = {{8, -126, 127, 1, 0, 0}, NN_ROUND_STOCHASTIC, 7, 0};
    enum { N = 40000 };
    static double x[N], y[N], z[N];
    for (int i = 0; i < N; i++)
        x[i] = 1 + 0x1p-7 * 0.3;
    CHECK(nn_round(y, x, NN_F64, N, &a) == NN_OK, "rounds");
    long up = 0;
    for (int i = 0; i < N; i++) {
        CHECK(y[i] == 1 || y[i] == 1 + 0x1p-7, "%a is no neighbour", y[i]);
        up += y[i] > 1;
    }
    CHECK(fabs((double)up / N - 0.3) < 4 * sqrt(0.3 * 0.7 / N), "up %ld of %d", up, N); /* four standard deviations */
    a.index = 1;
    CHECK(nn_round(z, x, NN_F64, N, &a) == NN_OK && memcmp(y, z, sizeof y), "another index, other numbers");
    a.index = 0;
    CHECK(nn_round(z, x, NN_F64, N, &a) == NN_OK && !memcmp(y, z, sizeof y), "the same index, the same numbers");
}

/* A format that is fp32 but saturates is not taken for the processor's: the emulation must have its bits. */
static void test_emulated_sums_are_the_processors(void)
{
    enum { N = 1000 };
    static float x[N], y[N];
    nn_arithmetic own = {.rounding = NN_ROUND_NEAREST}, emulated = own;
    nn_format_named(&own.format, "fp32");
    emulated.format = own.format;
    emulated.format.saturate = 1;
    for (int trial = 0; trial < 30; trial++) {
        for (int i = 0; i < N; i++) {
            x[i] = (float)ldexp(uniform() - 0.5, (int)(next_u64() % 40) - 20);
            y[i] = (float)ldexp(uniform() - 0.5, trial < 10 ? -130 : (int)(next_u64() % 40) - 20);
        }
        double a, b;
        for (int method = NN_SUM_NAIVE; method <= NN_SUM_DOT2; method++) {
            CHECK(nn_sum(&a, x, NN_F32, N - trial, method, 0, &own) == NN_OK, "%d", method);
            CHECK(nn_sum(&b, x, NN_F32, N - trial, method, 0, &emulated) == NN_OK, "%d", method);
            CHECK(a == b, "sum %d: %a by the processor, %a emulated", method, a, b);
        }
        for (int method = NN_DOT_NAIVE; method <= NN_DOT_EXACT; method++) {
            CHECK(nn_dot(&a, x, y, NN_F32, N - trial, method, &own) == NN_OK, "%d", method);
            CHECK(nn_dot(&b, x, y, NN_F32, N - trial, method, &emulated) == NN_OK, "%d", method);
            CHECK(a == b, "dot %d: %a by the processor, %a emulated", method, a, b);
        }
    }
}

/* Integers times powers of two: 128 bits hold the sum. */
static void test_exact_is_exact(void)
{
    enum { N = 3000 };
    static double x[N], y[N];
    nn_arithmetic a = {.rounding = NN_ROUND_NEAREST};
    nn_format_named(&a.format, "fp64");
    for (int scale = -1074; scale <= 900; scale += 329) {
        const int other = scale < -900 ? 900 : -scale;
        int128 sum = 0, products = 0;
        for (int i = 0; i < N; i++) {
            const int64_t p = (int64_t)(next_u64() >> 12) - (1ll << 51), q = (int64_t)(next_u64() >> 12) - (1ll << 51);
            sum += p;
            products += (int128)p * q;
            x[i] = ldexp((double)p, scale);
            y[i] = ldexp((double)q, other);
        }
        double s, d;
        CHECK(nn_sum(&s, x, NN_F64, N, NN_SUM_EXACT, 0, &a) == NN_OK && s == ldexp((double)sum, scale), "%d: %a", scale, s);
        CHECK(nn_dot(&d, x, y, NN_F64, N, NN_DOT_EXACT, &a) == NN_OK, "%d", scale);
        CHECK(d == ldexp((double)products, scale + other), "%d: %a", scale, d);
    }
    const double ends[] = {DBL_MAX, DBL_MAX, 0x1p-1074, -DBL_MAX, -DBL_MAX, 3, -3};
    double s;
    CHECK(nn_sum(&s, ends, NN_F64, 7, NN_SUM_EXACT, 0, &a) == NN_OK && s == 0x1p-1074, "%a", s);
    CHECK(nn_sum(&s, ends, NN_F64, 2, NN_SUM_EXACT, 0, &a) == NN_OK && s == HUGE_VAL, "%a", s);
    const double wild[] = {HUGE_VAL, -HUGE_VAL};
    CHECK(nn_sum(&s, wild, NN_F64, 2, NN_SUM_EXACT, 0, &a) == NN_OK && s != s, "%a", s);
}

static void test_malformed_is_refused(void)
{
    float x[2] = {1, 2};
    double y = 5;
    nn_arithmetic fine = {{8, -126, 127, 1, 0, 0}, NN_ROUND_NEAREST, 0, 0}, a;
    const nn_format bad[] = {{1, -14, 15, 1, 0, 0}, {54, -14, 15, 1, 0, 0}, {8, 3, 2, 1, 0, 0}, {8, -2000, 15, 1, 0, 0},
                             {8, -14, 1024, 1, 0, 0}, {8, -14, 15, 1, 0, 1e9}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        a = (nn_arithmetic){bad[i], NN_ROUND_NEAREST, 0, 0};
        CHECK(nn_round(x, x, NN_F32, 2, &a) == NN_ERR_ARGUMENT, "format %u", i);
        CHECK(nn_format_largest(&bad[i]) == 0, "format %u", i);
    }
    a = fine, a.rounding = 5;
    CHECK(nn_round(x, x, NN_F32, 2, &a) == NN_ERR_ARGUMENT, "direction");
    a = fine, a.format.precision = 53;
    CHECK(nn_round(x, x, NN_F32, 2, &a) == NN_ERR_ARGUMENT, "no float holds it");
    CHECK(nn_sum(&y, x, NN_F32, 2, NN_SUM_NAIVE, 0, &a) == NN_ERR_ARGUMENT, "not carried by double");
    CHECK(nn_sum(&y, x, NN_F32, 2, 7, 0, &fine) == NN_ERR_ARGUMENT, "method");
    CHECK(nn_sum(&y, x, NN_F32, 2, NN_SUM_LANES, 3, &fine) == NN_ERR_ARGUMENT, "lanes");
    CHECK(nn_sum(&y, x, NN_F32, -1, NN_SUM_NAIVE, 0, &fine) == NN_ERR_ARGUMENT, "size");
    CHECK(nn_dot(&y, x, x, NN_F32, 2, 4, &fine) == NN_ERR_ARGUMENT, "method");
    CHECK(y == 5 && x[0] == 1, "outputs are left alone");
    CHECK(nn_sum(&y, x, NN_F32, 0, NN_SUM_PAIRWISE, 0, &fine) == NN_OK && y == 0, "an empty sum");
}

int main(void)
{
    test_float_is_the_processors();
    test_small_formats_by_table();
    test_flush_to_zero();
    test_stochastic_is_between();
    test_emulated_sums_are_the_processors();
    test_exact_is_exact();
    test_malformed_is_refused();
    return check_summary("test_rounding");
}
