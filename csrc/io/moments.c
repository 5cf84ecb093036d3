/* moments.c - mean and 1 / deviation of training data, and the checks that data from outside must pass.
 *
 * Standardisation (definitions.md): x' = (x - mean) scale, scale = 1 / deviation, the biased one, 1 where it is 0.
 * Bytes: sum x and sum x^2 are exact integers, and so is n^2 variance = n sum x^2 - (sum x)^2 in 128 bits; it is
 * rounded once, then divided and rooted: the result does not depend on the order of rows. Floats: two passes in double,
 * mean first, rows ascending; the textbook one-pass formula would lose everything at mean >> deviation (lab E3).
 */
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <string.h>

#include "../nncore.h"

__extension__ typedef unsigned __int128 uint128;

enum { AHEAD = 2048 }; /* bytes fetched ahead: the hardware's own prefetching leaves half of memory's bandwidth unused */

static double root(double x)
{
    return __builtin_sqrt(x); /* correctly rounded by IEEE 754, the same everywhere */
}

static int bad_rows(const int64_t *rows, int64_t n, int64_t count)
{
    for (int64_t i = 0; rows && i < n; i++)
        if (rows[i] < 0 || rows[i] >= count)
            return 1;
    return 0;
}

static void finish_u8(double *mean, double *scale, uint64_t sum, uint64_t squares, uint64_t n)
{
    uint128 numerator = (uint128)n * squares - (uint128)sum * sum;
    *mean = (double)sum / (double)n;
    *scale = numerator == 0 ? 1 : (double)n / root((double)numerator);
}

/* Sums over at most 65,536 bytes; 32 bits hold so many squares of 255. Integers are exact in any order: the bits are those
 * of the plain loop. */
static void add_part(uint64_t *sum, uint64_t *squares, const uint8_t *x, int64_t n)
{
    int64_t j = 0;
    uint32_t s = 0, q = 0;
#if defined(__SSE2__) /* part of x86-64 */
    const __m128i zero = _mm_setzero_si128();
    __m128i s2 = zero, q4 = zero;
    for (; n - j >= 16; j += 16) {
        __builtin_prefetch(x + (n - j > AHEAD ? j + AHEAD : j));
        __m128i v = _mm_loadu_si128((const __m128i *)(x + j));
        __m128i low = _mm_unpacklo_epi8(v, zero), high = _mm_unpackhi_epi8(v, zero);
        s2 = _mm_add_epi64(s2, _mm_sad_epu8(v, zero));
        q4 = _mm_add_epi32(q4, _mm_add_epi32(_mm_madd_epi16(low, low), _mm_madd_epi16(high, high)));
    }
    uint64_t sums[2];
    uint32_t parts[4];
    _mm_storeu_si128((__m128i *)sums, s2);
    _mm_storeu_si128((__m128i *)parts, q4);
    s = (uint32_t)(sums[0] + sums[1]);
    q = parts[0] + parts[1] + parts[2] + parts[3];
#endif
    for (; j < n; j++) {
        s += x[j];
        q += (uint32_t)x[j] * x[j];
    }
    *sum += s;
    *squares += q;
}

/* Sums over one run of bytes. */
static void add_run(uint64_t *sum, uint64_t *squares, const uint8_t *x, int64_t n)
{
    for (; n > 65536; x += 65536, n -= 65536)
        add_part(sum, squares, x, 65536);
    add_part(sum, squares, x, n);
}

int32_t nn_moments_u8(double *mean, double *scale, uint64_t *sums, const uint8_t *images, int64_t count,
                      int64_t features, const int64_t *rows, int64_t n, int32_t per_feature)
{
    if (n < 1 || features < 1 || count < 0 || (!rows && n != count) || n > ((int64_t)1 << 46) / features)
        return NN_ERR_ARGUMENT;
    if (bad_rows(rows, n, count))
        return NN_ERR_RANGE;
    uint64_t *squares = sums + (per_feature ? features : 1);
    for (int64_t j = 0; j < 2 * (per_feature ? features : 1); j++)
        sums[j] = 0;
    if (!rows && !per_feature)
        add_run(sums, squares, images, n * features);
    for (int64_t i = 0; i < n && (rows || per_feature); i++) {
        const uint8_t *x = images + (rows ? rows[i] : i) * features;
        if (!per_feature) {
            add_run(sums, squares, x, features);
            continue;
        }
        for (int64_t j = 0; j < features; j++)
            sums[j] += x[j];
        for (int64_t j = 0; j < features; j++)
            squares[j] += (uint32_t)x[j] * x[j];
    }
    if (!per_feature)
        finish_u8(mean, scale, sums[0], squares[0], (uint64_t)(n * features));
    for (int64_t j = 0; per_feature && j < features; j++)
        finish_u8(mean + j, scale + j, sums[j], squares[j], (uint64_t)n);
    return NN_OK;
}

int32_t nn_moments_f32(double *mean, double *scale, const float *data, int64_t count, int64_t features,
                       const int64_t *rows, int64_t n, int32_t per_feature)
{
    if (n < 1 || features < 1 || count < 0 || (!rows && n != count))
        return NN_ERR_ARGUMENT;
    if (bad_rows(rows, n, count))
        return NN_ERR_RANGE;
    int64_t m = per_feature ? features : 1, step = per_feature ? 1 : 0;
    double terms = (double)n * (per_feature ? 1 : (double)features);
    for (int64_t j = 0; j < m; j++)
        mean[j] = scale[j] = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *x = data + (rows ? rows[i] : i) * features;
        for (int64_t j = 0; j < features; j++)
            mean[j * step] += (double)x[j];
    }
    for (int64_t j = 0; j < m; j++)
        mean[j] /= terms;
    for (int64_t i = 0; i < n; i++) {
        const float *x = data + (rows ? rows[i] : i) * features;
        for (int64_t j = 0; j < features; j++) {
            double d = (double)x[j] - mean[j * step];
            scale[j * step] += d * d;
        }
    }
    for (int64_t j = 0; j < m; j++)
        scale[j] = scale[j] > 0 ? 1 / root(scale[j] / terms) : 1;
    return NN_OK;
}

enum { FINITE_BLOCK = 256 };
typedef int32_t exponents __attribute__((vector_size(16)));

/* Whether one of a block has all bits of its exponent set. */
static int32_t any_nonfinite(const float *block)
{
    const exponents all = (exponents){0} + 0x7f800000;
    exponents found = {0};
    for (int i = 0; i < FINITE_BLOCK; i += 4) {
        exponents u;
        memcpy(&u, block + i, sizeof u);
        found |= (u & all) == all;
    }
    return found[0] | found[1] | found[2] | found[3];
}

int64_t nn_find_nonfinite(const float *data, int64_t n)
{
    int64_t i = 0;
    while (n - i >= FINITE_BLOCK && !any_nonfinite(data + i)) /* a prediction of one image waits for this: eight times as fast */
        i += FINITE_BLOCK;
    for (; i < n; i++) {
        uint32_t u; /* by bits: inf - inf would raise a flag */
        memcpy(&u, data + i, 4);
        if ((u >> 23 & 0xff) == 0xff)
            return i;
    }
    return -1;
}

int64_t nn_find_label(const uint8_t *labels, int64_t n, int32_t classes)
{
    for (int64_t i = 0; i < n; i++)
        if (labels[i] >= classes)
            return i;
    return -1;
}
