#pragma once
/* exact.h - the superaccumulator: a fixed-point number so wide that sums of doubles and of their products are exact.
 *
 * Kulisch and Miranker 1981; here in digits of 32 bits, each held in a signed word of 64, so that carries wait for 2^30
 * additions. Digit k has the weight 2^(32 k - EXACT_BIAS). The sum depends on no order, and is rounded once. */
#include "rounding.h"

/* Below: 2^-2148, the last bit of a product of two subnormals. Above: products below 2^2048, 2^63 of them, and a sign. */
enum { EXACT_BIAS = 68 * 32, EXACT_DIGITS = 68 + 64 + 4, EXACT_WAIT = 1 << 30 };

typedef struct nn_exact {
    int64_t digit[EXACT_DIGITS];
    int64_t waiting;     /* additions since the carries were last carried */
    int nans, rises, falls; /* NaN, +inf and -inf among the terms */
} nn_exact;

static inline void exact_carry(nn_exact *s)
{
    int64_t carry = 0;
    for (int k = 0; k < EXACT_DIGITS - 1; k++) {
        const int64_t v = s->digit[k] + carry;
        s->digit[k] = v & 0xffffffff;
        carry = v >> 32;
    }
    s->digit[EXACT_DIGITS - 1] += carry;
    s->waiting = 0;
}

static inline void exact_add_bits(nn_exact *s, uint64_t sig, int e, int negative)
{
    const int place = e + EXACT_BIAS, k = place / 32;
    const nn_u128 v = (nn_u128)sig << place % 32;
    const int64_t low = (int64_t)(v & 0xffffffff), middle = (int64_t)(v >> 32 & 0xffffffff), high = (int64_t)(v >> 64);
    s->digit[k] += negative ? -low : low;
    s->digit[k + 1] += negative ? -middle : middle;
    s->digit[k + 2] += negative ? -high : high;
    if (++s->waiting == EXACT_WAIT)
        exact_carry(s);
}

static inline void exact_note(nn_exact *s, double x)
{
    s->nans += x != x;
    s->rises += x > 0;
    s->falls += x < 0;
}

static inline void exact_add(nn_exact *s, double x)
{
    if (!nn_is_finite(x))
        exact_note(s, x);
    else if (x != 0) {
        int e;
        const uint64_t sig = nn_fma_unpack(x, &e);
        const int lost = -1074 - e; /* a subnormal's significand ends in zeros below 2^-1074 */
        exact_add_bits(s, lost > 0 ? sig >> lost : sig, lost > 0 ? -1074 : e, x < 0);
    }
}

static inline void exact_add_product(nn_exact *s, double a, double b)
{
    if (!nn_is_finite(a) || !nn_is_finite(b))
        exact_note(s, a * b);
    else if (a != 0 && b != 0) {
        int ea, eb;
        const nn_u128 product = (nn_u128)nn_fma_unpack(a, &ea) * nn_fma_unpack(b, &eb);
        const int negative = (a < 0) != (b < 0), e = ea + eb, lost = -2148 - e;
        const nn_u128 v = lost > 0 ? product >> lost : product; /* zeros again */
        exact_add_bits(s, (uint64_t)v, lost > 0 ? -2148 : e, negative);
        exact_add_bits(s, (uint64_t)(v >> 64), (lost > 0 ? -2148 : e) + 64, negative);
    }
}

/* The sum, rounded once; an exact 0 is +0. */
static inline double exact_round(nn_exact *s, nn_machine *m)
{
    if (s->nans || (s->rises && s->falls))
        return __builtin_nan("");
    if (s->rises || s->falls)
        return nn_round_double(m, s->rises ? __builtin_inf() : -__builtin_inf(), 0);
    exact_carry(s);
    const int negative = s->digit[EXACT_DIGITS - 1] < 0;
    if (negative) {
        for (int k = 0; k < EXACT_DIGITS; k++)
            s->digit[k] = -s->digit[k];
        exact_carry(s);
    }
    int k = EXACT_DIGITS - 1;
    while (k >= 0 && !s->digit[k])
        k--;
    if (k < 0)
        return 0;
    nn_u128 v = 0;
    for (int i = 0; i < 3; i++)
        v = v << 32 | (nn_u128)(k >= i ? s->digit[k - i] : 0);
    int sticky = 0;
    for (int i = 0; i < k - 2; i++)
        sticky |= s->digit[i] != 0;
    const int shift = 64 - __builtin_clzll((uint64_t)(v >> 64)); /* of 65 to 96 bits 64 stay */
    const uint64_t sig = (uint64_t)(v >> shift) | ((v & (((nn_u128)1 << shift) - 1)) != 0 || sticky);
    return nn_round_bits(m, sig, 32 * (k - 2) - EXACT_BIAS + shift, negative, nn_dice(m, m->drawn + 1));
}
