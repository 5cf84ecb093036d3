/* csv_avx2.h - csv_loop.h's steps with AVX2 and BMI2: value = d1 + 10 d2 + 100 d3 at every byte; eight bytes at a time,
 * PEXT keeps those where a number ends. */
#define AVX2_CSV __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))

static int has_csv_avx2(void)
{
    /* The first Zens do PEXT bit by bit in microcode. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && !__builtin_cpu_is("znver1") &&
           !__builtin_cpu_is("znver2");
}

AVX2_CSV static inline __m256i digits_avx2(const uint8_t *p, __m256i *are)
{
    __m256i d = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)p), _mm256_set1_epi8('0'));
    *are = _mm256_cmpeq_epi8(_mm256_min_epu8(d, _mm256_set1_epi8(9)), d);
    return d;
}

AVX2_CSV static inline uint64_t mask_avx2(__m256i a, __m256i b)
{
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32 | (uint32_t)_mm256_movemask_epi8(a);
}

AVX2_CSV static inline void classify_avx2(const uint8_t *p, uint64_t *digits, uint64_t *commas)
{
    const __m256i comma = _mm256_set1_epi8(',');
    __m256i a, b;
    digits_avx2(p, &a);
    digits_avx2(p + 32, &b);
    *digits = mask_avx2(a, b);
    a = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)p), comma);
    b = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(p + 32)), comma);
    *commas = mask_avx2(a, b);
}

/* The values of numbers that would end at the 32 bytes at p, and whether they are in range. */
AVX2_CSV static inline __m256i values_avx2(const uint8_t *p, __m256i most, __m256i *fit)
{
    const __m256i tens = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0, 0, 0, 0));
    const __m256i hundreds = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 100, -56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i are1, are2, are3;
    __m256i d1 = digits_avx2(p - 1, &are1), d2 = digits_avx2(p - 2, &are2), d3 = digits_avx2(p - 3, &are3);
    d2 = _mm256_and_si256(d2, are2);
    d3 = _mm256_and_si256(_mm256_and_si256(d3, are3), are2);
    __m256i high = _mm256_shuffle_epi8(hundreds, d3);
    __m256i value = _mm256_add_epi8(_mm256_add_epi8(d1, _mm256_shuffle_epi8(tens, d2)), high);
    __m256i least = _mm256_cmpeq_epi8(_mm256_max_epu8(value, high), value); /* else 256 to 299, wrapped */
    *fit = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_min_epu8(value, most), value), least);
    *fit = _mm256_andnot_si256(_mm256_cmpgt_epi8(d3, _mm256_set1_epi8(2)), *fit);
    return value;
}

AVX2_CSV static inline int emit_avx2(uint8_t *out, const uint8_t *p, const csv_block *b, uint32_t max)
{
    const __m256i most = _mm256_set1_epi8((char)max);
    __m256i fit[2];
    uint64_t value[8];
    _mm256_storeu_si256((__m256i *)value, values_avx2(p, most, &fit[0]));
    _mm256_storeu_si256((__m256i *)(value + 4), values_avx2(p + 32, most, &fit[1]));
    for (int k = 0; k < 8; k++) {
        uint64_t low = _pdep_u64(b->ends >> 8 * k, 0x0101010101010101u), kept = _pext_u64(value[k], (low << 8) - low);
        memcpy(out, &kept, 8);
        out += __builtin_popcountll(low);
    }
    return (b->ends & ~mask_avx2(fit[0], fit[1])) != 0;
}

#define CSV_WAY parse_avx2
#define CSV_TARGET AVX2_CSV
#define CSV_CLASSIFY classify_avx2
#define CSV_EMIT emit_avx2
#include "csv_loop.h"
