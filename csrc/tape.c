/* tape.c - the executor: one instruction, one op call, barriers where they are needed.
 *
 * All ranks of the team walk the same instructions and meet where one needs what another has done (share.c). A fault
 * raised by any rank is seen by all at the next barrier (the last to arrive decides for everybody), so no rank is left
 * waiting. Updates of parameters stand behind the checks of the losses on the tape, and a barrier between the two, so a
 * step that faults has changed nothing. */
#include <stdatomic.h>
#include <string.h>

#include "internal.h"

typedef struct execution {
    const nn_kernels *kernels;
    const nn_segment *segments;
    int64_t n_segments;
    nn_run *run;
    nn_fault *fault;
    const uint8_t *fence;
    int64_t total; /* instructions of all segments */
    nn_pace *pace;
    nn_watching *watching; /* or NULL */
} execution;

typedef struct step_context {
    const execution *execution;
    const nn_tape *tape;
    int64_t base; /* instructions of the segments before */
    const nn_team *team;
} step_context;

static const int64_t element_nbytes[] = {0, 4, 8, 1, 4, 8};

int64_t nn_dtype_nbytes(const nn_tape *tape, int32_t dtype)
{
    return element_nbytes[dtype == NN_REAL ? tape->real : dtype];
}

void nn_raise(const nn_call *c, int32_t status, int64_t index, double value)
{
    /* First come, first told: the code is claimed atomically, the details follow before the barrier. */
    _Atomic int32_t *code = (_Atomic int32_t *)&c->fault->code;
    int32_t expected = NN_OK;
    if (atomic_compare_exchange_strong(code, &expected, status)) {
        c->fault->instr = c->instr;
        c->fault->index = index;
        c->fault->value = value;
    }
}

void nn_drive_range(const nn_call *c, int32_t op, int64_t n, int64_t grain)
{
    int64_t begin, end;
    nn_team_split(c->team, n, grain, &begin, &end);
    if (begin < end)
        nn_kernel_of(c, op)(c, begin, end);
}

static int64_t first_nonfinite(const void *p, int32_t real, int64_t n)
{
    if (real != NN_F64)
        return nn_find_nonfinite(p, n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t u; /* the exponent's bits all set */
        memcpy(&u, (const char *)p + 8 * i, 8);
        if ((u >> 52 & 0x7ff) == 0x7ff)
            return i;
    }
    return -1;
}

/* NN_RUN_CHECK: fault on the first non-finite real among the arguments of an instruction that WORK, PARAM or STATE
 * hold. Inputs were checked when they were outputs, so what is found here was produced here - or came in from outside. */
static void check_arguments(const nn_call *c, const nn_tape *tape, const nn_instr *in)
{
    for (int32_t i = 0; i < in->n_args && c->team->rank == 0 && c->fault->code == NN_OK; i++) {
        const nn_buffer *b = in->arg[i] < 0 ? NULL : &tape->buffers[in->arg[i]];
        if (!b || b->dtype != NN_REAL || b->region == NN_EXTERNAL)
            continue;
        int64_t bad = first_nonfinite(c->arg[i], tape->real, b->count);
        if (bad >= 0)
            nn_raise(c, NN_ERR_NONFINITE, bad,
                     tape->real == NN_F64 ? ((double *)c->arg[i])[bad] : (double)((float *)c->arg[i])[bad]);
    }
}

static int is_other_math(const nn_instr *in)
{
    const int32_t planes = nn_planes_dim(in->op);
    return planes >= 0 && in->dim[planes] > 0;
}

/* What the instruction raised on this rank, into its row, beside what it has raised in the bands before. A product of another
 * math mode stands between two barriers. */
static void note_events(const execution *e, const nn_call *c, const nn_tape *tape, int64_t base, int32_t rank, int32_t band)
{
    const nn_instr *in = &tape->instrs[c->instr];
    int32_t kinds = nn_fp_take(e->run->kinds);
    if (is_other_math(in)) {
        nn_team_barrier(c->team, &e->fault->code);
        kinds = nn_scan_product(c, tape, in) & e->run->kinds;
        nn_team_barrier(c->team, &e->fault->code);
    }
    uint8_t *raised = &e->run->raised[rank * nn_raised_stride(e->total) + base + c->instr];
    *raised = (uint8_t)(kinds | (band ? *raised : 0));
}

