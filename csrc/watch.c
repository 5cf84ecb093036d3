/* watch.c - a step under instruments: behind every instruction figures of what it wrote, and the same again in double.
 *
 * All ranks do it, as they do the step. A value is cut into parts by its size alone, each part is one rank's, and rank 0 joins
 * them in their order: figures do not depend on how many threads there are. Nothing that is watched is written to.
 *
 * What a level costs, in operations of the step: level 2 runs every instruction twice in double, at half the speed or less, and
 * every sum once more in float for the sizes of its terms: 1 + 2 + 2 + 1 where sums are all there is, and beside it memory:
 * operands are widened, and each value is read three times. docs/numerics.md has what was measured. */
#include <string.h>

#include "internal.h"

/* A part is long enough to be worth a hand-over, and all are few enough for rank 0 to join. A chunk is looked at in all ways
 * while it is in L1. */
enum { PARTS = 16, PART = 8192, CHUNK = 4096, EVERY_KIND = NN_INVALID | NN_DIVIDE | NN_OVERFLOW | NN_UNDERFLOW };

/* What one part of a value shows. */
typedef struct part {
    nn_statistics seen;
    nn_errors made, error, cancelled;
    nn_update update;
} part;
_Static_assert(sizeof(part[PARTS]) <= NN_SHARED_NBYTES, "the parts of a value");

static void *place(const nn_run *run, const nn_buffer *b) { return (char *)run->base[b->region] + b->offset; }

void nn_watch_begin(nn_watching *w, const nn_kernels *kernels, const nn_tape *tape, const nn_run *run, nn_fault *fault)
{
    *w = (nn_watching){kernels, tape, run, fault, *run, *run, *run, *fault};
    const nn_shadow *s = run->watch->shadow;
    for (int r = 0; s && r < 3; r++) {
        w->whole.base[r] = s->whole[r];
        w->local.base[r] = s->local[r];
        w->terms.base[r] = s->terms[r];
    }
    /* A step that ends early leaves the rest of them so. */
    const nn_watch *watch = run->watch;
    for (const nn_watched *d = watch->instrs; d < watch->instrs + tape->n_instrs; d++)
        for (nn_look *l = watch->looks + d->first; l < watch->looks + d->first + d->looks; l++) {
            l->seen = (nn_statistics){0};
            l->made = l->error = l->cancelled = (nn_errors){.index = -1};
            l->dead = 0;
        }
    for (int64_t k = 0; k < watch->n_changes; k++)
        watch->changes[k].seen = (nn_update){0};
}

/* ---- before an instruction ------------------------------------------------------------------------------------- */

/* The values of a buffer for a shadow: in double, as sizes in float, or if they are no reals as they are. */
static void give(const nn_watching *w, const nn_team *team, int32_t buffer, const nn_run *to, const nn_tape *tape)
{
    const nn_buffer *b = &w->tape->buffers[buffer], *target = &tape->buffers[buffer];
    const nn_look_set *look = &w->kernels->f32->look;
    int64_t begin, end;
    nn_team_split(team, b->count, NN_GRAIN, &begin, &end);
    const int64_t size = nn_dtype_nbytes(tape, b->dtype);
    const char *from = place(w->run, b);
    char *at = (char *)place(to, target) + begin * size;
    if (b->dtype != NN_REAL)
        memcpy(at, from + begin * size, (size_t)((end - begin) * size));
    else if (tape->real == NN_F64)
        look->widen((double *)(void *)at, (const float *)(const void *)from + begin, end - begin);
    else
        look->sizes((float *)(void *)at, (const float *)(const void *)from + begin, end - begin);
}

/* What the step begins with. */
static void give_all(const nn_watching *w, const nn_team *team)
{
    for (int32_t i = 0; i < w->tape->n_buffers; i++)
        if (w->tape->buffers[i].region == NN_PARAM || w->tape->buffers[i].region == NN_STATE)
            give(w, team, i, &w->whole, w->run->watch->shadow->twin);
}

