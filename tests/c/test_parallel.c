/* test_parallel.c - teams: ranks, shares, and barriers with more threads than processors. */
#if defined(__linux__)
#define _GNU_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif
#include <sched.h>
#include <string.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"
#include "check.h"

enum { ROUNDS = 150, MOST = 16 };

typedef struct meeting {
    int32_t size;
    int64_t slot[MOST][8]; /* a cache line for each rank */
    volatile int32_t verdict;
    int32_t wrong, heard[MOST];
} meeting;

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Everybody writes its slot, meets the others, and must find all slots written. */
static void meet(const nn_team *team, void *context)
{
    meeting *m = context;
    if (team->rank == 0)
        m->size = team->size;
    memset(team->scratch, team->rank, 64);
    for (int64_t round = 1; round <= ROUNDS; round++) {
        m->slot[team->rank][0] = round;
        nn_team_barrier(team, &m->verdict);
        for (int32_t r = 0; r < team->size; r++)
            if (m->slot[r][0] != round)
                m->wrong = 1;
        nn_team_barrier(team, &m->verdict);
    }
    if (team->scratch[63] != team->rank)
        m->wrong = 1; /* somebody wrote on another's scratch */
}

/* In round r rank r mod size raises the verdict: all must leave in that very round. */
static void leave(const nn_team *team, void *context)
{
    meeting *m = context;
    for (int32_t round = 0; round < 40; round++) {
        if (round == 20 && team->rank == 20 % team->size)
            m->verdict = NN_ERR_RANGE;
        int32_t verdict = nn_team_barrier(team, &m->verdict);
        if (verdict != NN_OK) {
            m->heard[team->rank] = round * 100 + verdict;
            return;
        }
        nn_team_barrier(team, &m->verdict); /* so that nobody is a round ahead */
    }
}

static void teams(void)
{
    void *scratch = aligned_alloc(64, (size_t)nn_scratch_nbytes(MOST));
    for (int32_t threads = 1; threads <= MOST; threads++) {
        meeting m = {0};
        double begin = seconds();
        nn_team_run(threads, scratch, meet, &m);
        CHECK(!m.wrong, "a barrier let somebody through, %d threads", threads);
        CHECK(m.size >= 1 && m.size <= threads, "team of %d for %d threads", m.size, threads);
        CHECK(seconds() - begin < 30, "%d barriers of %d threads took %g s", 2 * ROUNDS, threads, seconds() - begin);
        m = (meeting){.size = m.size};
        nn_team_run(threads, scratch, leave, &m);
        for (int32_t r = 0; r < m.size; r++)
            CHECK(m.heard[r] == 20 * 100 + NN_ERR_RANGE, "rank %d of %d heard %d", r, m.size, m.heard[r]);
    }
    free(scratch);
}

/* Shares are contiguous, ascending, cover [0, n) once, and begin at multiples of the grain. */
static void shares(void)
{
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 15, 16, 17, 255, 256, 257, 1000003}, grains[] = {1, 2, 16, 256};
    for (int32_t size = 1; size <= MOST; size++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) {
                int64_t at = 0;
                for (int32_t rank = 0; rank < size; rank++) {
                    nn_team team = {rank, size, NULL, NULL, NULL};
                    int64_t begin, end;
                    nn_team_split(&team, sizes[i], grains[g], &begin, &end);
                    CHECK(begin == at && end >= begin, "n %lld rank %d of %d: [%lld, %lld)", (long long)sizes[i], rank, size,
                          (long long)begin, (long long)end);
                    CHECK(begin % grains[g] == 0 || begin == sizes[i], "n %lld grain %lld: begin %lld",
                          (long long)sizes[i], (long long)grains[g], (long long)begin);
                    at = end;
                }
                CHECK(at == sizes[i], "n %lld: shares end at %lld", (long long)sizes[i], (long long)at);
            }
}

typedef struct walk {
    nn_pace pace;
    int64_t steps, by_two, alone, seen[2];
    int late; /* rank 1 comes a millisecond late to every step */
    volatile int32_t verdict;
} walk;