/* One instruction on this rank, and what watches it; `base` instructions stand in the segments before. */
static void execute(const execution *e, const nn_team *team, const nn_tape *tape, int64_t base, int64_t index)
{
    nn_bound b;
    if (e->watching)
        nn_watch_before(e->watching, team, index);
    nn_run_instruction(&b, e->kernels, team, tape, e->run, e->fault, index);
    if (e->run->events)
        note_events(e, &b.call, tape, base, team->rank, 0);
    if (e->run->flags & NN_RUN_CHECK && nn_team_barrier(team, &e->fault->code) == NN_OK)
        check_arguments(&b.call, tape, &tape->instrs[index]);
    if (e->watching)
        nn_watch_behind(e->watching, team, index);
}

static void clock_in(const execution *e, const nn_team *team, int64_t segment, int64_t index, double *since)
{
    if (!e->run->seconds || segment != 0 || team->rank != 0)
        return;
    double now = 1e-9 * (double)nn_nanoseconds();
    if (index >= 0)
        e->run->seconds[index] += now - *since;
    *since = now;
}

/* A group on this rank (bands.c): a band is a rank of a larger team, whose ranks need not meet. */
static void execute_group(const execution *e, const nn_team *team, int64_t segment, int64_t base, int64_t first,
                          const nn_group *group, double *since)
{
    const nn_tape *tape = e->segments[segment].tape;
    for (int32_t band = 0; band < group->bands; band++) {
        const nn_team part = {team->rank * group->bands + band, team->size * group->bands, NULL, team->shared, team->scratch};
        for (int64_t i = first; i < first + group->instrs && *(const volatile int32_t *)&e->fault->code == NN_OK; i++) {
            nn_bound b;
            nn_run_instruction(&b, e->kernels, &part, tape, e->run, e->fault, i);
            if (e->run->events)
                note_events(e, &b.call, tape, base, team->rank, band);
            clock_in(e, team, segment, i, since);
        }
    }
}

/* The last to arrive at the end of a step moves the position, which the next step reads. */
static int32_t finish_step(void *context)
{
    const step_context *x = context;
    nn_run *run = x->execution->run;
    nn_fault *fault = x->execution->fault;
    if (run->events && fault->code == NN_OK) {
        int64_t last = run->last ? run->last : x->tape->n_instrs;
        nn_count_events(run, fault, x->team->size, x->execution->total, x->base, run->first, last - run->first);
    }
    if (fault->code == NN_OK && run->first == 0 && run->last == 0) {
        run->step++;
        run->cursor += x->tape->batch;
    }
    if (fault->code == NN_OK && run->stop)
        fault->code = NN_ERR_STOPPED;
    nn_pace_step(x->execution->pace, x->team);
    return fault->code;
}

/* The instruction before i behind which a step may end (loss_scale.c), or -1. */
static int64_t find_end(const nn_tape *tape, int64_t i)
{
    while (--i >= 0 && tape->instrs[i].op != NN_OP_LOSS_SCALE)
        ;
    return i;
}

/* Whether that instruction has ended the present step; then this rank raises nothing in what is left of it, [i, last). */
static int is_ended(const execution *e, const nn_team *team, const nn_tape *tape, int64_t end, int64_t base, int64_t i,
                    int64_t last)
{
    void *arg[NN_MAX_ARGS] = {NULL};
    int64_t nbytes[NN_MAX_ARGS] = {0};
    nn_resolve(tape, &tape->instrs[end], e->run, arg, nbytes);
    if (!((const int64_t *)arg[1])[2])
        return 0;
    if (e->run->events)
        memset(e->run->raised + team->rank * nn_raised_stride(e->total) + base + i, 0, (size_t)(last - i));
    return 1;
}

