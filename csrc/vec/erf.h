#pragma once
/* erf.h - the error function erf and the normal distribution Phi(x) = erfc(-x / sqrt 2) / 2, for VW lanes. Included by
 * elementary.h.
 *
 * Below 1, erf(x) = x + x P(x^2). From 1 on, and for Phi everywhere, the tail: erfc(t) = exp(-t^2) erfcx(t), where the scaled
 * erfcx(t) = p(q) / (1 + 2 t), q = (t - K) / (t + K), has one polynomial for all t >= 0 (Shepherd and Laframboise 1981). What
 * is hard: the exponent is as large as 100 (float), so its rounding would move exp by as many ulp; it is kept as a sum of two.
 * Phi takes x^2 / 2 and not the square of a rounded x / sqrt 2 for it, and what that rounding does to 1 + 2 t is carried along:
 * Phi is good to an ulp or so down to its last subnormal, where (1 + erf(x / sqrt 2)) / 2 has lost every digit from -5.6
 * (float) on.
 *
 * Coefficients: as elementary_f32.h and elementary_f64.h say; the stated errors are relative. */
#if NN_REAL_IS_DOUBLE
#define E_ERF_MAX 6.0     /* above 5.92 erf rounds to 1 */
#define E_NORMAL_MAX 38.6 /* below -38.57 Phi rounds to 0 */
#define E_HALF_ROOT_HI 0x1.6a09e667f3bcdp-1
#define E_HALF_ROOT_LO -0x1.bdd3413b26456p-55
#define E_TWO_OVER_ROOT_PI 0x1.20dd750429b6dp+0
#define E_TAIL_K 4.0
#define E_TAIL_HI 0x1.3ba5916e9fd7fp+0 /* p(0) in two pieces, */
#define E_TAIL_LO -0x1.a16841523bf2cp-55
static const real e_tail_p[] = {       /* and the rest, the highest power first, t <= 27.4: 2^-57.3 */
    0x1.46329d92a5682p-30, 0x1.c220ecf4b62d0p-30, -0x1.e40a835ba148dp-27, -0x1.2aa30030770cfp-26, 0x1.da46d7134699ep-24,
    0x1.3dfd977bc2dc8p-24, -0x1.bb81246e7669ep-21, 0x1.3bde6cc307709p-22, 0x1.7f35e5a4faca4p-18, -0x1.788db9428ad39p-17,
    -0x1.995af410e5d1ep-16, 0x1.3be06ad90ca8ap-13, -0x1.a1df14ebafe70p-13, -0x1.8d4a9c359d76dp-11, 0x1.49c6726d97461p-8,
    -0x1.09623882bc049p-6, 0x1.3079edf6d8efap-5, -0x1.0fb06dfe5474ep-4, 0x1.7fee004e0fc52p-4, -0x1.9ddb23c3e89e0p-4,
    0x1.16ecefcfa54aep-4, 0x1.f7f5df66fd6dfp-7, -0x1.1df1ad154a28fp-3,
};
static const real e_erf_p[] = {        /* (erf(x) / x - 1) of z = x^2 <= 1: 2^-55.1 */
    -0x1.abae353b8c9f6p-31, 0x1.d71b21cf3dcd1p-27, -0x1.5c072df7c0e9ep-23, 0x1.b97fd5d5cea58p-20, -0x1.f4ca4dbca9a02p-17,
    0x1.f9a2bab00ed8ep-14, -0x1.c02db03e3cd72p-11, 0x1.565bccf92eaadp-8, -0x1.b82ce311fab6fp-6, 0x1.ce2f21a040d21p-4,
    -0x1.812746b0379bdp-2, 0x1.06eba8214db68p-3,
};
#else
#define E_ERF_MAX 4.0f     /* above 3.91 erf rounds to 1 */
#define E_NORMAL_MAX 14.4f /* below -14.17 Phi rounds to 0 */
#define E_HALF_ROOT_HI 0x1.6a09e6p-1f
#define E_HALF_ROOT_LO 0x1.9fcef4p-27f
#define E_TWO_OVER_ROOT_PI 0x1.20dd76p+0f
#define E_TAIL_K 3.0f
#define E_TAIL_HI 0x1.40c522p+0f
#define E_TAIL_LO 0x1.b8b032p-25f
static const real e_tail_p[] = {       /* t <= 10.3: 2^-27.7 */
    -0x1.172e86p-12f, -0x1.951ed2p-11f, 0x1.06c744p-9f, 0x1.504cp-9f, -0x1.85ee7p-6f, 0x1.17bd46p-4f, -0x1.e8885p-4f,
    0x1.098414p-3f, -0x1.85a1ap-5f, -0x1.15c08ap-3f,
};
static const real e_erf_p[] = {        /* 2^-28.7 */
    0x1.496a12p-14f, -0x1.a3f71ep-11f, 0x1.5405bep-8f, -0x1.b7f91p-6f, 0x1.ce2cf8p-4f, -0x1.81273ep-2f, 0x1.06eba8p-3f,
};
#endif
enum { E_TAIL_TERMS = sizeof e_tail_p / sizeof *e_tail_p, E_ERF_TERMS = sizeof e_erf_p / sizeof *e_erf_p };

