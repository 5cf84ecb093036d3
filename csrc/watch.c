/* watch.c - a step under instruments: behind every instruction figures of what it wrote, and the same again in double.
 *
 * All ranks do it, as they do the step. A value is cut into parts by its size alone, each part is one rank's, and rank 0 joins
 * them in their order: figures do not depend on how many threads there are. Nothing that is watched is written to.
 *
 * What a level costs, in operations of the step: level 2 runs every instruction once in double from the step's beginning, at half
 * the speed or less, and looks at all of every value: 1 + 2. What an instruction made by itself takes another run in double, of
 * operands that are widened, and a sum's terms one more in float, 2 + 1: of large instructions on a sample of one row in sixteen,
 * others each time. docs/numerics.md has what was measured. */
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

/* ---- samples --------------------------------------------------------------------------------------------------- */

/* How an argument of an instruction is sampled; NULL where all of it is looked at. */
static const nn_sample *sample_of(const nn_watching *w, int64_t index, int32_t arg)
{
    const nn_sample *all = w->run->watch->shadow->samples, *s = all ? &all[index * NN_MAX_ARGS + arg] : NULL;
    return s && s->kept ? s : NULL;
}

/* The same of a value that an instruction wrote. */
static const nn_sample *sample_of_value(const nn_watching *w, const nn_look *l)
{
    const nn_instr *in = &w->tape->instrs[l->instr];
    for (int32_t a = 0; a < in->n_args; a++)
        if (in->arg[a] == l->buffer)
            return sample_of(w, l->instr, a);
    return NULL;
}

/* The first of n that is kept: Weyl's sequence of steps, so that whichever steps are watched all of them have their turn. */
static int64_t sample_first(const nn_watching *w, const nn_sample *s)
{
    const uint64_t turn = (uint64_t)w->run->step * 0x9E3779B97F4A7C15u >> 32;
    return (int64_t)(turn * (uint64_t)(s->n - s->n / s->kept * (s->kept - 1)) >> 32);
}

static int64_t sample_count(const nn_sample *s, int64_t count) { return s ? s->outer * s->kept * s->inner : count; }

/* Where in the value element `at` of the sample stands. */
static int64_t sample_place(const nn_watching *w, const nn_sample *s, int64_t at)
{
    if (!s)
        return at;
    const int64_t row = at / s->inner, from = sample_first(w, s) + row % s->kept * (s->n / s->kept);
    return (row / s->kept * s->n + from) * s->inner + at % s->inner;
}

/* Elements [begin, end) of the sample, of so many bytes each, out of all. */
static void take(const nn_watching *w, const nn_sample *s, char *to, const char *from, int64_t size, int64_t begin, int64_t end)
{
    const int64_t line = s->inner * size, apart = s->n / s->kept * line;
    const int64_t row = begin / s->inner;
    int64_t left = (end - begin) * size, in = begin % s->inner * size, k = row % s->kept;
    from += (row / s->kept * s->n + sample_first(w, s)) * line;
    for (; left > 0; k = 0, from += s->n * line) {
        if (s->inner == 1 && size == sizeof(float))
            for (; k < s->kept && left > 0; k++, to += line, left -= line)
                memcpy(to, from + k * apart, sizeof(float));
        for (; k < s->kept && left > 0; k++, in = 0) {
            const int64_t n = line - in < left ? line - in : left;
            memcpy(to, from + k * apart + in, (size_t)n);
            to += n;
            left -= n;
        }
    }
}

/* ---- before an instruction ------------------------------------------------------------------------------------- */

/* The values of a buffer for a shadow, all or a sample: in double, as sizes in float, or if they are no reals as they are. */
static void give(const nn_watching *w, const nn_team *team, int32_t buffer, const nn_sample *s, const nn_run *to,
                 const nn_tape *tape)
{
    const nn_buffer *b = &w->tape->buffers[buffer];
    const nn_look_set *look = &w->kernels->f32->look;
    char *target = place(to, &tape->buffers[buffer]), *from = place(w->run, b);
    const int64_t size = nn_dtype_nbytes(w->tape, b->dtype);
    int64_t begin, end;
    nn_team_split(team, sample_count(s, b->count), NN_GRAIN, &begin, &end);
    for (int64_t at = begin, n; at < end; at += n) {
        float taken[CHUNK];
        const void *x = from + at * size;
        n = !s || b->dtype != NN_REAL || end - at < CHUNK ? end - at : CHUNK;
        if (s && b->dtype == NN_REAL) {
            take(w, s, (char *)taken, from, size, at, at + n);
            x = taken;
        }
        if (b->dtype != NN_REAL && s)
            take(w, s, target + at * size, from, size, at, at + n);
        else if (b->dtype != NN_REAL)
            memcpy(target + at * size, x, (size_t)(n * size));
        else if (tape->real == NN_F64)
            look->widen((double *)(void *)target + at, x, n);
        else
            look->sizes((float *)(void *)target + at, x, n);
    }
}

