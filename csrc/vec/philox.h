#pragma once
/* philox.h - the counter RNG of random.h in lanes: 128 words at once, which is how kernels draw. Included behind vec.h.
 *
 * A lane has 64 bits whose low half counts. Per ISA the widening multiplication and the interleaved store out[2 l] = a[l],
 * out[2 l + 1] = b[l] are written by hand: gcc 12 makes ten times as much of the plain loop. Shifts and xors are the
 * compilers' vector extension. Of a round's six operations (two products, two shifts, two xors of three) none can go. */
#include "../random.h"
#include "vec.h"
#include "transpose.h" /* V_UNROLL */

#if defined(NN_ISA_AVX512)
enum { PHILOX_LANES = 8 };
typedef uint64_t philox_v __attribute__((vector_size(64)));
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (philox_v)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b)); }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b)
{
    __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64((__m512i)a, low, (__m512i)b));
    _mm512_storeu_si512(out + 8, _mm512_permutex2var_epi64((__m512i)a, high, (__m512i)b));
}
#elif defined(NN_ISA_AVX2)
enum { PHILOX_LANES = 4 };
typedef uint64_t philox_v __attribute__((vector_size(32)));
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (philox_v)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b)); }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b)
{
    __m256i even = _mm256_unpacklo_epi64((__m256i)a, (__m256i)b), odd = _mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(out + 4), _mm256_permute2x128_si256(even, odd, 0x31));
}
#elif defined(NN_ISA_NEON)
enum { PHILOX_LANES = 2 };
typedef uint64_t philox_v __attribute__((vector_size(16)));
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (philox_v)vmull_n_u32(vmovn_u64((uint64x2_t)a), b); }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b)
{
    vst1q_u64(out, vzip1q_u64((uint64x2_t)a, (uint64x2_t)b));
    vst1q_u64(out + 2, vzip2q_u64((uint64x2_t)a, (uint64x2_t)b));
}
#else
enum { PHILOX_LANES = 1 };
typedef uint64_t philox_v;
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (uint64_t)(uint32_t)a * b; }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b) { out[0] = a; out[1] = b; }
#endif

enum {
    PHILOX_CHUNK = 128,/* words, */
    PHILOX_PAIRS = 64, /*   two to an out[], low half first */
    PHILOX_CHAINS = 4  /* a round waits for its multiplication: two chains fill the gap */
};

/* The keys of the ten rounds: found once for many chunks, and in memory, where a round reads them as it goes. */
typedef struct philox_keys {
    uint64_t k[20];
} philox_keys;

static philox_keys philox_schedule(uint64_t seed)
{
    philox_keys keys;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        keys.k[2 * round] = k0;
        keys.k[2 * round + 1] = k1;
    }
    return keys;
}

/* The words of blocks [block, block + 32). block is a multiple of 32: no carry. */
static void philox_words(uint64_t out[PHILOX_PAIRS], const philox_keys *keys, uint32_t stream, uint64_t index, uint32_t block)
{
    static const uint64_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int l = 0; l < PHILOX_CHUNK / 4; l += PHILOX_CHAINS * PHILOX_LANES) {
        philox_v c0[PHILOX_CHAINS], c1[PHILOX_CHAINS], c2[PHILOX_CHAINS], c3[PHILOX_CHAINS], zero = {0};
        for (int v = 0; v < PHILOX_CHAINS; v++) {
            memcpy(&c0[v], lane, sizeof c0[v]);
            c0[v] = c0[v] + (uint64_t)(block + (uint32_t)(l + v * PHILOX_LANES));
            c1[v] = zero + (uint64_t)(uint32_t)index;
            c2[v] = zero + (index >> 32);
            c3[v] = zero + (uint64_t)stream;
        }
        V_UNROLL for (int round = 0; round < 10; round++)
            V_UNROLL for (int v = 0; v < PHILOX_CHAINS; v++) { /* as in random.h; high halves are never looked at */
                philox_v p0 = philox_mul(c0[v], 0xD2511F53u), p1 = philox_mul(c2[v], 0xCD9E8D57u);
                c0[v] = p1 >> 32 ^ c1[v] ^ (zero + keys->k[2 * round]);
                c1[v] = p1;
                c2[v] = p0 >> 32 ^ c3[v] ^ (zero + keys->k[2 * round + 1]);
                c3[v] = p0;
            }
        philox_v low = zero + (uint64_t)0xffffffffu;
        for (int v = 0; v < PHILOX_CHAINS; v++)
            philox_zip(out + 2 * (l + v * PHILOX_LANES), (c0[v] & low) | c1[v] << 32, (c2[v] & low) | c3[v] << 32);
    }
}

/* Word i of a chunk; and words [i, i + VW), one to a lane, unsigned: the sign bit is a word's highest if real is float. */
V_INLINE uint32_t philox_word(const uint64_t *words, int64_t i) { return (uint32_t)(words[i / 2] >> 32 * (i % 2)); }
V_INLINE vint philox_lanes(const uint64_t *words, int64_t i)
{
#if defined(NN_ISA_AVX512) || defined(NN_ISA_AVX2) || defined(NN_ISA_NEON)
    uint32_t v __attribute__((vector_size(4 * VW)));
    memcpy(&v, (const char *)words + 4 * i, sizeof v);
#if NN_REAL_IS_DOUBLE
    typedef uint64_t wide __attribute__((vector_size(8 * VW)));
    return (vint)__builtin_convertvector(v, wide);
#else
    return (vint)v;
#endif
#elif defined(NN_ISA_RANDOM)
    vint v;
    memcpy(&v, (const char *)words + 4 * i, sizeof v);
    return v;
#else
    return (lane_int)philox_word(words, i);
#endif
}

/* Lanes of words [i, i + VW) that are less than t. */
V_INLINE vmask philox_below(const uint64_t *words, int64_t i, uint32_t t)
{
#if NN_REAL_IS_DOUBLE
    return vi_gt(vi_set1((lane_int)t), philox_lanes(words, i));
#else
    return vi_gt(vi_set1((lane_int)(t ^ 0x80000000u)), vi_xor(philox_lanes(words, i), vi_set1(V_SIGN)));
#endif
}

#if NN_REAL_IS_DOUBLE
/* 2^52 times uniform53 of pairs [i, i + VW): their 52 bits under the exponent of 2^52, less 2^52 - 1/2, exact. The first word of
 * a pair is the high one. */
V_INLINE vreal philox_uniform(const uint64_t words[PHILOX_PAIRS], int i)
{
    vint w;
    memcpy(&w, words + i, sizeof w);
    vint bits = vi_or(vi_srl(vi_sll(w, 32), 12), vi_srl(w, 44));
    return v_sub(v_frombits(vi_or(bits, v_bits(v_set1(0x1p52)))), v_set1(0x1p52 - 0.5));
}
#endif
