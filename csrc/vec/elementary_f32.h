#pragma once
/* elementary_f32.h - constants and polynomials of the float elementary functions. Included by elementary.h.
 *
 * Coefficients: our own Remez exchange (mpmath, 300 bits) for the weighted error stated at each polynomial, then each
 * coefficient rounded to float; the stated error is of the rounded set. They are written exactly, in hexadecimal. */

#define E_LOG2E 0x1.715476p+0f
#define E_LN2_HI 0x1.62e4p-1f      /* 15 bits: n E_LN2_HI is exact for |n| < 2^9 */
#define E_LN2_LO 0x1.7f7d1cp-20f
#define E_EXP_MIN -104.0f          /* below -103.98 exp rounds to 0, */
#define E_EXP_MAX 89.0f            /* above 88.73 to inf; both leave |n| <= 151 for v_ldexp */
#define E_EXPM1_MIN -18.0f         /* below -17.33 expm1 rounds to -1 */
#define E_TANH_MAX 9.1f            /* above 9.011 tanh rounds to 1 */
#define E_TINY 0x1p-25f            /* below, expm1(x) = log1p(x) = x to half an ulp */
#define E_MIN_NORMAL 0x1p-126f
#define E_LIFT 0x1p23f             /* makes a subnormal normal, */
#define E_LIFT_LOG2 23             /* its exponent */
#define E_TWO_THIRDS 0x3f2aaaab    /* bits of 2/3 */

/* (exp(r) - 1 - r) / r^2 on |r| <= ln2/2, relative to exp: 2^-28.0. */
V_INLINE vreal e_exp_poly(vreal r)
{
    vreal q = v_set1(0x1.6a23d6p-10f);
    q = e_next(q, r, 0x1.123a2p-7f);
    q = e_next(q, r, 0x1.5558f2p-5f);
    q = e_next(q, r, 0x1.555492p-3f);
    return e_next(q, r, 0x1.fffffcp-2f);
}

/* The same, relative to expm1: 2^-29.8. */
V_INLINE vreal e_expm1_poly(vreal r)
{
    vreal q = v_set1(0x1.9fbdf2p-13f);
    q = e_next(q, r, 0x1.6d40b8p-10f);
    q = e_next(q, r, 0x1.1111cap-7f);
    q = e_next(q, r, 0x1.5554f2p-5f);
    q = e_next(q, r, 0x1.555554p-3f);
    return e_next(q, r, 0.5f);
}

/* (tanh(a) / a - 1) / z, z = a^2, on a <= 5/8, relative to tanh: 2^-26.7. */
V_INLINE vreal e_tanh_poly(vreal z)
{
    vreal q = v_set1(-0x1.75d502p-8f);
    q = e_next(q, z, 0x1.5223dcp-6f);
    q = e_next(q, z, -0x1.b83bf4p-5f);
    q = e_next(q, z, 0x1.110724p-3f);
    return e_next(q, z, -0x1.555532p-2f);
}

/* log1p(f) - f = f^2 (-1/2 + f R(f)) on |f| <= 1/3, relative to log1p: 2^-28.7. */
V_INLINE vreal e_log_tail(vreal f)
{
    vreal q = v_set1(0x1.e99d8ep-4f);
    q = e_next(q, f, -0x1.073b1p-3f);
    q = e_next(q, f, 0x1.b9039ap-4f);
    q = e_next(q, f, -0x1.f37902p-4f);
    q = e_next(q, f, 0x1.24ef42p-3f);
    q = e_next(q, f, -0x1.55998ep-3f);
    q = e_next(q, f, 0x1.9997a6p-3f);
    q = e_next(q, f, -0x1.ffff0cp-3f);
    q = e_next(q, f, 0x1.555556p-2f);
    q = e_next(q, f, -0.5f);
    return v_mul(v_mul(f, f), q);
}
