#pragma once
/* trig_f64.h - sin and cos, double only (schedules, initialisers, generators). Included by elementary.h.
 *
 * Reduction by multiples of pi/2 in three pieces (Cody and Waite 1980), then one minimax polynomial each; how the
 * coefficients were made is said in elementary_f64.h. For |x| <= 2^20; beyond, NaN rather than a wrong number: the
 * exact reduction of Payne and Hanek would be longer than everything here and no caller needs it. */
#define E_TRIG_MAX 0x1p20                /* beyond, sin and cos give NaN rather than a wrong number */
#define E_TWO_OVER_PI 0x1.45f306dc9c883p-1
#define E_PIO2_1 0x1.921fb544p+0         /* 33 bits: n times it is exact for |n| < 2^20; so is the next */
#define E_PIO2_2 0x1.0b4611a6p-34
#define E_PIO2_3 0x1.3198a2e037073p-69

/* x - n pi/2 = *high + *low, |high| <= pi/4; returns n. 119 bits of pi/2: enough next to any multiple in range. */
V_INLINE vint e_trig_reduce(vreal x, vreal *high, vreal *low)
{
    vreal t = v_fma(x, v_set1(E_TWO_OVER_PI), v_set1(V_MAGIC)), n = v_sub(t, v_set1(V_MAGIC));
    vreal a = v_fnma(n, v_set1(E_PIO2_1), x), b = v_mul(n, v_set1(E_PIO2_2)); /* both exact */
    vreal r = v_sub(a, b), part = v_sub(r, a);
    vreal error = v_sub(v_sub(a, v_sub(r, part)), v_add(b, part)); /* Knuth: r + error = a - b */
    vreal rest = v_fnma(n, v_set1(E_PIO2_3), error);
    *high = v_add(r, rest);
    *low = v_add(v_sub(r, *high), rest);
    return vi_sub(v_bits(t), v_bits(v_set1(V_MAGIC)));
}

/* sin(r + low) on |r| <= pi/4: r + r z S(z) + low (1 - z / 2), z = r^2. S relative to sin: 2^-57.8. */
V_INLINE vreal e_sin_poly(vreal r, vreal low)
{
    vreal z = v_mul(r, r), q = v_set1(0x1.5d8b55e54eb43p-33);
    q = e_next(q, z, -0x1.ae5e4b84ca7c2p-26);
    q = e_next(q, z, 0x1.71de35552c27fp-19);
    q = e_next(q, z, -0x1.a01a019be921fp-13);
    q = e_next(q, z, 0x1.111111110f730p-7);
    q = e_next(q, z, -0x1.5555555555548p-3);
    vreal tail = v_fma(v_mul(r, z), q, v_fnma(v_mul(z, v_set1(0.5)), low, low));
    return v_select(v_eq(r, v_zero()), r, v_add(r, tail)); /* keeps -0 */
}

/* cos(r + low): 1 - z / 2 + z^2 C(z) - r low, the rounding of 1 - z / 2 given back. C relative to cos: 2^-63.9. */
V_INLINE vreal e_cos_poly(vreal r, vreal low)
{
    vreal z = v_mul(r, r), q = v_set1(-0x1.8fa65e5cf7a9dp-37);
    q = e_next(q, z, 0x1.1ee9db8de266cp-29);
    q = e_next(q, z, -0x1.27e4f7f140c34p-22);
    q = e_next(q, z, 0x1.a01a019c8ed04p-16);
    q = e_next(q, z, -0x1.6c16c16c15013p-10);
    q = e_next(q, z, 0x1.555555555554bp-5);
    vreal half = v_mul(z, v_set1(0.5)), top = v_sub(v_set1(1), half);
    vreal lost = v_sub(v_sub(v_set1(1), top), half);
    return v_add(top, v_add(lost, v_fma(v_mul(z, z), q, v_neg(v_mul(r, low)))));
}

/* sin(x + turn pi/2): turn 0 is sin, 1 is cos. */
V_INLINE vreal e_trig(vreal x, lane_int turn)
{
    vreal high, low, size = v_abs(x);
    vint n = vi_add(e_trig_reduce(x, &high, &low), vi_set1(turn));
    vmask odd = vi_eq(vi_and(n, vi_set1(1)), vi_set1(1));
    vreal y = v_select(odd, e_cos_poly(high, low), e_sin_poly(high, low));
    vint sign = vi_sll(vi_and(n, vi_set1(2)), 62); /* the second bit of n, moved to the sign */
    y = v_frombits(vi_xor(v_bits(y), sign));
    return v_select(v_le(size, v_set1(E_TRIG_MAX)), y, v_set1(__builtin_nan("")));
}

V_INLINE vreal v_sin(vreal x) { return v_select(v_lt(v_abs(x), v_set1(0x1p-27)), x, e_trig(x, 0)); }
V_INLINE vreal v_cos(vreal x) { return e_trig(x, 1); }
