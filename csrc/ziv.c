/* ziv.c - the second try at a correctly rounded elementary function, in sums of two doubles (106 bits).
 *
 * Ziv, "Fast evaluation of elementary mathematical functions with correctly rounded last bit", ACM TOMS 17(3), 1991: compute
 * with an error bound, and again with a smaller one where that leaves the rounding open. The first try is vec/exact_f64.h's;
 * about one argument in a million comes here, so this is simple instead of fast: series, no table.
 * The series' errors are below 2^-95 relative to the value, for erf and Phi below 2^-78. No float's value lies that near to the
 * middle of two floats: those of exp, log and the like are transcendental (Lindemann 1882; Muller, "Elementary functions", 3rd ed.
 * 2016, chapter 12), and the nearest is sigmoid(-2^-24), 2^-76.6 beside one. tests/c/exhaustive_elementary.c asks every float.
 * Sums and products of two: Dekker 1971; Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic building blocks
 * of double-word arithmetic", ACM TOMS 44(2), 2017. Nothing here overflows or underflows where a float's value is wanted. */
#include "ziv.h"

#include "internal.h"
#include "vec/fma_soft.h"

typedef struct two {
    double high, low; /* |low| <= half an ulp of high */
} two;

static two two_of(double a) { return (two){a, 0}; }

/* a + b exactly: Knuth's. */
static two two_sum(double a, double b)
{
    const double sum = a + b, part = sum - a;
    return (two){sum, (a - (sum - part)) + (b - part)};
}

/* a b exactly, from halves of 26 bits: Veltkamp's and Dekker's. */
static two two_product(double a, double b)
{
    const double split = 0x1p27 + 1, far_a = split * a, far_b = split * b;
    const double a1 = far_a - (far_a - a), a2 = a - a1, b1 = far_b - (far_b - b), b2 = b - b1, p = a * b;
    return (two){p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)};
}

static two plus(two a, two b)
{
    two s = two_sum(a.high, b.high), t = two_sum(a.low, b.low);
    s = two_sum(s.high, s.low + t.high);
    return two_sum(s.high, s.low + t.low);
}

