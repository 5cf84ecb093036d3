/* test_tape.c - the executor: what it refuses, where it stops, what position it leaves, on every level and team. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nncore.h"
#include "check.h"

enum { N = 300, MOST = 7 };
enum { W, X, Y, COUNT, ROWS, BUFFERS }; /* the buffers of the little tapes */

/* A step: y = 2 w; y checked; w = w + 0.25 y; count += 1. */
static const nn_instr instrs[] = {
    {.op = NN_OP_SCALE, .n_args = 2, .arg = {Y, W}, .dim = {N}, .scalar = {2}},
    {.op = NN_OP_CHECK_FINITE, .n_args = 1, .arg = {Y}, .dim = {N}},
    {.op = NN_OP_ADD_SCALED, .n_args = 3, .arg = {X, W, Y}, .dim = {N}, .scalar = {0.25}},
    {.op = NN_OP_ASSIGN, .n_args = 2, .arg = {W, X}, .dim = {N}},
    {.op = NN_OP_INCREMENT, .n_args = 1, .arg = {COUNT}},
};
enum { INSTRS = sizeof instrs / sizeof *instrs, REGION = 1280 };

typedef struct stage {
    nn_buffer buffers[BUFFERS];
    nn_instr instrs[INSTRS];
    nn_tape tape;
    nn_run run;
    nn_fault fault;
    float *w;
    int64_t *count;
} stage;

static void *scratch;

static void set_up(stage *s, int32_t threads)
{
    const nn_buffer buffers[BUFFERS] = {
        [W] = {NN_PARAM, NN_REAL, 0, N}, [X] = {NN_WORK, NN_REAL, 0, N}, [Y] = {NN_WORK, NN_REAL, REGION, N},
        [COUNT] = {NN_STATE, NN_I64, 64, 1}, [ROWS] = {NN_EXTERNAL, NN_I64, 1, 0}};
    memset(s, 0, sizeof *s);
    memcpy(s->buffers, buffers, sizeof buffers);
    memcpy(s->instrs, instrs, sizeof instrs);
    s->tape = (nn_tape){NN_F32, 4, BUFFERS, INSTRS, s->buffers, s->instrs, {REGION, 128, 2 * REGION}};
    for (int r = 0; r < 3; r++) {
        s->run.nbytes[r] = s->tape.nbytes[r];
        s->run.base[r] = aligned_alloc(64, (size_t)s->tape.nbytes[r]);
        memset(s->run.base[r], 0, (size_t)s->tape.nbytes[r]);
    }
    s->run.scratch = scratch;
    s->run.scratch_nbytes = nn_scratch_nbytes(MOST);
    s->run.threads = threads;
    s->w = s->run.base[NN_PARAM];
    s->count = (int64_t *)((char *)s->run.base[NN_STATE] + 64);
    for (int i = 0; i < N; i++)
        s->w[i] = (float)(i + 1);
}

static void tear_down(stage *s)
{
    for (int r = 0; r < 3; r++)
        free(s->run.base[r]);
}

static int32_t go(stage *s, const nn_kernels *kernels, int64_t steps)
{
    nn_segment segment = {&s->tape, steps, NULL};
    return nn_tape_run(kernels, &segment, 1, &s->run, &s->fault);
}

/* ---- what nn_tape_check refuses --------------------------------------------------------------------------------- */

