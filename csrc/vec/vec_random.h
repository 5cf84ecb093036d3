#pragma once
/* vec_random.h - the arithmetic of one lane where every rounding is random: Monte Carlo arithmetic.
 *
 * Each operation is done in double and rounded to one of the two neighbouring floats, to the nearer one with the greater
 * probability: up by the share of an ulp that is left over (stochastic rounding). A result that is a float already stays,
 * so that what the elementary functions do exactly stays exact. The spread of a result over several runs is that of all
 * rounding errors together: Parker, "Monte Carlo arithmetic", UCLA CSD-970002, 1997, random rounding at precision 24.
 *
 * A double holds 29 bits more than a float: adding a random number below 2^29 to its integer image and cutting them off
 * is the rounding. Included by vec_scalar.h in the place of its own arithmetic. */

/* What the next roundings draw from: a linear congruential generator (Knuth, TAOCP 2, section 3.3.4, MMIX), whose upper
 * bits are good. One for the process: these kernels run on one thread. */
static uint64_t nn_noise;

/* |x| below the normal floats: in units of the smallest subnormal. Infinity, NaN and what overflows: to nearest. */
static float v_round_rare(double x, double part)
{
    const double size = x < 0 ? -x : x;
    if (!(size < 0x1p-126) || x == 0)
        return (float)x;
    const double whole = (double)(int64_t)(size * 0x1p149 + part) * 0x1p-149;
    return (float)(x < 0 ? -whole : whole);
}

V_INLINE float v_round(double x)
{
    enum { CUT = 29 };
    const uint64_t low = (uint64_t)(1023 - 126) << 52, high = (uint64_t)(1023 + 128) << 52;
    nn_noise = nn_noise * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits, part = nn_noise >> (64 - CUT);
    memcpy(&bits, &x, sizeof bits);
    if (__builtin_expect((bits & ~((uint64_t)1 << 63)) - low >= high - low, 0))
        return v_round_rare(x, (double)part * 0x1p-29);
    bits = (bits + part) >> CUT << CUT;
    memcpy(&x, &bits, sizeof x);
    return (float)x; /* exact, or infinite */
}

V_INLINE vreal v_add(vreal a, vreal b) { return v_round((double)a + (double)b); }
V_INLINE vreal v_sub(vreal a, vreal b) { return v_round((double)a - (double)b); }
V_INLINE vreal v_mul(vreal a, vreal b) { return v_round((double)a * (double)b); }
V_INLINE vreal v_div(vreal a, vreal b) { return v_round((double)a / (double)b); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return v_round((double)a * (double)b + (double)c); }
V_INLINE vreal v_sqrt(vreal a) { return v_round(__builtin_sqrt((double)a)); }