/* scale exp(-(high + low)) erfcx(t + t_low), t >= 0, scale a power of two near 1; high at most -E_EXP_MIN. The roundings of
 * values of size - of exp, p, their product, 1 + 2 t - are made up for in the remainder of the quotient. The rounded q is exact
 * for another t, t - moved; from there erfcx' = 2 t erfcx - 2 / sqrt(pi) leads back. */
V_INLINE vreal e_tail(vreal t, vreal t_low, vreal high, vreal low, real scale)
{
    const vreal one = v_set1(1), two = v_set1(2), hi = v_set1(E_TAIL_HI), k = v_set1(E_TAIL_K), minus_k = v_set1(-E_TAIL_K);
    vreal d = v_add(t, k), q = v_sub(one, v_div(v_set1(2 * E_TAIL_K), d)), p = v_set1(e_tail_p[0]);
    for (int i = 1; i < E_TAIL_TERMS; i++)
        p = e_next(p, q, e_tail_p[i]);
    vreal moved = v_mul(v_fnma(q, t, v_fma(minus_k, v_add(q, one), t)), v_mul(d, v_set1(1 / (2 * E_TAIL_K))));
    vreal rest = v_fma(p, q, v_set1(E_TAIL_LO)); /* p(q) = hi + rest */
    p = v_add(hi, rest);
    vreal p_low = v_add(v_sub(hi, p), rest);
    vreal n = v_sub(e_turns(v_neg(high)), v_set1(V_MAGIC)), r = v_sub(e_exp_reduce(v_neg(high), n), low);
    rest = v_fma(v_mul(e_exp_poly(r), r), r, r); /* exp(r) = 1 + rest */
    vreal e = v_add(one, rest), e_low = v_add(v_sub(one, e), rest);
    vreal above = v_mul(e, p), above_low = v_fma(e, p, v_neg(above));
    above_low = v_add(above_low, v_fma(e, p_low, v_mul(e_low, p)));
    vreal twice = v_add(t, t), below = v_add(one, twice), part = v_sub(below, twice);
    vreal below_low = v_add(v_sub(one, part), v_sub(twice, v_sub(below, part)));
    below_low = v_fnma(two, moved, below_low);
    vreal inverse = v_div(one, below), y = v_mul(above, inverse);
    vreal left = v_add(v_fnma(y, below, above), v_fnma(y, below_low, above_low));
    vreal slope = v_fma(twice, y, v_mul(e, v_set1(-E_TWO_OVER_ROOT_PI)));
    y = v_add(y, v_fma(left, inverse, v_mul(v_add(moved, t_low), slope)));
    return v_ldexp(v_mul(v_set1(scale), y), n);
}

V_INLINE vreal v_erf(vreal x)
{
    const vreal one = v_set1(1);
    vreal size = v_abs(x), a = v_min(v_set1(E_ERF_MAX), size), z = v_mul(a, a), q = v_set1(e_erf_p[0]);
    for (int i = 1; i < E_ERF_TERMS; i++)
        q = e_next(q, z, e_erf_p[i]);
    vreal near = v_fma(a, q, a), far = v_sub(one, e_tail(a, v_zero(), z, v_fma(a, a, v_neg(z)), 1));
    vreal y = v_select(v_lt(size, one), near, far); /* no sign bit: that of x fits in */
    return v_frombits(vi_or(v_bits(y), vi_and(v_bits(x), vi_set1(V_SIGN))));
}

V_INLINE vreal v_normal_cdf(vreal x)
{
    vreal a = v_min(v_set1(E_NORMAL_MAX), v_abs(x)), half = v_mul(a, v_set1((real)0.5)), high = v_mul(a, half);
    vreal root = v_set1(E_HALF_ROOT_HI), t = v_mul(a, root);
    vreal t_low = v_fma(a, v_set1(E_HALF_ROOT_LO), v_fma(a, root, v_neg(t)));
    vreal tail = e_tail(t, t_low, high, v_fma(a, half, v_neg(high)), (real)0.5);
    return v_select(v_lt(x, v_zero()), tail, v_sub(v_set1(1), tail));
}
