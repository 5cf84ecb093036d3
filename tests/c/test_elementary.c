/* test_elementary.c - specials, symmetries and measured error of the elementary functions, either type.
 *
 * The oracle is libm in long double (double for float): in tests only. Prints a checksum of all result bits, NaN made
 * canonical, which must be the same number in every ISA's build of the same type. */
#include "vec/elementary.h"
#include "check.h"
#include <math.h>
#include <stdlib.h>

#if NN_REAL_IS_DOUBLE
typedef long double wide;
#define W(name) name##l
#define SAME_UINT uint64_t
#define DIGITS 53
#define LOWEST -1022
#else
typedef double wide;
#define W(name) name
#define SAME_UINT uint32_t
#define DIGITS 24
#define LOWEST -126
#endif

/* One value through every lane: the lanes must agree. */
#define SCALAR(name) \
    static real f_##name(real x) \
    { \
        real lane[VW]; \
        v_store(lane, v_##name(v_set1(x))); \
        for (int i = 1; i < VW; i++) CHECK(!memcmp(lane, lane + i, sizeof(real)), #name " lane %d at %a", i, (double)x); \
        return lane[0]; \
    }
SCALAR(exp) SCALAR(expm1) SCALAR(log) SCALAR(log1p) SCALAR(tanh) SCALAR(sigmoid) SCALAR(softplus) SCALAR(erf) SCALAR(normal_cdf)
static wide w_sigmoid(wide x) { return x >= 0 ? 1 / (1 + W(exp)(-x)) : W(exp)(x) / (1 + W(exp)(x)); }
static wide w_softplus(wide x) { return (x > 0 ? x : 0) + W(log1p)(W(exp)(-W(fabs)(x))); }

/* erfc(t + lost) / 2, t + lost = -x / sqrt 2: the rounded argument alone would cost x^2 ulp. */
static wide w_normal_cdf(wide x)
{
    const wide root = W(sqrt)((wide)0.5), t = -x * root;
    if (isinf(x)) return x > 0;
    const wide lost = W(fma)(-x, root, -t) - x * (W(fma)(root, -root, (wide)0.5) / (2 * root));
    return (W(erfc)(t) - lost * 2 / W(sqrt)(W(acos)(-1)) * W(exp)(-t * t)) / 2;
}

static uint64_t checksum;
static void digest(real x)
{
    SAME_UINT bits = 0;
    if (x == x) memcpy(&bits, &x, sizeof bits);
    else bits = 1;
    checksum = (checksum ^ bits) * 0x9E3779B97F4A7C15u;
    checksum ^= checksum >> 29;
}

/* Equal, with NaN equal to NaN and -0 different from +0. */
static int same(real a, real b)
{
    return (a != a && b != b) || (a == b && !signbit(a) == !signbit(b));
}

static double ulp_error(real got, wide want)
{
    if (got != got) return want != want ? 0 : INFINITY;
    if (isinf(got) && isinf((real)want)) return 0;
    int e = want == 0 ? LOWEST : W(ilogb)(want);
    if (e < LOWEST) e = LOWEST;
    return (double)(W(fabs)((wide)got - want) / W(ldexp)(1, e - DIGITS + 1));
}

#define SPLITMIX_SEED 1
#include "splitmix.h"
static real uniform(real low, real high) { return low + (high - low) * (real)((double)(next_u64() >> 11) * 0x1p-53); }
static real any_bits(void)
{
    SAME_UINT bits = (SAME_UINT)next_u64();
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void sweep(const char *name, real (*f)(real), wide (*oracle)(wide), real low, real high, double bound)
{
    double worst = 0;
    real at = 0;
    for (int i = 0; i < 100000; i++) {
        real x = i % 4 == 0 ? any_bits() : i % 4 == 1 ? uniform(low, high) / 1024 : uniform(low, high);
        real y = f(x);
        digest(y);
        double error = ulp_error(y, oracle(x));
        if (!(error <= worst)) {
            worst = error;
            at = x;
        }
    }
    printf("  %-9s max %.4f ulp at %a\n", name, worst, (double)at);
    CHECK(worst <= bound, "%s: %g ulp at %a", name, worst, (double)at);
}

#define IS(name, x, want) \
    do { \
        real got_ = f_##name(x); \
        CHECK(same(got_, want), #name "(%a) = %a", (double)(x), (double)got_); \
    } while (0)

static void specials(void)
{
    const real inf = (real)INFINITY, nan = (real)NAN, tiny = W(ldexp)(1, LOWEST - DIGITS + 1), half = tiny * 3;
    const real big = (real)W(ldexp)(1, 1 - LOWEST);
    IS(exp, -inf, 0); IS(exp, inf, inf); IS(exp, nan, nan); IS(exp, 0, 1); IS(exp, (real)-0.0, 1);
    IS(exp, big, inf); IS(exp, -big, 0); IS(exp, tiny, 1);
    IS(expm1, -inf, -1); IS(expm1, inf, inf); IS(expm1, nan, nan); IS(expm1, 0, 0); IS(expm1, (real)-0.0, (real)-0.0);
    IS(expm1, tiny, tiny); IS(expm1, -half, -half); IS(expm1, big, inf); IS(expm1, -big, -1);
    IS(log, 0, -inf); IS(log, (real)-0.0, -inf); IS(log, -1, nan); IS(log, -tiny, nan); IS(log, -inf, nan);
    IS(log, inf, inf); IS(log, nan, nan); IS(log, 1, 0);
    IS(log1p, -1, -inf); IS(log1p, -2, nan); IS(log1p, -inf, nan); IS(log1p, inf, inf); IS(log1p, nan, nan);
    IS(log1p, 0, 0); IS(log1p, (real)-0.0, (real)-0.0); IS(log1p, tiny, tiny); IS(log1p, -half, -half);
    IS(tanh, inf, 1); IS(tanh, -inf, -1); IS(tanh, nan, nan); IS(tanh, (real)-0.0, (real)-0.0); IS(tanh, tiny, tiny);
    IS(tanh, big, 1); IS(tanh, -half, -half);
    IS(sigmoid, inf, 1); IS(sigmoid, -inf, 0); IS(sigmoid, nan, nan); IS(sigmoid, 0, (real)0.5); IS(sigmoid, -big, 0);
    IS(softplus, inf, inf); IS(softplus, -inf, 0); IS(softplus, nan, nan); IS(softplus, big, big); IS(softplus, -big, 0);
    IS(erf, inf, 1); IS(erf, -inf, -1); IS(erf, nan, nan); IS(erf, (real)-0.0, (real)-0.0); IS(erf, big, 1); IS(erf, tiny, tiny);
    IS(normal_cdf, inf, 1); IS(normal_cdf, -inf, 0); IS(normal_cdf, nan, nan); IS(normal_cdf, 0, (real)0.5);
    IS(normal_cdf, big, 1); IS(normal_cdf, -big, 0); IS(normal_cdf, tiny, (real)0.5);
    for (int i = 0; i < 20000; i++) {
        real x = uniform(0, 12), y = f_tanh(x);
        CHECK(f_tanh(-x) == -y, "tanh is odd, at %a", (double)x);
        CHECK(y <= 1, "tanh at %a", (double)x);
        CHECK(f_erf(-x) == -f_erf(x) && f_erf(x) <= 1, "erf at %a", (double)x);
        CHECK(f_tanh(x + DIGITS / 2) == 1, "tanh saturates, at %a", (double)x);
        CHECK(f_sigmoid(x + DIGITS) == 1, "sigmoid saturates, at %a", (double)x);
        CHECK(f_sigmoid(x) <= 1, "sigmoid at %a", (double)x);
    }
}

#if NN_REAL_IS_DOUBLE
SCALAR(sin) SCALAR(cos)
static real f_pow(real x, real y)
{
    real lane[VW];
    v_store(lane, v_pow(v_set1(x), v_set1(y)));
    return lane[0];
}

static void trigonometry(void)
{
    double worst[2] = {0, 0};
    IS(sin, -0.0, -0.0); IS(cos, 0, 1); IS(sin, INFINITY, (real)NAN); IS(cos, NAN, (real)NAN); IS(sin, 0x1p-1074, 0x1p-1074);
    IS(sin, 0x1.1p20, (real)NAN);
    for (int i = 0; i < 100000; i++) {
        double x = i % 3 == 0 ? uniform(-7, 7) : i % 3 == 1 ? uniform(-0x1p20, 0x1p20) : 0;
        if (i % 3 == 2) x = (double)((int64_t)(next_u64() >> 45) - (1 << 18)) * 1.5707963267948966; /* next to zeros */
        double s = f_sin(x), c = f_cos(x);
        digest(s);
        digest(c);
        worst[0] = fmax(worst[0], ulp_error(s, sinl(x)));
        worst[1] = fmax(worst[1], ulp_error(c, cosl(x)));
    }
    printf("  sin       max %.4f ulp\n  cos       max %.4f ulp\n", worst[0], worst[1]);
    CHECK(worst[0] <= 1 && worst[1] <= 1, "sin %g cos %g ulp", worst[0], worst[1]);
}

static void powers(void)
{
    static const double v[] = {0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1.5, 0x1p53, -0x1p53 - 2, 0x1p52 + 1,
                               INFINITY, -INFINITY, NAN, 0x1p-1074, -0x1p-1074, 0x1.fffffffffffffp1023, 1e-300};
    enum { N = sizeof v / sizeof *v };
    double worst = 0, at_x = 0, at_y = 0;
    for (int i = 0; i < N * N; i++) {
        double x = v[i / N], y = v[i % N], got = f_pow(x, y), want = pow(x, y);
        digest(got);
        CHECK(same(got, want) || (isfinite(want) && want != 0 && ulp_error(got, want) <= 1), "pow(%a, %a) = %a, not %a", x, y, got, want);
    }
    for (int i = 0; i < 200000; i++) {
        double x = i % 2 ? any_bits() : uniform(0.5, 2), y = i % 3 ? uniform(-3, 3) : uniform(-1100, 1100);
        if (!(x > 0)) x = -x;
        double got = f_pow(x, y), error = ulp_error(got, powl(x, y));
        digest(got);
        if (!(error <= worst)) worst = error, at_x = x, at_y = y;
    }
    printf("  pow       max %.4f ulp at %a, %a\n", worst, at_x, at_y);
    CHECK(worst <= 1, "pow: %g ulp at %a, %a", worst, at_x, at_y);
}
#endif

int main(void)
{
    const real top = NN_REAL_IS_DOUBLE ? (real)709 : 88;
    specials();
    sweep("exp", f_exp, W(exp), -top * (real)1.1, top, 1.0);
    sweep("expm1", f_expm1, W(expm1), -20, top, 1.1);
    sweep("log", f_log, W(log), 0, 16, 1.0);
    sweep("log1p", f_log1p, W(log1p), -1, 16, 1.0);
    sweep("tanh", f_tanh, W(tanh), -12, 12, 1.5);
    sweep("sigmoid", f_sigmoid, w_sigmoid, -top, 40, 1.5);
    sweep("softplus", f_softplus, w_softplus, -top, 40, 2.0);
    sweep("erf", f_erf, W(erf), -7, 7, 1.5);
    sweep("normal_cdf", f_normal_cdf, w_normal_cdf, NN_REAL_IS_DOUBLE ? -40 : -15, 10, 2.0);
#if NN_REAL_IS_DOUBLE
    trigonometry();
    powers();
#endif
    printf("  checksum %016llx\n", (unsigned long long)checksum);
    return check_summary(NN_REAL_IS_DOUBLE ? "test_elementary f64" : "test_elementary f32");
}
