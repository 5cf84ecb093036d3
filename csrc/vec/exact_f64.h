#pragma once
/* exact_f64.h - exp, expm1, log, tanh, sigmoid, softplus, erf, Phi of floats, correctly rounded: the nearest float to the true
 * value, ties cannot be. Included by double kernels, behind elementary.h.
 *
 * The functions of elementary.h in double are off by at most 2 ulp there, 2^-51 of the value. A margin of 64 times that is
 * taken: where the two ends of [d (1 - 2^-45), d (1 + 2^-45)] round to one float, that is the float; where not, about once in
 * a million, ziv.c is asked. So the bits are a fact of mathematics, on every ISA; that the bounds hold for every float is
 * what tests/c/exhaustive_exact.c shows. Sources: Ziv 1991; Sibidanov, Zimmermann, Glondu, "The CORE-MATH project", ARITH 2022.
 *
 * Subnormal floats and overflow need no thought: v_narrow rounds where a float would. Products keep the sign of a zero. */
#include "../ziv.h"

enum { X_FLOATS = VW == 1 ? 1 : 2 * VW }; /* a call: the lanes of one vector of floats */
#define X_MARGIN 0x1p-45

/* The lanes that are open; out of line, for few come here. */
static __attribute__((noinline)) void x_ask(float *y, const float *x, vreal low, vreal high, nn_ziv_fn *ziv)
{
    real a[VW], b[VW];
    v_store(a, low);
    v_store(b, high);
    for (int l = 0; l < VW; l++)
        if (__builtin_islessgreater(a[l], b[l]))
            y[l] = ziv(x[l]);
}

V_INLINE void x_settle(float *y, const float *x, vreal d, nn_ziv_fn *ziv)
{
    vreal low = v_narrow(v_mul(d, v_set1(1 - X_MARGIN))), high = v_narrow(v_mul(d, v_set1(1 + X_MARGIN)));
    v_store_f32(y, low);
    if (m_any(m_or(v_lt(low, high), v_gt(low, high)))) /* neither if NaN */
        x_ask(y, x, low, high, ziv);
}

/* y (X_FLOATS) = f(x), no aliasing. All values first, so that the chains of vectors overlap. */
#define X_FUNCTION(name) \
    static void exact_##name(float *y, const float *x) \
    { \
        vreal d[X_FLOATS / VW]; \
        for (int i = 0; i < X_FLOATS / VW; i++) \
            d[i] = v_##name(v_load_f32(x + i * VW)); \
        for (int i = 0; i < X_FLOATS / VW; i++) \
            x_settle(y + i * VW, x + i * VW, d[i], nn_ziv_##name); \
    }
X_FUNCTION(exp)
X_FUNCTION(expm1)
X_FUNCTION(log)
X_FUNCTION(tanh)
X_FUNCTION(sigmoid)
X_FUNCTION(softplus)
X_FUNCTION(erf)
X_FUNCTION(normal_cdf)
