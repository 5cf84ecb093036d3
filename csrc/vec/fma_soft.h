#pragma once
/* fma_soft.h - a b + c rounded once, on a CPU without fma. Exact, round to nearest even: the bits of the instruction
 * for every input, subnormals, infinities and signed zeros included (the payload of a NaN excepted). Slow and right:
 * the portable level exists to give the same bits, not to be fast (numerics.md R12).
 *
 * Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd",
 * IEEE Trans. Computers 57(4), 2008, for float; integer arithmetic with a sticky bit for double. */
#include <stdint.h>
#include <string.h>

/* a + b rounded to odd: of an inexact sum's two neighbours the odd one, for sums that neither overflow nor underflow. */
static inline double nn_add_odd(double a, double b)
{
    double sum = a + b, part = sum - a, error = (a - (sum - part)) + (b - part); /* Knuth's two-sum: exact */
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    int finite = (bits >> 52 & 0x7ff) != 0x7ff;
    if (finite && error != 0 && !(bits & 1)) {
        /* An even neighbour was chosen; the odd one lies on the side of the error. sum is not 0: nothing underflows. */
        if ((error > 0) == (sum > 0)) bits++;
        else bits--;
        memcpy(&sum, &bits, sizeof sum);
    }
    return sum;
}

/* The product of two floats is exact in double (48 <= 53 bits, exponent in range). Their sum with c is rounded to odd:
 * with 53 >= 2 * 24 + 2 bits the second rounding, to float, is then the only one that counts. */
static inline float nn_fmaf_soft(float a, float b, float c) { return (float)nn_add_odd((double)a * b, c); }

__extension__ typedef unsigned __int128 nn_u128;

/* |x| = m 2^e with 2^52 <= m < 2^53, for a finite x that is not 0. */
static inline uint64_t nn_fma_unpack(double x, int *e)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int field = (int)(bits >> 52 & 0x7ff);
    uint64_t m = bits & 0xfffffffffffffu;
    if (field) {
        *e = field - 1075;
        return m | (uint64_t)1 << 52;
    }
    int shift = __builtin_clzll(m) - 11;
    *e = -1074 - shift;
    return m << shift;
}

/* m >> n with every lost bit kept as a sticky lowest one. */
static inline nn_u128 nn_fma_shift(nn_u128 m, int n)
{
    if (n > 127) return m != 0;
    return m >> n | ((m & (((nn_u128)1 << n) - 1)) != 0);
}

/* Round m 2^e (0 < m < 2^127) to the nearest double, ties to even; overflow to inf, gradual underflow. */
static inline double nn_fma_pack(nn_u128 m, int e, int negative)
{
    uint64_t high = (uint64_t)(m >> 64), bits;
    int top = high ? 127 - __builtin_clzll(high) : 63 - __builtin_clzll((uint64_t)m);
    int unit = top + e - 52 > -1074 ? top + e - 52 : -1074; /* exponent of the result's last bit */
    int drop = unit - e;
    if (drop <= 0) {
        bits = (uint64_t)m << -drop;
    } else if (drop > 127) {
        bits = 0; /* m < 2^127 is below half a unit */
    } else {
        nn_u128 rest = m & (((nn_u128)1 << drop) - 1), half = (nn_u128)1 << (drop - 1);
        bits = (uint64_t)(m >> drop);
        bits += rest > half || (rest == half && (bits & 1));
    }
    /* The hidden bit, and a carry out of the significand, add themselves into the exponent field. */
    if (unit > 971) bits = (uint64_t)0x7ff << 52;
    else bits += (uint64_t)(unit + 1074) << 52;
    double x;
    bits |= (uint64_t)negative << 63;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Out of line: inlined into every fma of the unrolled tiles it takes clang minutes to compile. */
static __attribute__((noinline, unused)) double nn_fma_soft(double a, double b, double c)
{
    uint64_t ba, bb, bc;
    memcpy(&ba, &a, sizeof ba);
    memcpy(&bb, &b, sizeof bb);
    memcpy(&bc, &c, sizeof bc);
    const uint64_t inf = (uint64_t)0x7ff << 52;
    if ((ba & inf) == inf || (bb & inf) == inf) return a * b + c; /* the product is inf or NaN, nothing rounds */
    if ((bc & inf) == inf) return c + c;                          /* a b may overflow, but is finite */
    if (a == 0 || b == 0) return a * b + c;                       /* exact: the product is a zero */
    if (c == 0) return a * b;                                     /* not a b + 0: an underflow to -0 keeps its sign */

    int ea, eb, ec, negative = (int)((ba ^ bb) >> 63), opposite = negative != (int)(bc >> 63);
    uint64_t ma = nn_fma_unpack(a, &ea), mb = nn_fma_unpack(b, &eb), mc = nn_fma_unpack(c, &ec);
    /* Both with top bits at 124 or 125, so a sum fits and a difference of unequal exponents keeps all it needs: lost
     * bits can only occur 20 or more below the top of the larger, too far apart to cancel. */
    nn_u128 x = (nn_u128)ma * mb << 20, y = (nn_u128)mc << 73;
    int ex = ea + eb - 20, ey = ec - 73, e = ex > ey ? ex : ey;
    x = nn_fma_shift(x, e - ex);
    y = nn_fma_shift(y, e - ey);
    if (!opposite) return nn_fma_pack(x + y, e, negative);
    if (x == y) return 0.0;
    return x > y ? nn_fma_pack(x - y, e, negative) : nn_fma_pack(y - x, e, !negative);
}
