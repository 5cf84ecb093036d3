#pragma once
/* random.h - the counter RNG, inline for kernels: Philox4x32-10.
 *
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A block of four 32-bit words is a
 * function of (counter, key) alone: the counter is (block, index, stream), the key the seed. So what is drawn depends
 * on no thread, rank or order (numerics.md R10). */
#include <stdint.h>

static inline void philox_block(uint32_t out[4], uint64_t seed, uint32_t stream, uint64_t index, uint32_t block)
{
    uint32_t c0 = block, c1 = (uint32_t)index, c2 = (uint32_t)(index >> 32), c3 = stream;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0; out[1] = c1; out[2] = c2; out[3] = c3;
}

/* Uniform in (0, 1) from two words: the midpoints of 2^52 equal cells, so neither 0 nor 1 and log is finite. */
static inline double uniform53(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 12;
    return ((double)bits + 0.5) * 0x1p-52;
}