/* What the step begins with. */
static void give_all(const nn_watching *w, const nn_team *team)
{
    for (int32_t i = 0; i < w->tape->n_buffers; i++)
        if (w->tape->buffers[i].region == NN_PARAM || w->tape->buffers[i].region == NN_STATE)
            give(w, team, i, NULL, &w->whole, w->run->watch->shadow->twin);
}

/* What an instruction reads. */
static void give_operands(const nn_watching *w, const nn_team *team, int64_t index)
{
    const nn_instr *in = &w->tape->instrs[index];
    const nn_watched *d = &w->run->watch->instrs[index];
    const nn_shadow *s = w->run->watch->shadow;
    for (int32_t a = 0; a < in->n_args; a++) {
        if (d->given >> a & 1)
            give(w, team, in->arg[a], sample_of(w, index, a), &w->local, s->twin);
        if (d->sized >> a & 1)
            give(w, team, in->arg[a], sample_of(w, index, a), &w->terms, s->sizes);
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

/* The same of a sample that begins there: `index` is the place in all of the value. */
static void join_sampled(const nn_watching *w, const nn_look *l, nn_errors *e, const nn_errors *p, int64_t begin)
{
    nn_errors found = *p;
    found.index = p->index < 0 ? -1 : sample_place(w, sample_of_value(w, l), begin + p->index);
    join_errors(e, &found, 0);
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
    (void)end;
    join_sampled(w, what, &((nn_look *)what)->cancelled, &p->cancelled, begin);
}

/* What the instruction made by itself, where that is looked at on a sample. */
static void see_made(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    const nn_look *l = what;
    const double *truth = place(&w->local, &w->run->watch->shadow->twin->buffers[l->buffer]);
    p->made = (nn_errors){.index = -1};
    for (int64_t at = begin; at < end; at += CHUNK) {
        const int64_t n = end - at < CHUNK ? end - at : CHUNK;
        float y[CHUNK];
        nn_errors made;
        take(w, sample_of_value(w, l), (char *)y, place(w->run, &w->tape->buffers[l->buffer]), sizeof *y, at, at + n);
        w->kernels->f32->look.twin(&made, y, truth + at, n);
        join_errors(&p->made, &made, at - begin);
    }
}

static void join_made(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    (void)end;
    join_sampled(w, what, &((nn_look *)what)->made, &p->made, begin);
}

static void see_value(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    const nn_look *l = what;
    const nn_look_set *look = &w->kernels->f32->look;
    const nn_shadow *s = w->run->watch->shadow;
    const float *y = place(w->run, &w->tape->buffers[l->buffer]);
    *p = (part){.made.index = -1, .error.index = -1};
    for (int64_t at = begin; at < end; at += CHUNK) {
        nn_statistics seen;
        look->describe(&seen, y + at, end - at < CHUNK ? end - at : CHUNK, l->low, l->high);
        join_statistics(&p->seen, &seen);
    }
    if (!s)
        return;
    const nn_buffer *b = &s->twin->buffers[l->buffer];
    look->twin(&p->error, y + begin, (const double *)place(&w->whole, b) + begin, end - begin);
    if (w->run->watch->instrs[l->instr].is_first)
        p->made = p->error;
    else if (!sample_of_value(w, l)) /* else see_made */
        look->twin(&p->made, y + begin, (const double *)place(&w->local, b) + begin, end - begin);
}

static void join_value(const nn_watching *w, void *what, part *p, int64_t begin, int64_t end)
{
    (void)end;
    nn_look *l = what;
    join_statistics(&l->seen, &p->seen);
    if (!w->run->watch->shadow)
        return;
    join_errors(&l->error, &p->error, begin);
    if (!sample_of_value(w, l))
        join_errors(&l->made, &p->made, begin);
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
    if (!d->is_first)
        again(w, team, s->local_twin, &w->local, index);
    if (d->is_sum) {
        nn_look *l = &watch->looks[d->first];
        again(w, team, s->sizes, &w->terms, index);
        in_parts(w, team, sample_count(sample_of_value(w, l), w->tape->buffers[l->buffer].count), l, see_terms, join_terms);
    }
    if (d->is_fused)
        again(w, team, s->activations, &w->local, index);
    for (nn_look *l = watch->looks + d->first; l < watch->looks + d->first + d->looks; l++) {
        const nn_sample *sample = sample_of_value(w, l);
        if (sample)
            in_parts(w, team, sample_count(sample, 0), l, see_made, join_made);
    }
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
