/* rng.c - what the counter RNG of random.h gives to callers, and the shuffle: a keyed bijection, not an array. */
#include "internal.h"
#include "random.h"

void nn_philox(uint32_t *out, uint64_t seed, uint32_t stream, uint64_t index, uint32_t block)
{
    philox_block(out, seed, stream, index, block);
}

/* An eight-round Feistel network on 2*half bits, the smallest even width that covers n, is a bijection of [0, 4^half);
 * walking the cycle until the image falls below n restricts it to [0, n) (Black and Rogaway 2002, section 4: fewer
 * than four steps on average, since 4^half < 4 n). Four rounds of a random function are enough in theory (Luby and
 * Rackoff 1988); ours is a multiplicative hash, keyed by Philox, whose high bits are used, and two to four samples have
 * few bits to mix: eight rounds make up for both. */
enum { ROUNDS = 8 };

static uint64_t feistel(uint64_t x, int half, const uint32_t key[8])
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t h = (right + key[round]) * 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, Knuth 1998, 6.4 */
        h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
        uint64_t next = left ^ (h >> 32 & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

void nn_shuffle_keys(uint32_t key[8], uint64_t seed, int64_t epoch)
{
    philox_block(key, seed, NN_STREAM_SHUFFLE, (uint64_t)epoch, 0);
    philox_block(key + 4, seed, NN_STREAM_SHUFFLE, (uint64_t)epoch, 1);
}

static int64_t shuffle(const uint32_t key[8], int64_t n, int64_t i)
{
    if (i < 0 || i >= n || n > (int64_t)1 << 62)
        return -1;
    int half = 1;
    while (half < 31 && (int64_t)1 << 2 * half < n)
        half++;
    uint64_t x = (uint64_t)i;
    do
        x = feistel(x, half, key);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

int64_t nn_shuffle(uint64_t seed, int64_t epoch, int64_t n, int64_t i)
{
    uint32_t key[8];
    nn_shuffle_keys(key, seed, epoch);
    return shuffle(key, n, i);
}

int64_t nn_sample_row(const nn_run *run, const int64_t *rows, int64_t position)
{
    if (run->flags & NN_RUN_SHUFFLE)
        position = shuffle(run->shuffle_key, run->n_samples, position);
    return rows && position >= 0 ? rows[position] : position;
}