/* All instructions of one step, or the range that run->first and run->last ask for. Between two barriers a rank that
 * sees a fault does nothing more, so none works on what was not made; directly behind one all do the same. Time spent
 * waiting counts for the instruction before the barrier. */
static int32_t execute_step(const execution *e, const nn_team *team, int64_t segment, int64_t base, const uint8_t *fence,
                            const nn_group *groups)
{
    const nn_tape *tape = e->segments[segment].tape;
    const volatile int32_t *code = &e->fault->code;
    int64_t first = e->run->first, last = e->run->last ? e->run->last : tape->n_instrs, end = find_end(tape, first);
    int32_t verdict = NN_OK;
    double since = 0;
    clock_in(e, team, segment, -1, &since);
    for (int64_t i = first, next; i < last && verdict == NN_OK; i = next) {
        next = i + (groups ? groups[i].instrs : 1);
        int together = i == first || !fence || fence[i];
        if (together && i > first)
            verdict = nn_team_barrier(team, code);
        if (i > first)
            clock_in(e, team, segment, i - 1, &since);
        if (verdict == NN_OK && end >= 0 && (i == first || i == end + 1) && is_ended(e, team, tape, end, base, i, last))
            break;
        if (verdict == NN_OK && (together || *code == NN_OK)) {
            if (next > i + 1)
                execute_group(e, team, segment, base, i, &groups[i], &since);
            else
                execute(e, team, tape, base, i);
        }
        if (tape->instrs[i].op == NN_OP_LOSS_SCALE)
            end = i;
    }
    if (verdict == NN_OK) {
        step_context x = {e, tape, base, team};
        verdict = nn_team_meet(team, finish_step, &x);
        clock_in(e, team, segment, last - 1, &since);
    }
    return verdict;
}

/* The fences of every segment for a team of run->threads, in the scratch behind the shared memory; NULL where a barrier
 * belongs behind every instruction: while watching, on the level "reference", and for tapes of more instructions than
 * there is room for. */
static const uint8_t *find_fences(const execution *e)
{
    int64_t count = 0;
    for (int64_t s = 0; s < e->n_segments; s++)
        count += e->segments[s].tape->n_instrs;
    if (e->run->threads == 1 || e->run->flags & NN_RUN_CHECK || e->watching || e->kernels->reference[0] || count > NN_FENCE_NBYTES)
        return NULL;
    uint8_t *fence = (uint8_t *)e->run->scratch + NN_SHARED_NBYTES, *at = fence;
    for (int64_t s = 0; s < e->n_segments; s++) {
        const nn_tape *tape = e->segments[s].tape;
        nn_find_fences(tape->real == NN_F64 ? e->kernels->f64 : e->kernels->f32, tape, e->run, e->run->threads,
                       e->segments[s].groups, at);
        at += tape->n_instrs;
    }
    return fence;
}

/* The groups that this team may walk in bands: those found for one of its size, where nobody looks at single instructions. */
static const nn_group *find_groups(const execution *e, const nn_team *team, int64_t segment)
{
    const nn_run *run = e->run;
    const int alone = team->size != run->threads || run->first || run->last;
    return alone || run->flags & NN_RUN_CHECK || e->watching || e->kernels->reference[0] ? NULL : e->segments[segment].groups;
}

/* A step, and which it was if it failed. */
static int32_t walk_step(const execution *e, const nn_team *team, int64_t segment, int64_t base, const uint8_t *fence)
{
    const int64_t step = e->run->step;
    const int32_t verdict = execute_step(e, team, segment, base, fence, find_groups(e, team, segment));
    if (verdict != NN_OK && verdict != NN_ERR_STOPPED && team->rank == 0) {
        e->fault->segment = segment;
        e->fault->step = step;
    }
    return verdict;
}

