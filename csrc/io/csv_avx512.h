/* csv_avx512.h - csv_loop.h's steps with AVX-512: value = d1 + 10 d2 + 100 d3 at every byte, kept where a number ends. */
#define AVX512_CSV __attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt,bmi,bmi2,lzcnt")))

static int has_csv_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("bmi2");
}

AVX512_CSV static inline void classify_avx512(const uint8_t *p, uint64_t *digits, uint64_t *commas)
{
    __m512i x = _mm512_loadu_si512(p);
    *digits = _mm512_cmple_epu8_mask(_mm512_sub_epi8(x, _mm512_set1_epi8('0')), _mm512_set1_epi8(9));
    *commas = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8(','));
}

AVX512_CSV static inline int emit_avx512(uint8_t *out, const uint8_t *p, const csv_block *b, uint32_t max)
{
    const __m512i zero = _mm512_set1_epi8('0');
    const __m512i tens = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0, 0, 0, 0));
    const __m512i hundreds = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 100, -56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    __m512i d1 = _mm512_sub_epi8(_mm512_loadu_si512(p - 1), zero);
    __m512i d2 = _mm512_maskz_sub_epi8(b->two, _mm512_loadu_si512(p - 2), zero);
    __m512i d3 = _mm512_maskz_sub_epi8(b->three, _mm512_loadu_si512(p - 3), zero);
    __m512i high = _mm512_shuffle_epi8(hundreds, d3);
    __m512i value = _mm512_add_epi8(_mm512_add_epi8(d1, _mm512_shuffle_epi8(tens, d2)), high);
    uint64_t over = _mm512_mask_cmpgt_epu8_mask(b->ends, d3, _mm512_set1_epi8(2)) /* 300 and up */
                    | _mm512_mask_cmplt_epu8_mask(b->ends, value, high)           /* 256 to 299, wrapped */
                    | _mm512_mask_cmpgt_epu8_mask(b->ends, value, _mm512_set1_epi8((char)max));
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(b->ends, value)); /* compressing into memory is microcode on some */
    return over != 0;
}

#define CSV_WAY parse_avx512
#define CSV_TARGET AVX512_CSV
#define CSV_CLASSIFY classify_avx512
#define CSV_EMIT emit_avx512
#include "csv_loop.h"