/* What an instruction reads. */
static void give_operands(const nn_watching *w, const nn_team *team, int64_t index)
{
    const nn_instr *in = &w->tape->instrs[index];
    const nn_watched *d = &w->run->watch->instrs[index];
    const nn_shadow *s = w->run->watch->shadow;
    for (int32_t a = 0; a < in->n_args; a++) {
        if (d->given >> a & 1)
            give(w, team, in->arg[a], &w->local, s->twin);
        if (d->sized >> a & 1)
            give(w, team, in->arg[a], &w->terms, s->sizes);
    }
}

/* The instruction may overwrite what it reads, so all that is wanted of it is kept first. */
void nn_watch_before(nn_watching *w, const nn_team *team, int64_t index)
{
    const nn_watch *watch = w->run->watch;
    for (int64_t k = 0; k < watch->n_changes; k++) {
        const nn_change *c = &watch->changes[k];
        if (c->instr != index)
            continue;
        int64_t begin, end;
        nn_team_split(team, w->tape->buffers[c->weights].count, NN_GRAIN, &begin, &end);
        const size_t n = (size_t)(end - begin) * sizeof *c->before;
        memcpy(c->before + begin, (const float *)place(w->run, &w->tape->buffers[c->weights]) + begin, n);
        memcpy(c->slope + begin, (const float *)place(w->run, &w->tape->buffers[c->gradient]) + begin, n);
    }
    if (watch->shadow && index == w->run->first)
        give_all(w, team);
    if (watch->shadow)
        give_operands(w, team, index);
    nn_team_barrier(team, &w->fault->code);
    nn_fp_take(EVERY_KIND); /* to widen a signalling NaN raises a flag that is not the instruction's */
}

/* ---- behind it --------------------------------------------------------------------------------------------------*/

static void join_errors(nn_errors *e, const nn_errors *p, int64_t begin)
{
    e->n += p->n;
    e->sum += p->sum;
    if (p->worst > e->worst) {
        e->worst = p->worst;
        e->index = begin + p->index;
    }
}

static void join_statistics(nn_statistics *s, const nn_statistics *p)
{
    s->n += p->n;
    s->nans += p->nans;
    s->infinities += p->infinities;
    s->zeros += p->zeros;
    s->subnormals += p->subnormals;
    s->saturated += p->saturated;
    s->smallest = s->smallest == 0 || (p->smallest > 0 && p->smallest < s->smallest) ? p->smallest : s->smallest;
    s->largest = p->largest > s->largest ? p->largest : s->largest;
    s->sum_squares += p->sum_squares;
    for (int e = 0; e < 256; e++)
        s->exponent[e] += p->exponent[e];
}

static void join_update(nn_update *u, const nn_update *p)
{
    u->n += p->n;
    u->asked += p->asked;
    u->lost += p->lost;
    u->moved += p->moved;
    u->kept += p->kept;
}

static int64_t parts_of(int64_t n) { return n >= PARTS * PART ? PARTS : n < PART ? 1 : n / PART; }

/* Where part k of n elements begins. */
static int64_t part_begin(int64_t n, int64_t k)
{
    const int64_t blocks = (n + NN_GRAIN - 1) / NN_GRAIN, begin = blocks * k / parts_of(n) * NN_GRAIN;
    return begin < n ? begin : n;
}

/* The loop over this rank's parts of a value: `work` is told each, and rank 0 then lets `join` have them all. */
typedef void part_fn(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end);
static void in_parts(const nn_watching *w, const nn_team *team, int64_t n, void *what, part_fn *work, part_fn *join)
{
    part *parts = (part *)(void *)team->shared;
    int64_t first, last;
    nn_team_split(team, parts_of(n), 1, &first, &last);
    for (int64_t k = first; k < last; k++)
        work(w, what, &parts[k], part_begin(n, k), part_begin(n, k + 1));
    nn_team_barrier(team, &w->fault->code);
    for (int64_t k = 0; k < parts_of(n) && team->rank == 0; k++)
        join(w, what, &parts[k], part_begin(n, k), part_begin(n, k + 1));
    nn_team_barrier(team, &w->fault->code);
}

static void see_terms(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    const nn_shadow *s = w->run->watch->shadow;
    const int32_t buffer = ((const nn_look *)what)->buffer;
    const double *sum = place(&w->local, &s->twin->buffers[buffer]);
    const float *sizes = place(&w->terms, &s->sizes->buffers[buffer]);
    w->kernels->f32->look.terms(&p->cancelled, sum + begin, sizes + begin, end - begin);
}