/* How many of at most `most` steps rank 0 walked while the others waited for it. */
static int64_t walk_alone(const execution *e, const nn_team *team, int64_t segment, int64_t base, int64_t most,
                          int32_t *verdict)
{
    const nn_team lone = {0, 1, NULL, team->shared, team->scratch};
    if (team->rank == 0)
        for (int64_t n = 0; n < most; n++)
            if (walk_step(e, &lone, segment, base, NULL) != NN_OK || nn_pace_passed(e->pace))
                break;
    *verdict = nn_pace_meet(e->pace, team, &e->fault->code);
    return e->pace->walked;
}

static void run_rank(const nn_team *team, void *context)
{
    const execution *e = context;
    /* Fewer threads may have come than were asked for. */
    const uint8_t *fence = team->size == e->run->threads ? e->fence : NULL;
    int64_t base = 0;
    int32_t verdict = NN_OK;
    const uint64_t before = nn_fp_enter();
    for (int64_t s = 0; s < e->n_segments && verdict == NN_OK; s++) {
        for (int64_t n = 0; n < e->segments[s].steps && verdict == NN_OK;) {
            if (e->pace->alone) {
                n += walk_alone(e, team, s, base, e->segments[s].steps - n, &verdict);
            } else {
                verdict = walk_step(e, team, s, base, fence);
                n++;
            }
        }
        base += e->segments[s].tape->n_instrs;
        fence += fence ? e->segments[s].tape->n_instrs : 0;
    }
    nn_fp_leave(before);
}

int32_t nn_tape_run(const nn_kernels *kernels, const nn_segment *segments, int64_t n_segments, nn_run *run,
                    nn_fault *fault)
{
    *fault = (nn_fault){0, -1, 0, run->step, -1, 0};
    if (run->threads < 1 || run->threads > NN_MAX_THREADS || !run->scratch)
        return nn_refuse(fault, NN_ERR_ARGUMENT, -1, -1);
    if (run->scratch_nbytes < nn_scratch_nbytes(run->threads))
        return nn_refuse(fault, NN_ERR_NOMEM, -1, -1);
    for (int64_t s = 0; s < n_segments; s++)
        if (nn_tape_check(segments[s].tape, fault) != NN_OK || nn_run_check(segments[s].tape, run, fault) != NN_OK) {
            fault->segment = s;
            fault->step = run->step;
            return fault->code;
        }
    nn_pace pace = {.begin = nn_nanoseconds()};
    nn_watching watching;
    execution e = {kernels, segments, n_segments, run, fault, NULL, 0, &pace, run->watch ? &watching : NULL};
    for (int64_t s = 0; s < n_segments; s++)
        e.total += segments[s].tape->n_instrs;
    if (run->watch && (n_segments != 1 || segments->steps != 1 || segments->tape->real != NN_F32))
        return nn_refuse(fault, NN_ERR_ARGUMENT, -1, -1);
    if (run->events && (!run->raised || run->raised_nbytes < nn_raised_nbytes(e.total, run->threads)))
        return nn_refuse(fault, NN_ERR_NOMEM, -1, -1);
    if (run->events)
        memset(run->raised, 0, (size_t)nn_raised_nbytes(e.total, run->threads));
    nn_shuffle_keys(run->shuffle_key, run->seed, run->epoch);
    if (run->watch)
        nn_watch_begin(&watching, kernels, segments->tape, run, fault);
    e.fence = find_fences(&e);
    nn_team_run(run->threads, run->scratch, run_rank, &e);
    return fault->code;
}

int32_t nn_predict(nn_predictor *predictor, const void *x)
{
    nn_run *run = predictor->run;
    const int64_t bad = nn_find_nonfinite(x, predictor->n_floats);
    if (bad >= 0) {
        predictor->fault = (nn_fault){0, -1, 0, run->step, -1, ((const float *)x)[bad]};
        return nn_refuse(&predictor->fault, NN_ERR_NONFINITE, -1, bad);
    }
    run->external[predictor->input] = (void *)(uintptr_t)x;
    run->step = run->cursor = 0;
    return nn_tape_run(predictor->kernels, predictor->segment, 1, run, &predictor->fault);
}
