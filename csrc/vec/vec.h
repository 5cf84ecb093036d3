#pragma once
/* vec.h - the vector vocabulary every KERNEL part is written in: VW lanes of `real`, one thin header per ISA.
 *
 * The build picks the ISA (NN_ISA_AVX512, NN_ISA_AVX2, NN_ISA_NEON, else scalar: VW = 1) and the type
 * (NN_REAL_IS_DOUBLE 0 or 1). The scalar build fuses with the CPU's fma if the flags allow it (-mfma) and with our own
 * exact one (fma_soft.h) if not: the second is the "portable" level. NN_ISA_RANDOM is sixteen lanes with random roundings on
 * any ISA.
 *
 * The promise (numerics.md R4, R5): each function is one correctly rounded IEEE operation per lane, or an exact bit
 * operation, so the same program gives the same bits on every ISA. Only the payload and sign of a NaN are not covered.
 * Nothing here approximates (no rcp, rsqrt), reorders, or contracts; round to nearest even is assumed.
 *
 * What the ISA headers define, all static inline:
 *   types      vreal; vint: signed integer lanes as wide as real (lane_int); vmask: one truth value per lane
 *   memory     v_load v_store (unaligned); v_load_m v_store_m (lanes outside the mask give +0 and are not touched);
 *              v_tail(n): the first n lanes, 0 <= n <= VW; v_load_u8 v_load_f32 v_store_f32 convert, with _m forms;
 *              v_store_u8, v_store_u8_m(p, n, a): integer lanes of 0 to 255 as bytes; v_narrow: rounded to float (double only)
 *   arithmetic v_add v_sub v_mul v_div v_sqrt; v_fma(a, b, c) = a b + c, v_fnma(a, b, c) = c - a b, rounded once;
 *              v_fma_from(p, b, c) = v_fma(v_set1(*p), b, c);
 *              v_min(a, b) = a < b ? a : b and v_max(a, b) = a > b ? a : b: b if either is NaN or both are zeros
 *   compare    v_lt v_le v_gt v_ge v_eq: ordered, false on NaN; m_and m_or m_not m_any m_all m_count
 *   choose     v_select(m, a, b), vi_select(m, a, b): m ? a : b, bit by bit (NaN and -0 pass through)
 *   convert    v_rint: to nearest even, keeps -0; v_toint: exact for an integral |v| <= 2^22 (float) or 2^51 (double),
 *              unspecified but harmless outside and for NaN; v_fromint: exact in the same range
 *   integers   vi_set1 vi_add vi_sub (wrap around) vi_and vi_or vi_xor vi_gt vi_eq; vi_sll vi_srl vi_sra: by a constant
 *   bits       v_bits, v_frombits: reinterpret */
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "nncore promises bits: build without -ffast-math and -Ofast"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "float must be evaluated as float: on 32-bit x86 build with -msse2 -mfpmath=sse"
#endif
#if !defined(NN_REAL_IS_DOUBLE)
#error "define NN_REAL_IS_DOUBLE as 0 or 1"
#endif

/* Inlined even at -O0: a vector argument never meets a calling convention, and no copy is left for the linker. */
#define V_INLINE static inline __attribute__((always_inline))

#if NN_REAL_IS_DOUBLE
typedef double real;
typedef int64_t lane_int;
#define V_MANTISSA 52        /* stored bits of the significand */
#define V_BIAS 1023          /* of the exponent field */
#define V_MAGIC 0x1.8p52     /* |v| <= V_MAGIC / 3: the low bits of v + V_MAGIC are rint(v) */
#else
typedef float real;
typedef int32_t lane_int;
#define V_MANTISSA 23
#define V_BIAS 127
#define V_MAGIC 0x1.8p23f
#endif
#define V_SIGN ((lane_int)((uint64_t)1 << (8 * sizeof(real) - 1) | (uint64_t)-1 << (8 * sizeof(real) - 1)))

#if defined(NN_ISA_RANDOM)
#include "vec_random.h"
#elif defined(NN_ISA_AVX512)
#include "vec_avx512.h"
#elif defined(NN_ISA_AVX2)
#include "vec_avx2.h"
#elif defined(NN_ISA_NEON)
#include "vec_neon.h"
#else
#include "vec_scalar.h"
#endif
#if !defined(V_FMA_FROM)
V_INLINE vreal v_fma_from(const real *a, vreal b, vreal c) { return v_fma(v_set1(*a), b, c); }
#endif

/* ---- the same on every ISA ------------------------------------------------------------------------------------*/
V_INLINE vreal v_zero(void) { return v_set1(0); }
V_INLINE vreal v_neg(vreal a) { return v_frombits(vi_xor(v_bits(a), vi_set1(V_SIGN))); }
V_INLINE vreal v_abs(vreal a) { return v_frombits(vi_and(v_bits(a), vi_set1(~V_SIGN))); }
V_INLINE vmask v_isnan(vreal a) { return m_not(v_eq(a, a)); }

