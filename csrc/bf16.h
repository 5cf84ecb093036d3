#pragma once
/* bf16.h - the math modes bf16, bf16x3, bf16x6: their definition, in scalar code.
 *
 * A mode is known by the number of bfloat16 planes that stand for a float: x ~ h, h + m, h + m + l, each plane the rest of
 * the ones before it, rounded to nearest even (8 significant bits; three planes hold a float exactly). A product is then 1, 3
 * or 6 products of planes; what is left out is smaller than the last plane. Henry, Tang, Heinecke 2019, arXiv 1904.06376.
 *
 * Order of a sum over k: blocks of 32 terms, the last filled up with zeros; in a block the products of planes in the order of
 * bf16_pairs; of each, the 16 terms of even and the 16 of odd k summed apart, k ascending from +0 by fma, then
 * c = c + (even + odd), c from +0. This is what TDPBF16PS of AMX computes (Intel SDM, volume 2; checked on the silicon:
 * numerics.md 3.3), so tiles give the bits of this definition and every other CPU computes it more slowly.
 * Results below 2^-126 become zeros of their sign, decided after rounding as if the exponent had no limit; planes below
 * 2^-126 are zeros. A float beyond the largest bfloat16 has that as its first plane; of infinities and NaN the others are 0.
 *
 * Error: one plane 2^-8 |a||b| a term. bf16x3 about 2^-16, bf16x6 below that of a float chain, for c is rounded once in 32
 * terms and not at each (numerics.md, E10). Written on v_fma, so include it behind vec/vec.h; `real` must be float. */
#include <stdint.h>
#include <string.h>

enum { BF16_BLOCK = 32 };

/* Which planes of a and b a product takes, in order: each differs from its neighbour in one operand, which tiles keep. */
static const signed char bf16_pairs[4][6][2] = {
    {{0}}, {{0, 0}}, {{0, 1}, {0, 0}, {1, 0}}, {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {0, 0}, {2, 0}}};
static const signed char bf16_products[4] = {0, 1, 3, 6};

/* The first plane of *rest, which becomes what is left of it. */
static inline float bf16_plane(float *rest)
{
    const uint32_t sign = 0x80000000u, infinite = 0x7f800000u, largest = 0x7f7f0000u, smallest = 0x00800000u;
    uint32_t u;
    memcpy(&u, rest, 4);
    const uint32_t size = u & ~sign;
    if (size > infinite)
        u = 0x7fc00000u;
    else if (size < smallest)
        u &= sign;
    else if (size < infinite)
        u = size > largest ? (u & sign) | largest : (u + 0x7fffu + (u >> 16 & 1)) & 0xffff0000u;
    float plane;
    memcpy(&plane, &u, 4);
    *rest = size < infinite ? *rest - plane : 0;
    return plane;
}

/* r = fma(a, b, t), flushed: beside 2^-126 rounding has hidden on which side a b + t lay; the double sum shows it. */
static inline float bf16_flush(float r, float a, float b, float t)
{
    const float tiny = 0x1p-126f;
    if (r == 0 || r > tiny || r < -tiny || r != r)
        return r;
    double exact = (double)a * (double)b + (double)t;
    return exact < 0x1.ffffffp-127 && exact > -0x1.ffffffp-127 ? (r < 0 ? -0.0f : 0.0f) : r;
}

/* The same for a sum of two floats: below 2^-126 it is exact. */
static inline float bf16_flush_sum(float r)
{
    return r != 0 && r < 0x1p-126f && r > -0x1p-126f ? (r < 0 ? -0.0f : 0.0f) : r;
}

#ifdef NN_PASS_REF
/* A sum being made: terms come one by one. */
typedef struct bf16_sum {
    float c, a[BF16_BLOCK], b[BF16_BLOCK];
    int count, planes;
} bf16_sum;

static inline void bf16_block(bf16_sum *s)
{
    float a[3][BF16_BLOCK] = {{0}}, b[3][BF16_BLOCK] = {{0}};
    for (int k = 0; k < s->count; k++)
        for (int p = 0; p < s->planes; p++) {
            a[p][k] = bf16_plane(&s->a[k]);
            b[p][k] = bf16_plane(&s->b[k]);
        }
    for (int i = 0; i < bf16_products[s->planes]; i++) {
        const float *x = a[bf16_pairs[s->planes][i][0]], *y = b[bf16_pairs[s->planes][i][1]];
        float t[2] = {0, 0};
        for (int k = 0; k < BF16_BLOCK; k++)
            t[k % 2] = bf16_flush((float)v_fma(x[k], y[k], t[k % 2]), x[k], y[k], t[k % 2]);
        s->c = bf16_flush_sum(s->c + bf16_flush_sum(t[0] + t[1]));
    }
    s->count = 0;
}

static inline void bf16_add(bf16_sum *s, float a, float b)
{
    s->a[s->count] = a;
    s->b[s->count] = b;
    if (++s->count == BF16_BLOCK)
        bf16_block(s);
}

/* The end of a run of terms, whose last block is filled up. */
static inline void bf16_close(bf16_sum *s)
{
    if (s->count)
        bf16_block(s);
}
#endif