/* What tape.c does with its steps, for steps that take no time. */
static void pace(const nn_team *team, void *context)
{
    walk *w = context;
    const nn_team lone = {0, 1, NULL, NULL, NULL};
    int64_t n = 0;
    while (n < 2000) {
        if (w->pace.alone) {
            for (int64_t k = 0; team->rank == 0 && k < 2000 - n && !(k && nn_pace_passed(&w->pace)); k++) {
                nanosleep(&(struct timespec){0, 10000}, NULL);
                w->steps++;
                w->alone++;
                nn_pace_step(&w->pace, &lone);
            }
            nn_pace_meet(&w->pace, team, &w->verdict);
            n += w->pace.walked;
            continue;
        }
        if (w->late && team->rank == 1)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        if (team->rank == 0)
            w->steps++, w->by_two++;
        nn_team_barrier(team, &w->verdict);
        if (team->rank == 0)
            nn_pace_step(&w->pace, team);
        nn_team_barrier(team, &w->verdict);
        n++;
    }
    w->seen[team->rank] = n;
}

/* Every step is walked once, whoever walks it; a team whose second rank is always late is left. */
static void paces(void)
{
    void *scratch = aligned_alloc(64, (size_t)nn_scratch_nbytes(2));
    walk w = {.late = 1, .pace = {.begin = nn_nanoseconds()}};
    nn_team_run(2, scratch, pace, &w);
    const int two = w.seen[1] > 0; /* not where OpenMP is missing or grants one thread */
    CHECK(w.steps == 2000 && w.by_two + w.alone == 2000, "%lld steps", (long long)w.steps);
    CHECK(w.seen[0] == 2000 && (!two || w.seen[1] == 2000), "%lld and %lld", (long long)w.seen[0], (long long)w.seen[1]);
    CHECK(!two || w.alone > 1000, "%lld of 2000 steps alone", (long long)w.alone);
    free(scratch);
}

#if defined(__linux__)
typedef struct seating {
    volatile int32_t verdict, first; /* where rank 0 was */
    int32_t size, together, moved;
} seating;

/* Rank 1 goes to where rank 0 is, as a thread that is woken does, and waits there for one that works. */
static void sit(const nn_team *team, void *context)
{
    seating *s = context;
    cpu_set_t before, after, one;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof before, &before);
    if (team->rank == 0) {
        s->size = team->size;
        s->first = sched_getcpu();
    }
    nn_team_barrier(team, &s->verdict);
    if (team->rank == 1 && CPU_ISSET(s->first, &before)) {
        CPU_SET(s->first, &one);
        sched_setaffinity(0, sizeof one, &one);
        sched_setaffinity(0, sizeof before, &before);
    }
    for (int64_t round = 0; round < ROUNDS; round++) {
        nn_team_barrier(team, &s->verdict);
        for (double end = seconds() + 2e-4; team->rank == 0 && seconds() < end;)
            s->first = sched_getcpu();
        nn_team_barrier(team, &s->verdict);
        s->together += team->rank == 1 && sched_getcpu() == s->first;
    }
    sched_getaffinity(0, sizeof after, &after);
    if (!CPU_EQUAL(&before, &after))
        s->moved = 1;
}

/* Ranks on one processor part, and may go wherever they could before. */
static void seats(void)
{
    void *scratch = aligned_alloc(64, (size_t)nn_scratch_nbytes(2));
    seating s = {0};
    nn_team_run(2, scratch, sit, &s);
    CHECK(!s.moved, "a rank may run on other processors than before");
    CHECK(s.size < 2 || nn_threads_available() < 2 || s.together < ROUNDS / 3, "%d of %d rounds on one processor", s.together,
          ROUNDS);
    free(scratch);
}
#else
static void seats(void) {}
#endif

int main(void)
{
    shares();
    teams();
    paces();
    seats();
    CHECK(nn_threads_available() >= 1 && nn_threads_available() <= NN_MAX_THREADS, "%d", nn_threads_available());
    return check_summary("test_parallel");
}
