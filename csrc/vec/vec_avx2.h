#pragma once
/* vec_avx2.h - AVX2 and FMA. Included by vec.h, which documents every function. A mask is a vector of all-ones lanes. */
#include <immintrin.h>

#if NN_REAL_IS_DOUBLE
#define VW 4
typedef __m256d vreal;
#define V_F(op) _mm256_##op##_pd
#define V_I(op) _mm256_##op##_epi64
#define V_CMP(a, b, how) _mm256_cmp_pd(a, b, how)
#define V_FROM_BITS(a) _mm256_castsi256_pd(a)
#define V_TO_BITS(a) _mm256_castpd_si256(a)
#else
#define VW 8
typedef __m256 vreal;
#define V_F(op) _mm256_##op##_ps
#define V_I(op) _mm256_##op##_epi32
#define V_CMP(a, b, how) _mm256_cmp_ps(a, b, how)
#define V_FROM_BITS(a) _mm256_castsi256_ps(a)
#define V_TO_BITS(a) _mm256_castps_si256(a)
#endif
typedef __m256i vint;
typedef vreal vmask;

V_INLINE vreal v_set1(real a) { return V_F(set1)(a); }
V_INLINE vint v_bits(vreal a) { return V_TO_BITS(a); }
V_INLINE vreal v_frombits(vint a) { return V_FROM_BITS(a); }
V_INLINE vreal v_load(const real *p) { return V_F(loadu)(p); }
V_INLINE void v_store(real *p, vreal v) { V_F(storeu)(p, v); }
V_INLINE vreal v_load_m(const real *p, vmask m) { return V_F(maskload)(p, V_TO_BITS(m)); }
/* A masked store takes 11 cycles on AMD's Zen 3 however many lanes it stores, a plain one 1.3: the last vector of a tile,
 * most often a whole one, took longer than the FMAs of a first layer (1 -> 32 maps, 3x3: 15 % of the peak with, 27 % without). */
V_INLINE void v_store_m(real *p, vmask m, vreal v)
{
    if (V_F(movemask)(m) == (1 << VW) - 1)
        v_store(p, v);
    else
        V_F(maskstore)(p, V_TO_BITS(m), v);
}

