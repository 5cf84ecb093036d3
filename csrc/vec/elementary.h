#pragma once
/* elementary.h - exp, expm1, log, log1p, tanh, sigmoid, softplus, erf, the normal distribution Phi (both types); sin, cos, pow
 * (double), for VW lanes.
 *
 * Written once against vec.h: the same + - * / fma and bit operations on every ISA, so the same bits (numerics.md R5,
 * R7). No libm, no approximate instruction, no table. Sources: Cody and Waite, "Software manual for the elementary
 * functions", 1980 (reductions); Muller, "Elementary functions", 3rd ed. 2016; Dekker 1971 (exact sums of two).
 *
 * Largest error in ulp, against a wider oracle. float: all 2^32 inputs (tests/c/exhaustive_elementary.c); double: five
 * million random inputs per function, libm's long double as oracle (tests/c/test_elementary.c with a larger count).
 *
 *            exp    expm1   log    log1p   tanh   sigmoid  softplus   erf    Phi    sin    cos    pow
 *   float    0.90   1.05    0.90   0.96    1.37   1.48     1.71       0.99   1.60   -      -      -
 *   double   0.86   1.09    0.83   0.83    1.30   1.36     1.51       1.06   1.45   0.77   0.78   0.96
 *
 * Speed: one long chain each, of some 30 operations. With two vectors a round (elementwise.c) the chains overlap, and two
 * operations a cycle are the limit: to be faster is to do less.
 *
 * exact_f64.h makes correctly rounded functions of floats of the double ones.
 *
 * Specials are IEEE's: NaN in, NaN out; every function is defined for every input. Subnormal results are rounded once. */
#include "vec.h"

/* One Horner step: q x + c. */
V_INLINE vreal e_next(vreal q, vreal x, real c) { return v_fma(q, x, v_set1(c)); }

#if NN_REAL_IS_DOUBLE
#include "elementary_f64.h"
#else
#include "elementary_f32.h"
#endif

/* n = rint(x / ln2) + V_MAGIC: n in the low bits, 0 above them, so that v_exp2i(v_bits(it)) is 2^n (its shift drops the
 * rest). |x| is far below 2^V_MANTISSA. */
V_INLINE vreal e_turns(vreal x) { return v_fma(x, v_set1(E_LOG2E), v_set1(V_MAGIC)); }

/* exp(r), |r| <= ln2/2, and r = x - n ln2 with ln2 in two pieces, the first so short that its product is exact. */
V_INLINE vreal e_exp_core(vreal r) { return v_fma(v_fma(e_exp_poly(r), r, v_set1(1)), r, v_set1(1)); }
V_INLINE vreal e_exp_reduce(vreal x, vreal n) { return v_fnma(n, v_set1(E_LN2_LO), v_fnma(n, v_set1(E_LN2_HI), x)); }

/* exp(x) = 2^n exp(r) for x in [E_EXP_MIN, E_EXP_MAX], or NaN. */
V_INLINE vreal e_exp(vreal x)
{
    vreal n = v_sub(e_turns(x), v_set1(V_MAGIC));
    return v_ldexp(e_exp_core(e_exp_reduce(x, n)), n);
}

/* The order of operands lets NaN pass: v_max(a, b) and v_min(a, b) return b if one is NaN. */
V_INLINE vreal v_exp(vreal x) { return e_exp(v_max(v_set1(E_EXP_MIN), v_min(v_set1(E_EXP_MAX), x))); }

/* exp(-|x|), its sign set by one operation, bounded on one side. */
V_INLINE vreal e_exp_below(vreal x)
{
    return e_exp(v_max(v_set1(E_EXP_MIN), v_frombits(vi_or(v_bits(x), vi_set1(V_SIGN)))));
}

/* v 2^n where that is exact; t = e_turns of what n is of. AVX-512 has one instruction for it. */
V_INLINE vreal e_scale(vreal v, vreal t, vreal n)
{
#if defined(NN_ISA_AVX512)
    return (void)t, v_scalef(v, n);
#else
    return (void)n, v_mul(v, v_exp2i(v_bits(t)));
#endif
}

/* expm1(x) = 2 (2^(n-1) (expm1(r) + 1) - 1/2), halved inside so that n may be as large as exp allows. 2^n - 1 may cancel
 * a few bits of 2^n r, so r and the leading sum are kept as sums of two. */
V_INLINE vreal v_expm1(vreal x)
{
    vreal a = v_max(v_set1(E_EXPM1_MIN), v_min(v_set1(E_EXP_MAX), x));
    vreal t = e_turns(a), n = v_sub(t, v_set1(V_MAGIC));
    vreal first = v_fnma(n, v_set1(E_LN2_HI), a), r = v_fnma(n, v_set1(E_LN2_LO), first);
    vreal r_low = v_fnma(n, v_set1(E_LN2_LO), v_sub(first, r));
    vreal tail = v_fma(v_mul(r, r), e_expm1_poly(r), r_low); /* expm1(r) = r + tail */
    vreal scale = v_exp2i(vi_sub(v_bits(t), vi_set1(1))), base = v_sub(scale, v_set1((real)0.5));
    vreal high = v_fma(scale, r, base), low = v_fma(scale, r, v_sub(base, high));
    vreal half = v_add(high, v_fma(scale, tail, low));
    return v_select(v_lt(v_abs(x), v_set1(E_TINY)), x, v_add(half, half));
}