static two times(two a, two b)
{
    const two p = two_product(a.high, b.high);
    return two_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

static two over(two a, two b)
{
    const double q = a.high / b.high;
    const two rest = plus(a, times(two_of(-q), b));
    const double r = rest.high / b.high, s = plus(rest, times(two_of(-r), b)).high / b.high;
    return plus(two_sum(q, r), two_of(s));
}

static two scaled(two a, double by) { return (two){a.high * by, a.low * by}; } /* by a power of two */

/* The nearest float, by way of the odd one of the doubles around the sum. */
static float rounded(two a) { return (float)nn_add_odd(a.high, a.low); }

/* 2^n, -1022 <= n <= 1023 */
static double power_of_two(int n)
{
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double p;
    memcpy(&p, &bits, sizeof p);
    return p;
}

#define LN2_1 0x1.62e42fefa38p-1
#define LN2_2 0x1.ef35793c768p-45
#define LN2_3 -0x1.9ff0342542fc3p-90

/* n ln2, ln2 in three pieces: 42 bits twice, so that n times them is exact for |n| < 2^11, and the rest. */
static two times_ln2(int n)
{
    return plus(two_sum(n * LN2_1, n * LN2_2), two_of(n * LN2_3));
}

/* exp(r) - 1 = r (1 + r/2 (1 + r/3 (...))), |r| <= 0.35: 24 terms leave 2^-116 of it. */
static two expm1_series(two r)
{
    two s = two_of(1);
    for (int k = 24; k > 1; k--)
        s = plus(two_of(1), over(times(s, r), two_of(k)));
    return times(r, s);
}

/* exp(x) = 2^n (1 + expm1(x - n ln2)). |x| < 700; below, x is cut off: the float is the same. */
static two exp_less(double x, double less)
{
    x = x < -200 ? -200 : x > 200 ? 200 : x;
    const int n = (int)(x * 0x1.71547652b82fep+0 + (x < 0 ? -0.5 : 0.5));
    const two m = expm1_series(plus(two_of(x), times_ln2(-n)));
    return n == 0 && less == 1 ? m : plus(scaled(plus(two_of(1), m), power_of_two(n)), two_of(-less));
}

/* log1p(f) = 2 atanh(s) = 2 s (1 + z/3 + z^2/5 + ...), s = f / (2 + f), z = s^2 <= 1/9: 34 terms leave 2^-108 of it. */
static two log1p_series(two f)
{
    const two s = over(f, plus(two_of(2), f)), z = times(s, s);
    two sum = two_of(0);
    for (int k = 34; k >= 0; k--)
        sum = plus(times(sum, z), over(two_of(1), two_of(2 * k + 1)));
    return scaled(times(s, sum), 2);
}

float nn_ziv_exp(float x) { return rounded(exp_less(x, 0)); }
float nn_ziv_expm1(float x) { return rounded(exp_less(x, 1)); }

/* x = 2^k m, 2/3 <= m < 4/3: k ln2 and log(m) do not cancel. */
float nn_ziv_log(float x)
{
    uint64_t bits;
    const double u = x;
    memcpy(&bits, &u, sizeof bits);
    int k = (int)(bits >> 52) - 1023;
    double m = u * power_of_two(-k);
    if (m >= 4 / 3.0) {
        m /= 2;
        k++;
    }
    return rounded(plus(times_ln2(k), log1p_series(two_of(m - 1))));
}

/* With d = expm1(2 |x|): d / (d + 2). */
float nn_ziv_tanh(float x)
{
    const two d = exp_less(2 * (double)(x < 0 ? -x : x), 1), y = over(d, plus(d, two_of(2)));
    return rounded(x < 0 ? scaled(y, -1) : y);
}

/* With z = exp(-|x|): 1 / (1 + z), or z / (1 + z) below 0. */
float nn_ziv_sigmoid(float x)
{
    const two z = exp_less(x < 0 ? x : -x, 0);
    return rounded(over(x < 0 ? z : two_of(1), plus(two_of(1), z)));
}

/* max(x, 0) + log1p(exp(-|x|)) */
float nn_ziv_softplus(float x)
{
    const two z = log1p_series(exp_less(x < 0 ? x : -x, 0));
    return rounded(plus(two_of(x < 0 ? 0 : x), z));
}

/* x + x y / 3 + x y^2 / (3 5) + ..., y >= 0: all terms of one sign. Ends where one is below 2^-115 of the sum. */
static two odd_series(double x, double y)
{
    two term = two_of(x), sum = term;
    for (int k = 3; term.high / sum.high > 0x1p-115; k += 2)
        sum = plus(sum, term = over(times(term, two_of(y)), two_of(k)));
    return sum;
}

/* 2 / sqrt(pi) exp(-x^2) (x + 2 x^3 / 3 + 4 x^5 / (3 5) + ...): Abramowitz and Stegun 1964, 7.1.6. A float's square is exact. */
float nn_ziv_erf(float x)
{
    const double square = (double)x * x;
    const two root = {0x1.20dd750429b6dp+0, 0x1.1ae3a914fed80p-56};
    return rounded(x == 0 ? two_of(x) : times(times(root, exp_less(-square, 0)), odd_series(x, 2 * square)));
}

/* With phi = exp(-x^2 / 2) / sqrt(2 pi): 1/2 + phi (x + x^3 / 3 + x^5 / (3 5) + ...) (26.2.11). Below -5.5, where that has lost
 * 26 bits, phi times Mills's ratio 1 / (a + 1 / (a + 2 / (a + ...))), a = -x (26.2.14): 60 steps leave 2^-101 of it. */
float nn_ziv_normal_cdf(float x)
{
    const two root = {0x1.9884533d43651p-2, -0x1.cbc0d30ebfd15p-56};
    const two density = times(root, exp_less(-0.5 * ((double)x * x), 0));
    if (x >= -5.5f)
        return rounded(plus(two_of(0.5), times(density, odd_series(x, (double)x * x))));
    two a = two_of(-(double)x), tail = a;
    for (int k = 60; k > 0; k--)
        tail = plus(a, over(two_of(k), tail));
    return rounded(over(density, tail));
}
