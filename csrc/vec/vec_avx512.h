#pragma once
/* vec_avx512.h - AVX-512 F, DQ, BW, VL. Included by vec.h, which documents every function. */
#include <immintrin.h>

#if NN_REAL_IS_DOUBLE
#define VW 8
typedef __m512d vreal;
typedef __mmask8 vmask;
#define V_F(op) _mm512_##op##_pd
#define V_I(op) _mm512_##op##_epi64
#define V_CMP(a, b, how) _mm512_cmp_pd_mask(a, b, how)
#define V_CMPI(op) _mm512_##op##_epi64_mask
#else
#define VW 16
typedef __m512 vreal;
typedef __mmask16 vmask;
#define V_F(op) _mm512_##op##_ps
#define V_I(op) _mm512_##op##_epi32
#define V_CMP(a, b, how) _mm512_cmp_ps_mask(a, b, how)
#define V_CMPI(op) _mm512_##op##_epi32_mask
#endif
typedef __m512i vint;

V_INLINE vreal v_set1(real a) { return V_F(set1)(a); }
V_INLINE vreal v_load(const real *p) { return V_F(loadu)(p); }
V_INLINE void v_store(real *p, vreal v) { V_F(storeu)(p, v); }
V_INLINE vmask v_tail(int64_t n) { return (vmask)((1u << n) - 1u); }
V_INLINE vreal v_load_m(const real *p, vmask m) { return V_F(maskz_loadu)(m, p); }
V_INLINE void v_store_m(real *p, vmask m, vreal v) { V_F(mask_storeu)(p, m, v); }