static void join_terms(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    (void)w, (void)end;
    join_errors(&((nn_look *)what)->cancelled, &p->cancelled, begin);
}

static void see_value(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    const nn_look *l = what;
    const nn_look_set *look = &w->kernels->f32->look;
    const nn_shadow *s = w->run->watch->shadow;
    const float *y = place(w->run, &w->tape->buffers[l->buffer]);
    *p = (part){.made.index = -1, .error.index = -1};
    for (int64_t at = begin; at < end; at += CHUNK) {
        const int64_t n = end - at < CHUNK ? end - at : CHUNK;
        nn_statistics seen;
        look->describe(&seen, y + at, n, l->low, l->high);
        join_statistics(&p->seen, &seen);
        if (!s)
            continue;
        const nn_buffer *b = &s->twin->buffers[l->buffer];
        nn_errors made, error;
        look->twin(&made, y + at, (const double *)place(&w->local, b) + at, n);
        look->twin(&error, y + at, (const double *)place(&w->whole, b) + at, n);
        join_errors(&p->made, &made, at - begin);
        join_errors(&p->error, &error, at - begin);
    }
}

static void join_value(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    (void)end;
    nn_look *l = what;
    join_statistics(&l->seen, &p->seen);
    if (!w->run->watch->shadow)
        return;
    join_errors(&l->made, &p->made, begin);
    join_errors(&l->error, &p->error, begin);
}

static void see_change(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    const nn_change *c = what;
    const float *after = place(w->run, &w->tape->buffers[c->weights]);
    w->kernels->f32->look.update(&p->update, c->before + begin, after + begin, c->slope + begin, end - begin);
}

static void join_change(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    (void)w, (void)begin, (void)end;
    join_update(&((nn_change *)what)->seen, &p->update);
}

/* One instruction of a shadow on all ranks. */
static void again(nn_watching *w, const nn_team *team, const nn_tape *tape, const nn_run *run, int64_t index)
{
    nn_bound b;
    nn_run_instruction(&b, w->kernels, team, tape, run, &w->other, index);
    nn_team_barrier(team, &w->fault->code);
    if (team->rank == 0)
        w->other.code = NN_OK; /* or what it meets next would do nothing */
    nn_team_barrier(team, &w->fault->code);
}

static void shade(nn_watching *w, const nn_team *team, int64_t index)
{
    const nn_watch *watch = w->run->watch;
    const nn_shadow *s = watch->shadow;
    const nn_watched *d = &watch->instrs[index];
    again(w, team, d->is_sum ? s->sums : s->twin, &w->local, index);
    if (d->is_sum) {
        nn_look *l = &watch->looks[d->first];
        again(w, team, s->sizes, &w->terms, index);
        in_parts(w, team, w->tape->buffers[l->buffer].count, l, see_terms, join_terms);
    }
    if (d->is_fused)
        again(w, team, s->activations, &w->local, index);
    again(w, team, s->twin, &w->whole, index);
}

void nn_watch_behind(nn_watching *w, const nn_team *team, int64_t index)
{
    const nn_watch *watch = w->run->watch;
    if (nn_team_barrier(team, &w->fault->code) != NN_OK)
        return;
    if (watch->shadow)
        shade(w, team, index);
    const nn_watched *d = &watch->instrs[index];
    for (nn_look *l = watch->looks + d->first; l < watch->looks + d->first + d->looks; l++) {
        const nn_buffer *b = &w->tape->buffers[l->buffer];
        if (team->rank == 0 && l->columns)
            l->dead = nn_count_dead(place(w->run, b), b->count / l->columns, l->columns);
        in_parts(w, team, b->count, l, see_value, join_value);
    }
    for (nn_change *c = watch->changes; c < watch->changes + watch->n_changes; c++)
        if (c->behind == index)
            in_parts(w, team, w->tape->buffers[c->weights].count, c, see_change, join_change);
    nn_fp_take(EVERY_KIND); /* ours are not the next instruction's */
}
