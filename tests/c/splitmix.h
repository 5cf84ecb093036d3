#pragma once
/* splitmix.h - the random bits of the stand-alone C tests: SplitMix64, Steele, Lea, Flood 2014. Define SPLITMIX_SEED first. */
#include <stdint.h>

static uint64_t state = SPLITMIX_SEED;
static uint64_t next_u64(void)
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
