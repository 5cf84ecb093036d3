#pragma once
/* vec_scalar.h - one lane in plain C: the level every CPU has, and the one the others are compared with.
 * Included by vec.h, which documents every function. No libm: it would pick its own code at run time (numerics.md R7). */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define V_FMA_SOFT 0
#else
#define V_FMA_SOFT 1
#include "fma_soft.h"
#endif
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define VW 1
typedef real vreal;
typedef lane_int vint;
typedef int vmask;
#if NN_REAL_IS_DOUBLE
typedef uint64_t lane_uint;
#else
typedef uint32_t lane_uint;
#endif

V_INLINE vint v_bits(vreal a)
{
    vint i;
    memcpy(&i, &a, sizeof i);
    return i;
}
V_INLINE vreal v_frombits(vint a)
{
    vreal f;
    memcpy(&f, &a, sizeof f);
    return f;
}

V_INLINE vreal v_set1(real a) { return a; }
V_INLINE vreal v_load(const real *p) { return *p; }
V_INLINE void v_store(real *p, vreal v) { *p = v; }
V_INLINE vmask v_tail(int64_t n) { return n > 0; }
V_INLINE vreal v_load_m(const real *p, vmask m) { return m ? *p : 0; }
V_INLINE void v_store_m(real *p, vmask m, vreal v)
{
    if (m) *p = v;
}

V_INLINE vreal v_add(vreal a, vreal b) { return a + b; }
V_INLINE vreal v_sub(vreal a, vreal b) { return a - b; }
V_INLINE vreal v_mul(vreal a, vreal b) { return a * b; }
V_INLINE vreal v_div(vreal a, vreal b) { return a / b; }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c)
{
#if V_FMA_SOFT && NN_REAL_IS_DOUBLE
    return nn_fma_soft(a, b, c);
#elif V_FMA_SOFT
    return nn_fmaf_soft(a, b, c);
#elif NN_REAL_IS_DOUBLE
    return __builtin_fma(a, b, c);
#else
    return __builtin_fmaf(a, b, c);
#endif
}

/* The instruction, where C's sqrt() might become a call that sets errno. */
V_INLINE vreal v_sqrt(vreal a)
{
#if defined(__SSE2__) && NN_REAL_IS_DOUBLE
    return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(a)));
#elif defined(__SSE2__)
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a)));
#elif defined(__aarch64__) && NN_REAL_IS_DOUBLE
    return vget_lane_f64(vsqrt_f64(vdup_n_f64(a)), 0);
#elif defined(__aarch64__)
    return vget_lane_f32(vsqrt_f32(vdup_n_f32(a)), 0);
#elif NN_REAL_IS_DOUBLE
    return __builtin_sqrt(a);
#else
    return __builtin_sqrtf(a);
#endif
}
V_INLINE vreal v_fnma(vreal a, vreal b, vreal c) { return v_fma(-a, b, c); }

/* The __builtin forms are quiet: no invalid flag for a quiet NaN. */
V_INLINE vmask v_lt(vreal a, vreal b) { return __builtin_isless(a, b); }
V_INLINE vmask v_le(vreal a, vreal b) { return __builtin_islessequal(a, b); }
V_INLINE vmask v_gt(vreal a, vreal b) { return __builtin_isgreater(a, b); }
V_INLINE vmask v_ge(vreal a, vreal b) { return __builtin_isgreaterequal(a, b); }
V_INLINE vmask v_eq(vreal a, vreal b) { return a == b; }
V_INLINE vmask m_and(vmask a, vmask b) { return a & b; }
V_INLINE vmask m_or(vmask a, vmask b) { return a | b; }
V_INLINE vmask m_not(vmask a) { return !a; }
V_INLINE int m_any(vmask m) { return m; }
V_INLINE int m_all(vmask m) { return m; }
V_INLINE int m_count(vmask m) { return m; }
V_INLINE vreal v_select(vmask m, vreal a, vreal b) { return m ? a : b; }
V_INLINE vreal v_min(vreal a, vreal b) { return v_select(v_lt(a, b), a, b); }
V_INLINE vreal v_max(vreal a, vreal b) { return v_select(v_gt(a, b), a, b); }

/* Through unsigned: signed overflow and left shifts of negative numbers are undefined in C. */
V_INLINE vint vi_set1(lane_int a) { return a; }
V_INLINE vint vi_add(vint a, vint b) { return (vint)((lane_uint)a + (lane_uint)b); }
V_INLINE vint vi_sub(vint a, vint b) { return (vint)((lane_uint)a - (lane_uint)b); }
V_INLINE vint vi_and(vint a, vint b) { return a & b; }
V_INLINE vint vi_or(vint a, vint b) { return a | b; }
V_INLINE vint vi_xor(vint a, vint b) { return a ^ b; }
V_INLINE vint vi_sll(vint a, int n) { return (vint)((lane_uint)a << n); }
V_INLINE vint vi_srl(vint a, int n) { return (vint)((lane_uint)a >> n); }
V_INLINE vint vi_sra(vint a, int n) { return a >> n; } /* arithmetic in gcc and clang */
V_INLINE vmask vi_gt(vint a, vint b) { return a > b; }
V_INLINE vmask vi_eq(vint a, vint b) { return a == b; }
V_INLINE vint vi_select(vmask m, vint a, vint b) { return m ? a : b; }

/* With V_MAGIC added, the nearest integer stands in the low bits of the significand; a C cast of NaN is undefined. */
V_INLINE vint v_toint(vreal a) { return vi_sub(v_bits(a + V_MAGIC), v_bits(V_MAGIC)); }
V_INLINE vreal v_fromint(vint a) { return (vreal)a; }

/* Adding and taking away 2^V_MANTISSA rounds to an integer; from there on every real is one. */
V_INLINE vreal v_rint(vreal a)
{
    vint sign = (vint)(v_bits(a) & V_SIGN);
    vreal size = v_frombits(v_bits(a) & ~V_SIGN), whole = (vreal)((lane_uint)1 << V_MANTISSA);
    vreal near = (size + whole) - whole;
    return __builtin_isless(size, whole) ? v_frombits(v_bits(near) | sign) : a;
}

V_INLINE vreal v_load_u8(const uint8_t *p) { return *p; }
V_INLINE vreal v_load_u8_m(const uint8_t *p, int64_t n) { return n > 0 ? *p : 0; }
V_INLINE void v_store_u8(uint8_t *p, vint a) { *p = (uint8_t)a; }
V_INLINE void v_store_u8_m(uint8_t *p, int64_t n, vint a)
{
    if (n > 0) *p = (uint8_t)a;
}
V_INLINE vreal v_narrow(vreal a) { return (float)a; }
V_INLINE vreal v_load_f32(const float *p) { return *p; }
V_INLINE vreal v_load_f32_m(const float *p, vmask m) { return m ? *p : 0; }
V_INLINE void v_store_f32(float *p, vreal v) { *p = (float)v; }
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v)
{
    if (m) *p = (float)v;
}