V_INLINE vreal v_add(vreal a, vreal b) { return V_F(add)(a, b); }
V_INLINE vreal v_sub(vreal a, vreal b) { return V_F(sub)(a, b); }
V_INLINE vreal v_mul(vreal a, vreal b) { return V_F(mul)(a, b); }
V_INLINE vreal v_div(vreal a, vreal b) { return V_F(div)(a, b); }
V_INLINE vreal v_sqrt(vreal a) { return V_F(sqrt)(a); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return V_F(fmadd)(a, b, c); }
V_INLINE vreal v_fnma(vreal a, vreal b, vreal c) { return V_F(fnmadd)(a, b, c); }
V_INLINE vreal v_min(vreal a, vreal b) { return V_F(min)(a, b); } /* MINPS: a < b ? a : b */
V_INLINE vreal v_max(vreal a, vreal b) { return V_F(max)(a, b); }
V_INLINE vreal v_rint(vreal a) { return V_F(round)(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

V_INLINE vmask v_lt(vreal a, vreal b) { return V_CMP(a, b, _CMP_LT_OQ); }
V_INLINE vmask v_le(vreal a, vreal b) { return V_CMP(a, b, _CMP_LE_OQ); }
V_INLINE vmask v_gt(vreal a, vreal b) { return V_CMP(a, b, _CMP_GT_OQ); }
V_INLINE vmask v_ge(vreal a, vreal b) { return V_CMP(a, b, _CMP_GE_OQ); }
V_INLINE vmask v_eq(vreal a, vreal b) { return V_CMP(a, b, _CMP_EQ_OQ); }
V_INLINE vmask m_and(vmask a, vmask b) { return V_F(and)(a, b); }
V_INLINE vmask m_or(vmask a, vmask b) { return V_F(or)(a, b); }
V_INLINE vmask m_not(vmask a) { return V_FROM_BITS(_mm256_xor_si256(V_TO_BITS(a), _mm256_set1_epi32(-1))); }
V_INLINE int m_any(vmask m) { return V_F(movemask)(m) != 0; }
V_INLINE int m_all(vmask m) { return V_F(movemask)(m) == (1 << VW) - 1; }
V_INLINE int m_count(vmask m) { return __builtin_popcount((unsigned)V_F(movemask)(m)); }
V_INLINE vreal v_select(vmask m, vreal a, vreal b) { return V_F(blendv)(b, a, m); }

V_INLINE vint vi_add(vint a, vint b) { return V_I(add)(a, b); }
V_INLINE vint vi_sub(vint a, vint b) { return V_I(sub)(a, b); }
V_INLINE vint vi_and(vint a, vint b) { return _mm256_and_si256(a, b); }
V_INLINE vint vi_or(vint a, vint b) { return _mm256_or_si256(a, b); }
V_INLINE vint vi_xor(vint a, vint b) { return _mm256_xor_si256(a, b); }
V_INLINE vmask vi_gt(vint a, vint b) { return V_FROM_BITS(V_I(cmpgt)(a, b)); }
V_INLINE vmask vi_eq(vint a, vint b) { return V_FROM_BITS(V_I(cmpeq)(a, b)); }
V_INLINE vint vi_select(vmask m, vint a, vint b) { return _mm256_blendv_epi8(b, a, V_TO_BITS(m)); }
/* Macros: at -O0 the count must reach the instruction as a literal. */
#define vi_sll(a, n) V_I(slli)(a, n)
#define vi_srl(a, n) V_I(srli)(a, n)

#if NN_REAL_IS_DOUBLE
V_INLINE vint vi_set1(lane_int a) { return _mm256_set1_epi64x(a); }
V_INLINE vmask v_tail(int64_t n) { return vi_gt(vi_set1(n), _mm256_setr_epi64x(0, 1, 2, 3)); }
/* AVX2 has no 64-bit arithmetic shift: fill the vacated bits with the sign (a shift by 64 gives 0, so n = 0 is right). */
#define vi_sra(a, n) vi_sra_(a, _mm256_srli_epi64(a, n), 64 - (n))
V_INLINE vint vi_sra_(vint a, vint shifted, int left)
{
    vint sign = _mm256_cmpgt_epi64(_mm256_setzero_si256(), a);
    return _mm256_or_si256(shifted, _mm256_slli_epi64(sign, left));
}
/* AVX2 does not convert 64-bit integers: with V_MAGIC added, the integer stands in the low bits of the double. */
V_INLINE vint v_toint(vreal a) { return vi_sub(v_bits(v_add(a, v_set1(V_MAGIC))), v_bits(v_set1(V_MAGIC))); }
V_INLINE vreal v_fromint(vint a) { return v_sub(v_frombits(vi_add(a, v_bits(v_set1(V_MAGIC)))), v_set1(V_MAGIC)); }
V_INLINE vreal v_from_bytes(__m128i b) { return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(b)); }
V_INLINE int64_t v_to_bytes(vint a)
{
    __m256i low = _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_castsi256_si128(low));
    return _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
}
V_INLINE __m128i v_half_mask(vmask m) /* the low 32 bits of each lane */
{
    __m256i low = _mm256_permutevar8x32_epi32(V_TO_BITS(m), _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    return _mm256_castsi256_si128(low);
}
V_INLINE vreal v_narrow(vreal a) { return _mm256_cvtps_pd(_mm256_cvtpd_ps(a)); }
V_INLINE vreal v_load_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
V_INLINE vreal v_load_f32_m(const float *p, vmask m) { return _mm256_cvtps_pd(_mm_maskload_ps(p, v_half_mask(m))); }
V_INLINE void v_store_f32(float *p, vreal v) { _mm_storeu_ps(p, _mm256_cvtpd_ps(v)); }
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v) { _mm_maskstore_ps(p, v_half_mask(m), _mm256_cvtpd_ps(v)); }
#else
V_INLINE vint vi_set1(lane_int a) { return _mm256_set1_epi32(a); }
V_INLINE vmask v_tail(int64_t n) { return vi_gt(vi_set1((lane_int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
#define vi_sra(a, n) V_I(srai)(a, n)
V_INLINE vint v_toint(vreal a) { return _mm256_cvtps_epi32(a); }
V_INLINE vreal v_fromint(vint a) { return _mm256_cvtepi32_ps(a); }
V_INLINE vreal v_from_bytes(__m128i b) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)); }
V_INLINE int64_t v_to_bytes(vint a)
{
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    return _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
}
V_INLINE vreal v_load_f32(const float *p) { return v_load(p); }
V_INLINE vreal v_load_f32_m(const float *p, vmask m) { return v_load_m(p, m); }
V_INLINE void v_store_f32(float *p, vreal v) { v_store(p, v); }
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v) { v_store_m(p, m, v); }
#endif

V_INLINE vreal v_load_u8(const uint8_t *p)
{
    int64_t bytes = 0;
    memcpy(&bytes, p, VW);
    return v_from_bytes(_mm_cvtsi64_si128(bytes));
}
/* Bytes of a tail go in pieces of 8, 4, 2 and 1: a copy of unknown length would be a call. */
V_INLINE vreal v_load_u8_m(const uint8_t *p, int64_t n)
{
    uint64_t bytes = 0, piece = 0;
    int64_t at = 0;
    if (n & 4) memcpy(&bytes, p, 4), at = 4;
    if (n & 2) memcpy(&piece, p + at, 2), bytes |= piece << (8 * at), at += 2;
    if (n & 1) bytes |= (uint64_t)p[at] << (8 * at);
    return n & 8 ? v_load_u8(p) : v_from_bytes(_mm_cvtsi64_si128((int64_t)bytes));
}
V_INLINE void v_store_u8(uint8_t *p, vint a)
{
    int64_t bytes = v_to_bytes(a);
    memcpy(p, &bytes, VW);
}
V_INLINE void v_store_u8_m(uint8_t *p, int64_t n, vint a)
{
    int64_t bytes = v_to_bytes(a);
    if (n & 8) memcpy(p, &bytes, 8);
    if (n & 4) memcpy(p, &bytes, 4), p += 4, bytes >>= 32;
    if (n & 2) memcpy(p, &bytes, 2), p += 2, bytes >>= 16;
    if (n & 1) *p = (uint8_t)bytes;
}
