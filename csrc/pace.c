/* pace.c - whether a team is worth its while.
 *
 * Where other programs want the processors, a rank that waits for one keeps all others waiting at the next barrier, and two
 * threads are slower than one. So when the ranks have waited for more than half of a stretch, rank 0 walks the next one
 * alone, and goes on so for a while if that was faster; then the team is tried again. No bit depends on it, for none
 * depends on the number of threads. */
#include "internal.h"

enum { STRETCH_NS = 20000000, SETTLED = 10 };

int nn_pace_passed(const nn_pace *p) { return nn_nanoseconds() - p->begin >= STRETCH_NS; }

static void begin(nn_pace *p, const nn_team *team)
{
    nn_team_waited(team); /* from here on */
    p->begin = nn_nanoseconds();
    p->steps = 0;
}

void nn_pace_step(nn_pace *p, const nn_team *team)
{
    p->steps++;
    if (team->size == 1 || !nn_pace_passed(p))
        return;
    const int64_t took = nn_nanoseconds() - p->begin;
    p->team = (double)took / (double)p->steps;
    if (p->settled > 0)
        p->settled--;
    else
        p->alone = nn_team_waited(team) > took / 2 * (team->size - 1);
    begin(p, team);
}

typedef struct meeting {
    nn_pace *pace;
    const nn_team *team;
    const volatile int32_t *verdict;
} meeting;

static int32_t judge(void *context)
{
    const meeting *m = context;
    nn_pace *p = m->pace;
    if (p->settled > 0) {
        p->alone = --p->settled > 0;
    } else {
        p->alone = (double)(nn_nanoseconds() - p->begin) < p->team * (double)p->steps;
        p->settled = SETTLED;
    }
    p->walked = p->steps;
    begin(p, m->team);
    return *m->verdict;
}

int32_t nn_pace_meet(nn_pace *p, const nn_team *team, const volatile int32_t *verdict)
{
    meeting m = {p, team, verdict};
    return nn_team_meet(team, judge, &m);
}