/* |magnitude| with the sign of `sign`, which may be a zero or a NaN. */
V_INLINE vreal v_copysign(vreal magnitude, vreal sign)
{
    vint s = vi_set1(V_SIGN);
    return v_frombits(vi_or(vi_and(v_bits(sign), s), vi_and(v_bits(magnitude), vi_set1(~V_SIGN))));
}

/* 2^k for k in the range of normal numbers. */
V_INLINE vreal v_exp2i(vint k) { return v_frombits(vi_sll(vi_add(k, vi_set1(V_BIAS)), V_MANTISSA)); }

/* v 2^n, rounded once (gradual underflow, overflow to inf), for 1/4 <= |v| < 4 or NaN, n integral, |n| <= 2 V_BIAS - 4.
 * In two steps 2^n needs no exponent outside the normal range: the first product is exact, only the second rounds.
 * That is the definition of vscalef too, so AVX-512 takes its one instruction and gets the same bits. */
V_INLINE vreal v_ldexp(vreal v, vreal n)
{
#if defined(NN_ISA_AVX512)
    return v_scalef(v, n);
#else
    vint k = v_toint(n), half = vi_sra(k, 1);
    return v_mul(v_mul(v, v_exp2i(half)), v_exp2i(vi_sub(k, half)));
#endif
}

/* ---- sums in 16 virtual lanes (numerics.md R3) ----------------------------------------------------------------
 * Element i of a row goes to lane i mod 16, the lanes are added as a tree 8-4-2-1. One zmm of float, two of double or
 * ymm of float, four NEON registers and sixteen scalars hold the same lanes, so the bits agree. Blocks: VW lanes each. */
#define V_BLOCKS (16 / VW)
typedef struct vsum16 {
    vreal v[V_BLOCKS];
} vsum16;

V_INLINE vsum16 s16_zero(void)
{
    vsum16 s;
    for (int b = 0; b < V_BLOCKS; b++) s.v[b] = v_zero();
    return s;
}

/* Lanes of block b that the first n of 16 elements reach. */
V_INLINE vmask s16_tail(int b, int64_t n)
{
    int64_t left = n - (int64_t)b * VW;
    return v_tail(left < 0 ? 0 : left > VW ? VW : left);
}

/* Lanes of block b: s += v. The _m form leaves lanes outside m as they are: adding +0 would turn a -0 into +0. */
V_INLINE void s16_acc(vsum16 *s, int b, vreal v) { s->v[b] = v_add(s->v[b], v); }
V_INLINE void s16_acc_m(vsum16 *s, int b, vmask m, vreal v) { s->v[b] = v_select(m, v_add(s->v[b], v), s->v[b]); }

/* s += p[0..15] */
V_INLINE void s16_add(vsum16 *s, const real *p)
{
    for (int b = 0; b < V_BLOCKS; b++) s16_acc(s, b, v_load(p + b * VW));
}

/* s += p[0..n-1], 0 <= n <= 16; nothing else of p is read. */
V_INLINE void s16_add_n(vsum16 *s, const real *p, int64_t n)
{
    for (int b = 0; b < V_BLOCKS && (int64_t)b * VW < n; b++) {
        vmask m = s16_tail(b, n);
        s16_acc_m(s, b, m, v_load_m(p + b * VW, m));
    }
}

/* s += a[i] b[i], one fma per element. */
V_INLINE void s16_fma(vsum16 *s, const real *a, const real *b)
{
    for (int i = 0; i < V_BLOCKS; i++) s->v[i] = v_fma(v_load(a + i * VW), v_load(b + i * VW), s->v[i]);
}

V_INLINE void s16_fma_n(vsum16 *s, const real *a, const real *b, int64_t n)
{
    for (int i = 0; i < V_BLOCKS && (int64_t)i * VW < n; i++) {
        vmask m = s16_tail(i, n);
        s->v[i] = v_select(m, v_fma(v_load_m(a + i * VW, m), v_load_m(b + i * VW, m), s->v[i]), s->v[i]);
    }
}

/* The tree: lane i + lane i + 8, then + 4, + 2, + 1. The float levels of x86 keep it in registers: the same additions. */
V_INLINE real s16_total(const vsum16 *s)
{
#if (defined(NN_ISA_AVX512) || defined(NN_ISA_AVX2)) && !NN_REAL_IS_DOUBLE
#if defined(NN_ISA_AVX512)
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(s->v[0]), _mm512_extractf32x8_ps(s->v[0], 1));
#else
    __m256 eight = _mm256_add_ps(s->v[0], s->v[1]);
#endif
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#elif defined(NN_ISA_RANDOM)
    real lane[32] = {0};
    v_store(lane, s->v[0]);
    for (int half = 8; half > 0; half /= 2)
        v_store(lane, v_add(v_load(lane), v_load(lane + half)));
    return lane[0];
#else
    real lane[16];
    for (int b = 0; b < V_BLOCKS; b++) v_store(lane + b * VW, s->v[b]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] = lane[i] + lane[i + half];
    return lane[0];
#endif
}
