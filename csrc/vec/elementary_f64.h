#pragma once
/* elementary_f64.h - constants and polynomials of the double elementary functions. Included by elementary.h.
 *
 * Coefficients: our own Remez exchange (mpmath, 300 bits) for the weighted error stated at each polynomial, then each
 * coefficient rounded to double; the stated error is of the rounded set. They are written exactly, in hexadecimal. */

#define E_LOG2E 0x1.71547652b82fep+0
#define E_LN2_HI 0x1.62e42fefa4p-1       /* 41 bits: n E_LN2_HI is exact for |n| < 2^12 */
#define E_LN2_LO -0x1.8432a1b0e2634p-43
#define E_EXP_MIN -746.0                 /* below -745.14 exp rounds to 0, */
#define E_EXP_MAX 710.0                  /* above 709.79 to inf; both leave |n| <= 1077 for v_ldexp */
#define E_EXPM1_MIN -38.0                /* below -37.43 expm1 rounds to -1 */
#define E_TANH_MAX 20.0                  /* above 19.07 tanh rounds to 1 */
#define E_TINY 0x1p-54                   /* below, expm1(x) = log1p(x) = x to half an ulp */
#define E_MIN_NORMAL 0x1p-1022
#define E_LIFT 0x1p52                    /* makes a subnormal normal, */
#define E_LIFT_LOG2 52                   /* its exponent */
#define E_TWO_THIRDS 0x3fe5555555555555  /* bits of 2/3 */

/* (exp(r) - 1 - r) / r^2 on |r| <= ln2/2, relative to expm1: 2^-59.0. */
V_INLINE vreal e_expm1_poly(vreal r)
{
    vreal q = v_set1(0x1.1ef4d0f63fd5ap-29);
    q = e_next(q, r, 0x1.af5d6186927c5p-26);
    q = e_next(q, r, 0x1.27e52b74e13a1p-22);
    q = e_next(q, r, 0x1.71ddf931cbc1dp-19);
    q = e_next(q, r, 0x1.a01a0182dcc61p-16);
    q = e_next(q, r, 0x1.a01a01af81a8cp-13);
    q = e_next(q, r, 0x1.6c16c16c1cd76p-10);
    q = e_next(q, r, 0x1.111111110f7d2p-7);
    q = e_next(q, r, 0x1.5555555555548p-5);
    q = e_next(q, r, 0x1.5555555555559p-3);
    return e_next(q, r, 0.5);
}
V_INLINE vreal e_exp_poly(vreal r) { return e_expm1_poly(r); }

/* (tanh(a) / a - 1) / z, z = a^2, on a <= 5/8, relative to tanh: 2^-56.3. */
V_INLINE vreal e_tanh_poly(vreal z)
{
    vreal q = v_set1(-0x1.0d947555194d5p-16);
    q = e_next(q, z, 0x1.438794b1e8a4cp-14);
    q = e_next(q, z, -0x1.df5146da81489p-13);
    q = e_next(q, z, 0x1.33658de15f55cp-11);
    q = e_next(q, z, -0x1.7d688ed763456p-10);
    q = e_next(q, z, 0x1.d6cf261210ca4p-9);
    q = e_next(q, z, -0x1.226e161c23814p-7);
    q = e_next(q, z, 0x1.664f477a3f62bp-6);
    q = e_next(q, z, -0x1.ba1ba1b502e1cp-5);
    q = e_next(q, z, 0x1.111111110ac82p-3);
    return e_next(q, z, -0x1.55555555554ffp-2);
}

/* log1p(f) - f on |f| <= 1/3, with s = f / (2 + f) and log1p(f) = 2 atanh(s) = 2 s + s z R(z), z = s^2 <= 1/25.
 * 2 s = f - (h - s h) with h = f^2 / 2: only small terms are rounded. R relative to the logarithm: 2^-61.3. */
V_INLINE vreal e_log_tail(vreal f)
{
    vreal s = v_div(f, v_add(v_set1(2), f)), z = v_mul(s, s), h = v_mul(v_mul(f, f), v_set1(0.5));
    vreal q = v_set1(0x1.1b6b202d3c047p-3);
    q = e_next(q, z, 0x1.0dcee612182d8p-3);
    q = e_next(q, z, 0x1.3b358e6a06033p-3);
    q = e_next(q, z, 0x1.745c4c65565c8p-3);
    q = e_next(q, z, 0x1.c71c748935efbp-3);
    q = e_next(q, z, 0x1.24924921eba31p-2);
    q = e_next(q, z, 0x1.999999999c0fep-2);
    q = e_next(q, z, 0x1.555555555554fp-1);
    return v_sub(v_mul(s, v_fma(z, q, h)), h);
}
