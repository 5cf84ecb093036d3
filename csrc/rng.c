/* rng.c - what the counter RNG of random.h gives to callers, and the shuffle: a keyed bijection, not an array. */
#include "internal.h"
#include "random.h"

void nn_philox(uint32_t *out, uint64_t seed, uint32_t stream, uint64_t index, uint32_t block)
{
    philox_block(out, seed, stream, index, block);
}

/* An eight-round Feistel network on 2*half bits, the smallest even width that covers n, is a bijection of [0, 4^half);
 * walking the cycle until the image falls below n restricts it to [0, n) (Black and Rogaway 2002, section 4: fewer
 * than four steps on average, since 4^half < 4 n). Round keys come from one Philox draw per four rounds. */
static uint64_t feistel(uint64_t x, int half, const uint32_t key[8])
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (int round = 0; round < 8; round++) {
        uint64_t h = (right + 1) * 0x9E3779B97F4A7C15u ^ (uint64_t)key[round] << 17;
        h = (h ^ h >> 31) * 0xBF58476D1CE4E5B9u; /* the finaliser of SplitMix64 (Steele, Lea, Flood 2014) */
        h = (h ^ h >> 29) + key[round];
        h = (h ^ h >> 32) * 0x94D049BB133111EBu;
        uint64_t next = left ^ (h >> 24 & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

int64_t nn_shuffle(uint64_t seed, int64_t epoch, int64_t n, int64_t i)
{
    if (i < 0 || i >= n || n > (int64_t)1 << 62)
        return -1;
    int half = 1;
    while (half < 31 && (int64_t)1 << 2 * half < n)
        half++;
    uint32_t key[8];
    philox_block(key, seed, NN_STREAM_SHUFFLE, (uint64_t)epoch, 0);
    philox_block(key + 4, seed, NN_STREAM_SHUFFLE, (uint64_t)epoch, 1);
    uint64_t x = (uint64_t)i;
    do
        x = feistel(x, half, key);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

int64_t nn_sample_row(const nn_run *run, const int64_t *rows, int64_t position)
{
    if (run->flags & NN_RUN_SHUFFLE)
        position = nn_shuffle(run->seed, run->epoch, run->n_samples, position);
    return rows && position >= 0 ? rows[position] : position;
}
