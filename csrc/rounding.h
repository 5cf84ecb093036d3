#pragma once
/* rounding.h - one operation of an emulated format: computed exactly, or to odd in double, then rounded once. Inline.
 *
 * A value of a format (nn_format) is held in a double. |x| = sig 2^e is rounded to a multiple of 2^unit, where
 * unit = max(exponent of x, emin) - precision + 1; without subnormals the exponent alone counts and what then lies below
 * 2^emin becomes 0. Beyond the largest value: infinity or the largest value as IEEE 754-2019, 7.4, has it for the direction,
 * or the largest value always if the format saturates.
 *
 * The sum of two doubles is taken to odd: the even neighbour is left where the sum is inexact, so that of 53 bits the last
 * stands for all that follow, and a second rounding to at most 50 bits is the only one that counts, in any direction
 * (Boldo and Melquiond 2008). Products of factors of 26 bits are exact in double. */
#include <string.h>

#include "internal.h"
#include "random.h"
#include "vec/fma_soft.h"

#define NN_ALWAYS static inline __attribute__((always_inline))

/* MACHINE_F32 and _F64 are the processor's own operations, for those formats rounded to nearest; _TWICE is float32's, whose
 * result is rounded again (accumulate.h). */
enum { MACHINE_F32, MACHINE_F64, MACHINE_TWICE, MACHINE_EMULATED };

/* An arithmetic at work: its largest value, and the random numbers of stochastic rounding, two from each Philox block. */
typedef struct nn_machine {
    nn_arithmetic a;
    double largest;
    int32_t kind;
    uint32_t stream;
    uint64_t drawn;
    uint32_t words[4];
} nn_machine;

/* 2^e for -1074 <= e <= 1023. */
static inline double nn_power_of_two(int e)
{
    uint64_t u = e < -1022 ? (uint64_t)1 << (e + 1074) : (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline uint64_t nn_bits_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline int nn_is_finite(double x) { return (nn_bits_of(x) >> 52 & 0x7ff) != 0x7ff; }

/* The 64 random bits of number i: half of block i / 2. */
static inline uint64_t nn_dice(nn_machine *m, uint64_t i)
{
    if (m->a.rounding != NN_ROUND_STOCHASTIC)
        return 0;
    if (i % 2 == 0 || i != m->drawn + 1)
        philox_block(m->words, m->a.seed, m->stream, m->a.index, (uint32_t)(i / 2));
    m->drawn = i;
    return (uint64_t)m->words[i % 2 * 2] << 32 | m->words[i % 2 * 2 + 1];
}

/* Whether `keep` units and rest / 2^drop of one (0 < drop < 64) become keep + 1. Stochastic: with that probability. */
static inline int nn_rounds_up(int rounding, uint64_t keep, uint64_t rest, int drop, int negative, uint64_t dice)
{
    const uint64_t half = (uint64_t)1 << (drop - 1);
    switch (rounding) {
    case NN_ROUND_NEAREST: return rest > half || (rest == half && keep & 1);
    case NN_ROUND_UP: return rest && !negative;
    case NN_ROUND_DOWN: return rest && negative;
    case NN_ROUND_STOCHASTIC: return dice >> (64 - drop) < rest;
    default: return 0;
    }
}

static inline double nn_beyond(const nn_machine *m, int negative)
{
    const int mode = m->a.rounding;
    const int stays = m->a.format.saturate || mode == NN_ROUND_ZERO || mode == (negative ? NN_ROUND_UP : NN_ROUND_DOWN);
    const double size = stays ? m->largest : __builtin_inf();
    return negative ? -size : size;
}

/* The same of a finite number, which is an overflow in any direction (IEEE 754-2019, 7.4): an operation raises the flag. */
static inline double nn_overflowed(const nn_machine *m, int negative)
{
    volatile float most = 0x1p127f;
    most = most * 2;
    return nn_beyond(m, negative);
}

/* sig 2^e, sig > 0, rounded. Bits below the last of sig are told by that one being odd. */
static inline double nn_round_bits(const nn_machine *m, uint64_t sig, int e, int negative, uint64_t dice)
{
    const nn_format *f = &m->a.format;
    const int top = 63 - __builtin_clzll(sig) + e;
    int unit = (f->subnormals && top < f->emin ? f->emin : top) - f->precision + 1, drop = unit - e;
    uint64_t keep = sig;
    if (drop > 63) { /* less than half a unit: shifted, with a sticky last bit, to where a word can hold it */
        const int shift = drop - 63;
        sig = shift > 63 ? 1 : sig >> shift | ((sig & (((uint64_t)1 << shift) - 1)) != 0);
        drop = 63;
    }
    if (drop > 0) {
        keep = sig >> drop;
        keep += (uint64_t)nn_rounds_up(m->a.rounding, keep, sig & (((uint64_t)1 << drop) - 1), drop, negative, dice);
    } else
        unit = e;
    if (!keep || (!f->subnormals && 63 - __builtin_clzll(keep) + unit < f->emin))
        return negative ? -0.0 : 0.0;
    if (63 - __builtin_clzll(keep) + unit > f->emax)
        return nn_overflowed(m, negative);
    const double size = (double)keep * nn_power_of_two(unit); /* exact */
    return size > m->largest ? nn_overflowed(m, negative) : negative ? -size : size;
}

/* x rounded; 0 and NaN stay. */
static inline double nn_round_double(const nn_machine *m, double x, uint64_t dice)
{
    const uint64_t bits = nn_bits_of(x), low = bits & 0xfffffffffffffu;
    const int negative = (int)(bits >> 63), field = (int)(bits >> 52 & 0x7ff);
    if (field == 0x7ff)
        return low || !m->a.format.saturate ? x : nn_beyond(m, negative);
    if (!field && !low)
        return x;
    return nn_round_bits(m, field ? low | (uint64_t)1 << 52 : low, field ? field - 1075 : -1074, negative, dice);
}

NN_ALWAYS double nn_plus(int kind, nn_machine *m, double a, double b)
{
    if (kind == MACHINE_F32)
        return (float)a + (float)b;
    if (kind == MACHINE_TWICE)
        return nn_round_double(m, (double)((float)a + (float)b), 0);
    return kind == MACHINE_F64 ? a + b : nn_round_double(m, nn_add_odd(a, b), nn_dice(m, m->drawn + 1));
}

NN_ALWAYS double nn_times(int kind, nn_machine *m, double a, double b)
{
    if (kind == MACHINE_F32)
        return (float)a * (float)b;
    if (kind == MACHINE_TWICE)
        return nn_round_double(m, (double)((float)a * (float)b), 0);
    return kind == MACHINE_F64 ? a * b : nn_round_double(m, a * b, nn_dice(m, m->drawn + 1));
}

/* a b + c, rounded once. */
NN_ALWAYS double nn_fused(int kind, nn_machine *m, double a, double b, double c)
{
    if (kind == MACHINE_F32)
        return nn_fmaf_soft((float)a, (float)b, (float)c);
    if (kind == MACHINE_TWICE)
        return nn_round_double(m, nn_fmaf_soft((float)a, (float)b, (float)c), 0);
    return kind == MACHINE_F64 ? nn_fma_soft(a, b, c) : nn_round_double(m, nn_add_odd(a * b, c), nn_dice(m, m->drawn + 1));
}

/* rounding.c: whether an arithmetic is well-formed, and, if it is to compute (`computes`) on elements of `real`, whether
 * double can carry it; then *m is ready. NN_ERR_ARGUMENT otherwise. */
int32_t nn_machine_start(nn_machine *m, const nn_arithmetic *a, int32_t real, int computes);