/* 1 - 2 / (exp(2 a) + 1) for a = |x|; below 5/8 that would cancel, and an odd polynomial takes its place. */
V_INLINE vreal v_tanh(vreal x)
{
    const vreal one = v_set1(1);
    vreal size = v_abs(x), a = v_min(v_set1(E_TANH_MAX), size), twice = v_add(a, a);
    vreal t = e_turns(twice), n = v_sub(t, v_set1(V_MAGIC));
    vreal e = e_scale(e_exp_core(e_exp_reduce(twice, n)), t, n);
    vreal far = v_sub(one, v_div(v_set1(2), v_add(e, one)));
    vreal z = v_mul(a, a), near = v_fma(v_mul(a, z), e_tanh_poly(z), a);
    vreal y = v_select(v_lt(size, v_set1((real)0.625)), near, far); /* no sign bit: that of x fits in */
    return v_frombits(vi_or(v_bits(y), vi_and(v_bits(x), vi_set1(V_SIGN))));
}

/* With z = exp(-|x|) <= 1: 1 / (1 + z) for x >= 0, z / (1 + z) below. Nothing overflows, nothing cancels. The quotient q
 * is corrected by its remainder over the exact 1 + z, times 1 / (1 + z): q itself, or 1 - q. */
V_INLINE vreal v_sigmoid(vreal x)
{
    const vreal one = v_set1(1);
    vmask positive = v_ge(x, v_zero());
    vreal z = e_exp_below(x), below = v_add(one, z), lost = v_add(v_sub(one, below), z);
    vreal above = v_select(positive, one, z), q = v_div(above, below);
    vreal left = v_fnma(q, lost, v_fnma(q, below, above));
    return v_fma(left, v_select(positive, q, v_sub(one, q)), q);
}

/* k ln2 + log1p(f) + rest for |f| <= 1/3 and a rest below an ulp. The largest two terms are added exactly. */
V_INLINE vreal e_log_sum(vreal k, vreal f, vreal rest)
{
    vreal big = v_mul(k, v_set1(E_LN2_HI)); /* exact; 0 or larger than f */
    vreal high = v_add(big, f), low = v_add(v_sub(big, high), f);
    low = v_add(v_fma(k, v_set1(E_LN2_LO), rest), low);
    return v_add(high, v_add(low, e_log_tail(f)));
}

/* u = 2^k m with 2/3 <= m < 4/3, for a positive normal u: subtract the bits of 2/3 and the exponent field counts k. */
V_INLINE vint e_log_split(vreal u, vreal *m)
{
    vint from = vi_sub(v_bits(u), vi_set1(E_TWO_THIRDS)), k = vi_sra(from, V_MANTISSA);
    *m = v_frombits(vi_sub(v_bits(u), vi_sll(k, V_MANTISSA)));
    return k;
}

/* What log gives at the ends: y inside (0, inf), -inf at 0, NaN below, x itself for inf and NaN. u is log's argument. */
V_INLINE vreal e_log_ends(vreal u, vreal y)
{
    const vreal inf = v_set1((real)__builtin_inf());
    y = v_select(v_lt(u, inf), y, u);
    y = v_select(v_eq(u, v_zero()), v_neg(inf), y);
    return v_select(v_lt(u, v_zero()), v_set1((real)__builtin_nan("")), y);
}

V_INLINE vreal v_log(vreal x)
{
    vmask subnormal = v_lt(x, v_set1(E_MIN_NORMAL));
    vreal m, u = v_mul(x, v_select(subnormal, v_set1(E_LIFT), v_set1(1))); /* exact: no flag for a large x */
    vint k = e_log_split(u, &m);
    k = vi_select(subnormal, vi_sub(k, vi_set1(E_LIFT_LOG2)), k);
    return e_log_ends(x, e_log_sum(v_fromint(k), v_sub(m, v_set1(1)), v_zero()));
}

/* log1p for x > -1: log(u) with u = 1 + x rounded. What the rounding lost, scaled like m, moves f = m - 1 by d and the
 * logarithm by d / (1 + f), for which d (1 - f + f^2) is close enough. */
V_INLINE vreal e_log1p(vreal x)
{
    const vreal one = v_set1(1);
    vreal m, u = v_add(one, x), part = v_sub(u, one);
    vreal lost = v_add(v_sub(one, v_sub(u, part)), v_sub(x, part)); /* Knuth: u + lost = 1 + x */
    vint k = e_log_split(u, &m), bound = vi_set1(V_BIAS - 2);
    vint down = vi_select(vi_gt(k, bound), bound, k); /* 2^-down is normal; lost is nothing up there */
    vreal f = v_sub(m, one), d = v_mul(lost, v_exp2i(vi_sub(vi_set1(0), down)));
    return e_log_sum(v_fromint(k), f, v_fnma(v_fnma(d, f, d), f, d));
}

V_INLINE vreal v_log1p(vreal x)
{
    vreal y = e_log_ends(v_add(x, v_set1(1)), e_log1p(x));
    return v_select(v_lt(v_abs(x), v_set1(E_TINY)), x, y);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)): neither overflow nor cancellation. */
V_INLINE vreal v_softplus(vreal x)
{
    return v_add(v_max(x, v_zero()), e_log1p(e_exp_below(x)));
}

#include "erf.h"
#if NN_REAL_IS_DOUBLE
#include "trig_f64.h"
#include "pow_f64.h"
#endif
