#pragma once
/* pow_f64.h - x^y, double only (schedules, initialisers, generators). Included by elementary.h.
 *
 * exp(y log|x|) with the logarithm and the product kept as sums of two doubles, about 2^-63 relative: y log|x| may be
 * as large as 745, which turns a relative error of the logarithm into one 745 times larger of the result. */
typedef struct vpair {
    vreal high, low;
} vpair;

/* a + b exactly for |a| >= |b| or a = 0 (Dekker). */
V_INLINE vpair e_sum(vreal a, vreal b)
{
    vreal high = v_add(a, b);
    return (vpair){high, v_add(v_sub(a, high), b)};
}

/* a b to twice the precision: what each product loses is given by fma. */
V_INLINE vpair e_product(vpair a, vpair b)
{
    vreal high = v_mul(a.high, b.high), low = v_fma(a.high, b.high, v_neg(high));
    return (vpair){high, v_fma(a.high, b.low, v_fma(a.low, b.high, low))};
}

/* (atanh(s) / s - 1 - z / 3) / z^2, z = s^2 <= 1/25, relative to atanh: 2^-75. */
V_INLINE vreal e_atanh_poly(vreal z)
{
    vreal q = v_set1(0x1.da55987a34f8bp-5);
    q = e_next(q, z, 0x1.a744fb19de03ep-5);
    q = e_next(q, z, 0x1.e2497ffca09a6p-5);
    q = e_next(q, z, 0x1.110f74d409b41p-4);
    q = e_next(q, z, 0x1.3b13b93944fbdp-4);
    q = e_next(q, z, 0x1.745d172d659d7p-4);
    q = e_next(q, z, 0x1.c71c71c747ccap-4);
    q = e_next(q, z, 0x1.2492492492359p-3);
    return e_next(q, z, 0x1.999999999999ap-3);
}

/* log(x), 0 < x < inf, as a sum of two: k ln2 + 2 atanh(s), s = f / (2 + f). */
V_INLINE vpair e_log_pair(vreal x)
{
    vmask subnormal = v_lt(x, v_set1(E_MIN_NORMAL));
    vreal m;
    vint k = e_log_split(v_select(subnormal, v_mul(x, v_set1(E_LIFT)), x), &m);
    vreal n = v_fromint(vi_select(subnormal, vi_sub(k, vi_set1(E_LIFT_LOG2)), k));
    vreal f = v_sub(m, v_set1(1));
    vpair below = e_sum(v_set1(2), f), s, third = {v_set1(0x1.5555555555555p-2), v_set1(0x1.5555555555555p-56)};
    s.high = v_div(f, below.high);
    s.low = v_div(v_fnma(s.high, below.low, v_fnma(s.high, below.high, f)), below.high);
    vpair z = e_product(s, s), inner = e_sum(third.high, v_mul(z.high, e_atanh_poly(z.high)));
    inner.low = v_add(inner.low, third.low);
    vpair rest = e_product(s, e_product(z, inner)), atanh = e_sum(s.high, rest.high);
    atanh.low = v_add(atanh.low, v_add(s.low, rest.low));
    vpair sum = e_sum(v_mul(n, v_set1(E_LN2_HI)), v_add(atanh.high, atanh.high));
    sum.low = v_add(sum.low, v_fma(n, v_set1(E_LN2_LO), v_add(atanh.low, atanh.low)));
    return e_sum(sum.high, sum.low);
}

/* exp of a sum of two; anything out of range becomes 0 or inf. */
V_INLINE vreal e_exp_pair(vpair p)
{
    vreal x = v_max(v_set1(E_EXP_MIN), v_min(v_set1(E_EXP_MAX), p.high));
    vreal low = v_select(v_eq(x, p.high), p.low, v_zero());
    vreal n = v_sub(e_turns(x), v_set1(V_MAGIC)), first = v_fnma(n, v_set1(E_LN2_HI), x);
    vreal rest = v_fnma(n, v_set1(E_LN2_LO), low), r = v_add(first, rest);
    vreal r_low = v_add(v_sub(first, r), rest);
    vreal tail = v_add(r, v_fma(v_mul(r, r), e_exp_poly(r), r_low));
    return v_ldexp(v_add(v_set1(1), tail), n);
}

/* C's pow, specials included: x^0 = 1^y = 1 even for NaN; a negative x wants an integral y and takes its parity. */
V_INLINE vreal v_pow(vreal x, vreal y)
{
    const vreal zero = v_zero(), one = v_set1(1), inf = v_set1(__builtin_inf()), nan = v_set1(__builtin_nan(""));
    vreal size = v_abs(x), half = v_mul(y, v_set1(0.5));
    vmask integral = v_eq(v_rint(y), y), odd = m_and(integral, m_not(v_eq(v_rint(half), half)));
    vpair log = e_log_pair(size), p = e_product((vpair){y, zero}, log);
    vreal r = e_exp_pair(p);

    vreal up = v_select(v_gt(y, zero), inf, zero), down = v_select(v_gt(y, zero), zero, inf); /* inf^y and 0^y */
    r = v_select(v_eq(size, inf), up, r);
    r = v_select(v_eq(size, zero), down, r);
    r = v_select(v_eq(size, one), one, r); /* also to the power of inf */
    vmask negative = vi_gt(vi_set1(0), v_bits(x)); /* -0 counts */
    r = v_select(m_and(negative, odd), v_neg(r), r);
    vmask refused = m_and(m_and(v_lt(x, zero), v_gt(size, zero)), m_not(integral));
    refused = m_and(refused, v_lt(size, inf)); /* (-inf)^y is fine for any y */
    r = v_select(m_or(m_or(refused, v_isnan(x)), v_isnan(y)), nan, r);
    return v_select(m_or(v_eq(y, zero), v_eq(x, one)), one, r);
}