#define REFUSED(change, at_instr, at_index) \
    do { \
        stage s; \
        set_up(&s, 1); \
        change; \
        int32_t status = nn_tape_check(&s.tape, &s.fault); \
        CHECK(status == NN_ERR_ARGUMENT && s.fault.code == status, "%s: %d", #change, status); \
        CHECK(s.fault.instr == (at_instr) && s.fault.index == (at_index), "%s: instr %d index %lld", #change, s.fault.instr, \
              (long long)s.fault.index); \
        CHECK(go(&s, nn_kernels_named("best"), 1) == status && s.w[1] == 2 && s.run.step == 0, "%s: ran", #change); \
        tear_down(&s); \
    } while (0)

static void malformed(void)
{
    REFUSED(s.tape.real = NN_U8, -1, -1);
    REFUSED(s.tape.batch = 0, -1, -1);
    REFUSED(s.tape.n_buffers = -1, -1, -1);
    REFUSED(s.tape.n_instrs = 0, -1, -1);
    REFUSED(s.buffers[X].region = 4, -1, X);
    REFUSED(s.buffers[X].region = -1, -1, X);
    REFUSED(s.buffers[X].dtype = 6, -1, X);
    REFUSED(s.buffers[X].offset = -64, -1, X);
    REFUSED(s.buffers[X].offset = 4, -1, X);
    REFUSED(s.buffers[X].offset = 64 * 1000, -1, X);
    REFUSED(s.buffers[X].offset = INT64_MAX / 64 * 64, -1, X);
    REFUSED(s.buffers[X].count = -1, -1, X);
    REFUSED(s.buffers[Y].count = 321, -1, Y);
    REFUSED(s.buffers[Y].count = INT64_MAX, -1, Y);
    REFUSED(s.tape.nbytes[NN_WORK] = -1, -1, X);
    REFUSED(s.buffers[ROWS].offset = NN_MAX_EXTERNALS, -1, ROWS);
    REFUSED(s.instrs[2].op = -1, 2, -1);
    REFUSED(s.instrs[2].op = NN_OP_COUNT_, 2, -1);
    REFUSED(s.instrs[2].n_args = NN_MAX_ARGS + 1, 2, -1);
    REFUSED(s.instrs[2].n_args = -1, 2, -1);
    REFUSED(s.instrs[2].arg[1] = BUFFERS, 2, 1);
    REFUSED(s.instrs[2].arg[0] = -2, 2, 0);
    REFUSED(s.instrs[2].op = NN_OP_DENSE_FWD; s.instrs[2].dim[3] = NN_OP_SOFTMAX_FWD, 2, -1);
    REFUSED(s.instrs[2].op = NN_OP_DENSE_FWD; s.instrs[2].dim[3] = NN_OP_RELU_BWD, 2, -1);
    REFUSED(s.instrs[2].op = NN_OP_DENSE_FWD; s.instrs[2].dim[3] = INT64_MAX, 2, -1);
}

/* ---- what nn_tape_run refuses ----------------------------------------------------------------------------------- */

#define SHORT(change, want) \
    do { \
        stage s; \
        set_up(&s, 2); \
        float *w = s.w; \
        void *state = s.run.base[NN_STATE]; \
        change; \
        int32_t status = go(&s, nn_kernels_named("best"), 1); \
        CHECK(status == (want) && s.fault.code == status && w[1] == 2 && s.run.step == 0, "%s: %d", #change, status); \
        s.run.base[NN_STATE] = state; \
        tear_down(&s); \
    } while (0)

static void short_of_memory(void)
{
    SHORT(s.run.nbytes[NN_PARAM]--, NN_ERR_NOMEM);
    SHORT(s.run.nbytes[NN_WORK] = 0, NN_ERR_NOMEM);
    SHORT(s.run.base[NN_STATE] = NULL, NN_ERR_NOMEM);
    SHORT(s.buffers[ROWS].count = 1, NN_ERR_NOMEM);
    SHORT(s.buffers[ROWS].count = 2; s.run.external_nbytes[1] = 15, NN_ERR_NOMEM);
    SHORT(s.run.scratch_nbytes = nn_scratch_nbytes(2) - 1, NN_ERR_NOMEM);
    SHORT(s.run.scratch = NULL, NN_ERR_ARGUMENT);
    SHORT(s.run.threads = 0, NN_ERR_ARGUMENT);
    SHORT(s.run.threads = NN_MAX_THREADS + 1, NN_ERR_ARGUMENT);
    SHORT(s.run.first = -1, NN_ERR_ARGUMENT);
    SHORT(s.run.last = INSTRS + 1, NN_ERR_ARGUMENT);
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static void steps(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    double seconds[INSTRS] = {0};
    s.run.seconds = seconds;
    CHECK(go(&s, kernels, 3) == NN_OK, "code %d instr %d", s.fault.code, s.fault.instr);
    CHECK(s.run.step == 3 && s.run.cursor == 12 && *s.count == 3, "step %lld cursor %lld count %lld", (long long)s.run.step,
          (long long)s.run.cursor, (long long)*s.count);
    for (int i = 0; i < N; i++)
        CHECK(s.w[i] == (float)(i + 1) * 3.375f, "w[%d] = %g", i, (double)s.w[i]);
    double total = 0;
    for (int i = 0; i < INSTRS; i++)
        total += seconds[i];
    CHECK(total > 0, "no time was measured");
    CHECK(go(&s, kernels, 0) == NN_OK && s.run.step == 3, "no steps is no work");
    tear_down(&s);
}

/* Two tapes over one arena: the second has a batch of its own and only counts. */
static void segments(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    nn_tape tail = s.tape;
    tail.batch = 3;
    tail.instrs = &s.instrs[INSTRS - 1];
    tail.n_instrs = 1;
    nn_segment list[] = {{&s.tape, 2, NULL}, {&tail, 1, NULL}, {&s.tape, 0, NULL}, {&s.tape, 1, NULL}};
    CHECK(nn_tape_run(kernels, list, 4, &s.run, &s.fault) == NN_OK, "code %d", s.fault.code);
    CHECK(s.run.step == 4 && s.run.cursor == 3 * 4 + 3 && *s.count == 4 && s.w[0] == 3.375f, "step %lld cursor %lld",
          (long long)s.run.step, (long long)s.run.cursor);
    /* A fault names the segment, before the first step as well as in the middle. */
    s.w[7] = NAN;
    nn_segment bad[] = {{&tail, 2, NULL}, {&s.tape, 1, NULL}};
    CHECK(nn_tape_run(kernels, bad, 2, &s.run, &s.fault) == NN_ERR_NONFINITE && s.fault.segment == 1 && s.fault.step == 6 &&
          s.fault.instr == 1 && s.fault.index == 7, "segment %lld step %lld", (long long)s.fault.segment,
          (long long)s.fault.step);
    tail.batch = 0;
    nn_segment malformed_one[] = {{&s.tape, 1, NULL}, {&tail, 1, NULL}};
    CHECK(nn_tape_run(kernels, malformed_one, 2, &s.run, &s.fault) == NN_ERR_ARGUMENT && s.fault.segment == 1 && s.run.step == 6,
          "segment %lld", (long long)s.fault.segment);
    tear_down(&s);
}

/* A range of instructions runs alone and does not move the position. */
static void ranges(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    float *y = (float *)((char *)s.run.base[NN_WORK] + REGION), *x = s.run.base[NN_WORK];
    s.run.last = 1;
    CHECK(go(&s, kernels, 1) == NN_OK && y[N - 1] == 2 * N && x[0] == 0 && s.run.step == 0, "first only");
    s.run.first = 2;
    s.run.last = 3;
    CHECK(go(&s, kernels, 1) == NN_OK && x[1] == 3 && s.w[1] == 2 && s.run.cursor == 0, "third only");
    s.run.first = 3;
    s.run.last = 0;
    CHECK(go(&s, kernels, 1) == NN_OK && s.w[1] == 3 && *s.count == 1 && s.run.step == 0, "the rest");
    tear_down(&s);
}

/* A value that breaks is found by the check on the tape, nothing has been updated; NN_RUN_CHECK finds who made it. */
static void non_finite(const nn_kernels *kernels, int32_t threads)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (int b = 0; b < 4; b++)
        for (int watch = 0; watch < 2; watch++) {
            stage s;
            set_up(&s, threads);
            s.run.flags = watch ? NN_RUN_CHECK : 0;
            s.w[N - 2] = bad[b];
            CHECK(go(&s, kernels, 5) == NN_ERR_NONFINITE, "code %d", s.fault.code);
            CHECK(s.fault.instr == !watch && s.fault.index == N - 2 && s.fault.step == 0, "instr %d index %lld", s.fault.instr,
                  (long long)s.fault.index);
            CHECK(!(s.fault.value - s.fault.value == 0), "value %g", s.fault.value);
            CHECK(s.w[0] == 1 && *s.count == 0 && s.run.step == 0, "the step that faulted changed something");
            tear_down(&s);
        }
}

static void *raise_flag(void *p)
{
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    ((nn_run *)p)->stop = 1;
    return NULL;
}

static void stopping(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    s.run.stop = 1;
    CHECK(go(&s, kernels, 10) == NN_ERR_STOPPED && s.run.step == 1 && *s.count == 1, "step %lld", (long long)s.run.step);
    s.run.stop = 0;
    s.tape.n_instrs = 1; /* so that w stays finite however long it takes */
    pthread_t other;
    CHECK(pthread_create(&other, NULL, raise_flag, &s.run) == 0, "no thread");
    CHECK(go(&s, kernels, INT64_MAX) == NN_ERR_STOPPED && s.run.step > 1, "step %lld", (long long)s.run.step);
    pthread_join(other, NULL);
    CHECK(s.run.cursor == 4 * s.run.step, "cursor %lld after step %lld", (long long)s.run.cursor, (long long)s.run.step);
    tear_down(&s);
}

/* Data from outside that is too short, missing, or wrong is a fault, never a wild read. */
static void outside_data(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    uint8_t labels[6] = {0, 1, 2, 3, 4, 9};
    s.buffers[X] = (nn_buffer){NN_WORK, NN_I32, 0, 4};
    s.buffers[Y] = (nn_buffer){NN_EXTERNAL, NN_U8, 0, 0};
    s.instrs[0] = (nn_instr){.op = NN_OP_GATHER_LABELS, .n_args = 3, .arg = {X, Y, -1}, .dim = {4, 10, 1}};
    s.tape.n_instrs = 1;
    CHECK(go(&s, kernels, 1) == NN_ERR_RANGE, "labels that are not there: %d", s.fault.code);
    s.run.external[0] = labels;
    s.run.external_nbytes[0] = 6;
    CHECK(go(&s, kernels, 1) == NN_OK && s.run.cursor == 4, "code %d", s.fault.code);
    CHECK(go(&s, kernels, 1) == NN_ERR_RANGE && s.fault.index >= 6 && s.run.cursor == 4, "index %lld", (long long)s.fault.index);
    s.run.cursor = 2;
    s.instrs[0].dim[1] = 9;
    CHECK(go(&s, kernels, 1) == NN_ERR_RANGE && s.fault.index == 5 && s.fault.value == 9, "value %g", s.fault.value);
    tear_down(&s);
}

/* A step of whole numbers and quarters, exact in float: figures that are known, a shadow that finds no error, no changed bit. */
static void watching(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    nn_buffer wide[BUFFERS];
    memcpy(wide, s.buffers, sizeof wide);
    wide[Y].offset = 2 * REGION;
    const nn_tape twin = {NN_F64, 4, BUFFERS, INSTRS, wide, s.instrs, {2 * REGION, 128, 4 * REGION}};
    nn_shadow shadow = {.twin = &twin, .local_twin = &twin, .activations = &twin, .sizes = &s.tape};
    for (int r = 0; r < 3; r++) {
        const size_t nbytes = (size_t)twin.nbytes[r];
        shadow.whole[r] = aligned_alloc(64, nbytes);
        shadow.local[r] = aligned_alloc(64, nbytes);
        shadow.terms[r] = aligned_alloc(64, nbytes);
    }
    nn_look looks[] = {{.instr = 0, .buffer = Y, .low = -10, .high = 10, .columns = N}, {.instr = 2, .buffer = X},
                       {.instr = 3, .buffer = W}};
    const nn_watched watched[INSTRS] = {{0, 1, 2, 0, 0, 0, 0}, {1, 0, 1, 0, 0, 0, 0}, {1, 1, 0, 6, 1, 0, 0}, {2, 1, 2, 0, 0, 0, 0},
                                        {3, 0, 1, 0, 0, 0, 0}};
    float before[N], slope[N];
    nn_change change = {.instr = 3, .behind = 3, .weights = W, .gradient = Y, .before = before, .slope = slope};
    const nn_watch watch = {watched, looks, 1, &change, &shadow};
    s.run.watch = &watch;
    CHECK(go(&s, kernels, 1) == NN_OK && s.run.step == 1 && s.w[N - 1] == 1.5f * N, "code %d", s.fault.code);
    CHECK(looks[0].seen.n == N && looks[0].seen.largest == 2 * N && looks[0].seen.smallest == 2, "largest %g",
          looks[0].seen.largest);
    CHECK(looks[0].seen.saturated == N - 4 && looks[0].dead == 0, "saturated %lld", (long long)looks[0].seen.saturated);
    for (int k = 0; k < 3; k++)
        CHECK(looks[k].made.n == N && looks[k].error.n == N && looks[k].made.sum == 0 && looks[k].error.sum == 0 &&
                  looks[k].error.index == -1, "value %d: %g ulp made, %g in all", k, looks[k].made.worst, looks[k].error.worst);
    CHECK(looks[1].cancelled.n == N && looks[1].cancelled.worst == 0, "%g bits", looks[1].cancelled.worst);
    CHECK(change.seen.asked == N && change.seen.lost == 0 && change.seen.moved == 0.25 * change.seen.kept, "update");
    CHECK(go(&s, kernels, 2) == NN_ERR_ARGUMENT && s.run.step == 1, "two steps at once: %d", s.fault.code);
    for (int r = 0; r < 3; r++) {
        free(shadow.whole[r]);
        free(shadow.local[r]);
        free(shadow.terms[r]);
    }
    tear_down(&s);
}

/* One input after another, where each of them lies: y = 3 x. */
static void predicting(const nn_kernels *kernels, int32_t threads)
{
    stage s;
    set_up(&s, threads);
    nn_buffer buffers[] = {{NN_EXTERNAL, NN_REAL, 2, N}, {NN_WORK, NN_REAL, 0, N}};
    nn_instr triple = {.op = NN_OP_SCALE, .n_args = 2, .arg = {1, 0}, .dim = {N}, .scalar = {3}};
    nn_tape tape = {NN_F32, 1, 2, 1, buffers, &triple, {0, 0, REGION}};
    nn_segment segment = {&tape, 1, NULL};
    float x[2][N], *y = s.run.base[NN_WORK];
    for (int i = 0; i < N; i++)
        x[0][i] = (float)i, x[1][i] = (float)-i;
    s.run.external_nbytes[2] = sizeof x[0];
    nn_predictor p = {kernels, &segment, &s.run, 2, N, {0}};
    CHECK(nn_predict(&p, x[0]) == NN_OK && y[N - 1] == 3 * (N - 1) && s.run.step == 1, "first: %d", p.fault.code);
    CHECK(nn_predict(&p, x[1]) == NN_OK && y[N - 1] == -3 * (N - 1) && s.run.step == 1, "second: %d", p.fault.code);
    x[0][N - 1] = INFINITY;
    CHECK(nn_predict(&p, x[0]) == NN_ERR_NONFINITE && p.fault.instr == -1 && p.fault.index == N - 1 && isinf(p.fault.value) &&
          y[1] == -3, "an infinity: %d at %lld", p.fault.code, (long long)p.fault.index);
    p.n_floats = 0;
    CHECK(nn_predict(&p, x[0]) == NN_OK && isinf(y[N - 1]), "not looked at: %d", p.fault.code);
    buffers[0].count = N + 1;
    CHECK(nn_predict(&p, x[1]) == NN_ERR_NOMEM && isinf(y[N - 1]), "longer than the input: %d", p.fault.code);
    tear_down(&s);
}

int main(void)
{
    scratch = aligned_alloc(64, (size_t)nn_scratch_nbytes(MOST));
    malformed();
    short_of_memory();
    for (int32_t level = 0; nn_isa_name(level); level++)
        for (int32_t threads = 1; threads <= MOST; threads += threads < 3 ? 1 : 4) {
            const nn_kernels *kernels = nn_kernels_named(nn_isa_name(level));
            if (!kernels)
                continue;
            steps(kernels, threads);
            segments(kernels, threads);
            ranges(kernels, threads);
            non_finite(kernels, threads);
            stopping(kernels, threads);
            outside_data(kernels, threads);
            watching(kernels, threads);
            predicting(kernels, threads);
        }
    free(scratch);
    return check_summary("test_tape");
}
