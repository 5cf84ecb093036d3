/* parallel.c - the only file that knows OpenMP and processors: raises a team once per call, and its barrier.
 *
 * The barrier spins briefly, since two threads of a training step meet within a microsecond, then gives the processor
 * away, so that more threads than cores do not stall. Without OpenMP a team has one member and everything still works. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "internal.h"
#ifdef _OPENMP
#include <omp.h>
#endif

/* The processor that a rank was seen on last, on a line of its own. */
typedef struct seat {
    _Alignas(64) _Atomic int32_t processor;
} seat;

struct nn_barrier {
    _Alignas(64) _Atomic int32_t arrived;
    _Alignas(64) _Atomic int32_t generation;
    int32_t verdict; /* written by the last to arrive, before it opens the next generation */
    _Alignas(64) _Atomic int64_t waited; /* nanoseconds of all ranks beyond a short spin */
    seat seats[NN_MAX_THREADS];
};

enum { SHORT_SPIN = 500 }; /* pauses of 140 cycles on Skylake and later: about 25 us */

int64_t nn_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(int32_t spins)
{
    if (spins < SHORT_SPIN) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    } else if (spins < 4000) {
        sched_yield();
    } else {
        struct timespec pause = {0, 50000};
        nanosleep(&pause, NULL);
    }
}

/* Remember where this rank runs. */
static void take_seat(const nn_team *team)
{
#if defined(__linux__)
    atomic_store_explicit(&team->barrier->seats[team->rank].processor, sched_getcpu(), memory_order_relaxed);
#else
    (void)team;
#endif
}

/* A rank that waits on the processor of the one it waits for moves to one that is free of ranks. Threads are often woken where
 * the one runs that wakes them; until the system's balancer parts them, a team of two takes more than twice as long. */
static void part_ways(const nn_team *team)
{
#if defined(__linux__)
    cpu_set_t allowed, target, taken; /* the last by other ranks */
    const int here = sched_getcpu();
    CPU_ZERO(&taken);
    for (int32_t r = 0; r < team->size; r++) {
        const int32_t at = atomic_load_explicit(&team->barrier->seats[r].processor, memory_order_relaxed);
        if (r != team->rank && at >= 0 && at < CPU_SETSIZE)
            CPU_SET(at, &taken);
    }
    const int shared = here >= 0 && here < CPU_SETSIZE && CPU_ISSET(here, &taken);
    if (!shared || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    for (int at = 0; at < CPU_SETSIZE; at++)
        if (CPU_ISSET(at, &allowed) && !CPU_ISSET(at, &taken)) {
            CPU_ZERO(&target);
            CPU_SET(at, &target);
            sched_setaffinity(0, sizeof target, &target);
            sched_setaffinity(0, sizeof allowed, &allowed);
            take_seat(team);
            return;
        }
#else
    (void)team;
#endif
}

int32_t nn_team_meet(const nn_team *team, nn_decide_fn *decide, void *context)
{
    nn_barrier *b = team->barrier;
    if (!b)
        return decide(context);
    int32_t generation = atomic_load_explicit(&b->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel) == team->size - 1) {
        b->verdict = decide(context);
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&b->generation, generation + 1, memory_order_release);
    } else {
        int64_t since = 0;
        for (int32_t spins = 0; atomic_load_explicit(&b->generation, memory_order_acquire) == generation; spins++) {
            if (spins == SHORT_SPIN) {
                since = nn_nanoseconds();
                part_ways(team);
            }
            relax(spins);
        }
        if (since)
            atomic_fetch_add_explicit(&b->waited, nn_nanoseconds() - since, memory_order_relaxed);
    }
    take_seat(team);
    return b->verdict;
}

int64_t nn_team_waited(const nn_team *team)
{
    return team->barrier ? atomic_exchange_explicit(&team->barrier->waited, 0, memory_order_relaxed) : 0;
}

static int32_t read_verdict(void *verdict) { return *(const volatile int32_t *)verdict; }

int32_t nn_team_barrier(const nn_team *team, const volatile int32_t *verdict)
{
    return nn_team_meet(team, read_verdict, (void *)(uintptr_t)verdict);
}

void nn_team_split(const nn_team *team, int64_t n, int64_t grain, int64_t *begin, int64_t *end)
{
    int64_t blocks = (n + grain - 1) / grain;
    *begin = blocks * team->rank / team->size * grain;
    *end = blocks * (team->rank + 1) / team->size * grain;
    if (*begin > n)
        *begin = n;
    if (*end > n)
        *end = n;
}

void nn_team_run(int32_t threads, void *scratch, nn_team_fn *fn, void *context)
{
    char *memory = scratch;
#ifdef _OPENMP
    if (threads > 1) {
        nn_barrier barrier = {0};
        for (int32_t r = 0; r < threads; r++)
            barrier.seats[r].processor = -1; /* not known yet */
#pragma omp parallel num_threads(threads)
        {
            /* OpenMP may grant fewer threads than asked (OMP_THREAD_LIMIT): the team is what came. */
            int32_t rank = omp_get_thread_num(), size = omp_get_num_threads();
            nn_team team = {rank, size, size > 1 ? &barrier : NULL, memory,
                            memory + NN_SHARED_NBYTES + NN_FENCE_NBYTES + (int64_t)rank * NN_RANK_NBYTES};
            if (size > 1)
                take_seat(&team);
            fn(&team, context);
        }
        return;
    }
#endif
    (void)threads;
    nn_team team = {0, 1, NULL, memory, memory + NN_SHARED_NBYTES + NN_FENCE_NBYTES};
    fn(&team, context);
}

int32_t nn_threads_available(void)
{
#ifdef _OPENMP
    int32_t n = omp_get_num_procs();
    return n < NN_MAX_THREADS ? n : NN_MAX_THREADS;
#else
    return 1;
#endif
}

int64_t nn_scratch_nbytes(int32_t threads)
{
    return NN_SHARED_NBYTES + NN_FENCE_NBYTES + (int64_t)threads * NN_RANK_NBYTES;
}