V_INLINE vreal v_add(vreal a, vreal b) { return V_F(add)(a, b); }
V_INLINE vreal v_sub(vreal a, vreal b) { return V_F(sub)(a, b); }
V_INLINE vreal v_mul(vreal a, vreal b) { return V_F(mul)(a, b); }
V_INLINE vreal v_div(vreal a, vreal b) { return V_F(div)(a, b); }
V_INLINE vreal v_sqrt(vreal a) { return V_F(sqrt)(a); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return V_F(fmadd)(a, b, c); }
V_INLINE vreal v_fnma(vreal a, vreal b, vreal c) { return V_F(fnmadd)(a, b, c); }
V_INLINE vreal v_min(vreal a, vreal b) { return V_F(min)(a, b); } /* MINPS: a < b ? a : b */
V_INLINE vreal v_max(vreal a, vreal b) { return V_F(max)(a, b); }
V_INLINE vreal v_rint(vreal a) { return V_F(roundscale)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
V_INLINE vreal v_scalef(vreal a, vreal n) { return V_F(scalef)(a, n); } /* see v_ldexp */

V_INLINE vmask v_lt(vreal a, vreal b) { return V_CMP(a, b, _CMP_LT_OQ); }
V_INLINE vmask v_le(vreal a, vreal b) { return V_CMP(a, b, _CMP_LE_OQ); }
V_INLINE vmask v_gt(vreal a, vreal b) { return V_CMP(a, b, _CMP_GT_OQ); }
V_INLINE vmask v_ge(vreal a, vreal b) { return V_CMP(a, b, _CMP_GE_OQ); }
V_INLINE vmask v_eq(vreal a, vreal b) { return V_CMP(a, b, _CMP_EQ_OQ); }
V_INLINE vmask m_and(vmask a, vmask b) { return (vmask)(a & b); }
V_INLINE vmask m_or(vmask a, vmask b) { return (vmask)(a | b); }
V_INLINE vmask m_not(vmask a) { return (vmask)~a; }
V_INLINE int m_any(vmask m) { return m != 0; }
V_INLINE int m_all(vmask m) { return m == (vmask)-1; }
V_INLINE int m_count(vmask m) { return __builtin_popcount(m); }
V_INLINE vreal v_select(vmask m, vreal a, vreal b) { return V_F(mask_blend)(m, b, a); }

V_INLINE vint v_bits(vreal a)
{
#if NN_REAL_IS_DOUBLE
    return _mm512_castpd_si512(a);
#else
    return _mm512_castps_si512(a);
#endif
}
V_INLINE vreal v_frombits(vint a)
{
#if NN_REAL_IS_DOUBLE
    return _mm512_castsi512_pd(a);
#else
    return _mm512_castsi512_ps(a);
#endif
}
/* The instruction itself can broadcast a: one operation less to fetch. The compiler would load it apart, to use it twice. */
#define V_FMA_FROM
V_INLINE vreal v_fma_from(const real *a, vreal b, vreal c)
{
#if NN_REAL_IS_DOUBLE
    __asm__("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
#else
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
#endif
    return c;
}
V_INLINE vint vi_set1(lane_int a) { return V_I(set1)(a); }
/* Any lanes in any order, which other ISAs have not: lane l is element index[l] of a and b together. */
#define V_PICKS
V_INLINE vreal v_pick(vreal a, vreal b, vint index) { return V_F(permutex2var)(a, index, b); }
V_INLINE vint vi_add(vint a, vint b) { return V_I(add)(a, b); }
V_INLINE vint vi_sub(vint a, vint b) { return V_I(sub)(a, b); }
V_INLINE vint vi_and(vint a, vint b) { return _mm512_and_si512(a, b); }
V_INLINE vint vi_or(vint a, vint b) { return _mm512_or_si512(a, b); }
V_INLINE vint vi_xor(vint a, vint b) { return _mm512_xor_si512(a, b); }
V_INLINE vmask vi_gt(vint a, vint b) { return V_CMPI(cmpgt)(a, b); }
V_INLINE vmask vi_eq(vint a, vint b) { return V_CMPI(cmpeq)(a, b); }
V_INLINE vint vi_select(vmask m, vint a, vint b) { return V_I(mask_blend)(m, b, a); }
/* Macros: at -O0 the count must reach the instruction as a literal. */
#define vi_sll(a, n) V_I(slli)(a, n)
#define vi_srl(a, n) V_I(srli)(a, n)
#define vi_sra(a, n) V_I(srai)(a, n)

#if NN_REAL_IS_DOUBLE
V_INLINE vint v_toint(vreal a) { return _mm512_cvtpd_epi64(a); }
V_INLINE vreal v_fromint(vint a) { return _mm512_cvtepi64_pd(a); }
V_INLINE vreal v_from_bytes(__m128i b) { return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(b)); }
V_INLINE vreal v_load_u8(const uint8_t *p) { return v_from_bytes(_mm_loadl_epi64((const __m128i *)(const void *)p)); }
V_INLINE __m128i v_to_bytes(vint a) { return _mm512_cvtepi64_epi8(a); }
V_INLINE void v_store_u8(uint8_t *p, vint a) { _mm_storel_epi64((__m128i *)(void *)p, v_to_bytes(a)); }
V_INLINE vreal v_narrow(vreal a) { return _mm512_cvtps_pd(_mm512_cvtpd_ps(a)); }
V_INLINE vreal v_load_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
V_INLINE vreal v_load_f32_m(const float *p, vmask m) { return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, p)); }
V_INLINE void v_store_f32(float *p, vreal v) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)); }
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v) { _mm256_mask_storeu_ps(p, m, _mm512_cvtpd_ps(v)); }
#else
V_INLINE vint v_toint(vreal a) { return _mm512_cvtps_epi32(a); }
V_INLINE vreal v_fromint(vint a) { return _mm512_cvtepi32_ps(a); }
V_INLINE vreal v_from_bytes(__m128i b) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b)); }
V_INLINE vreal v_load_u8(const uint8_t *p) { return v_from_bytes(_mm_loadu_si128((const __m128i *)(const void *)p)); }
V_INLINE __m128i v_to_bytes(vint a) { return _mm512_cvtepi32_epi8(a); }
V_INLINE void v_store_u8(uint8_t *p, vint a) { _mm_storeu_si128((__m128i *)(void *)p, v_to_bytes(a)); }
V_INLINE vreal v_load_f32(const float *p) { return v_load(p); }
V_INLINE vreal v_load_f32_m(const float *p, vmask m) { return v_load_m(p, m); }
V_INLINE void v_store_f32(float *p, vreal v) { v_store(p, v); }
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v) { v_store_m(p, m, v); }
#endif
V_INLINE vreal v_load_u8_m(const uint8_t *p, int64_t n)
{
    return v_from_bytes(_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1u), p));
}
V_INLINE void v_store_u8_m(uint8_t *p, int64_t n, vint a)
{
    _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1u), v_to_bytes(a));
}
