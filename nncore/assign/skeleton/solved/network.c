/* network.c - the reference solution: nncore's kernels from plain C, without Python.
 *
 * network.tape is the network and its training as nncore compiled them: lists of kernel calls. "initial" fills the
 * parameters, "train" does one step (gather a batch, forward, loss, backward, update), "predict" finds the classes of a
 * batch. What is left to do here: read the CSVs, give the tapes memory, run them, write the predictions. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nncore.h"

enum { IMAGES = 0, LABELS = 2 }; /* the externals of the tapes */

static _Noreturn void die(int status, const char *form, ...)
{
    va_list args;
    va_start(args, form);
    vfprintf(stderr, form, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

/* Zeroed memory, 64-byte aligned as kernels want it. Most is never freed: it lives until the program ends. */
static void *memory(int64_t nbytes)
{
    size_t size = ((size_t)nbytes + 64) / 64 * 64;
    void *p = aligned_alloc(64, size);
    if (!p)
        die(4, "no memory for %" PRId64 " bytes", nbytes);
    return memset(p, 0, size);
}

static uint8_t *read_file(const char *path, int64_t *nbytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (*nbytes = ftell(file)) < 0)
        die(3, "%s: cannot be read", path);
    rewind(file);
    uint8_t *bytes = memory(*nbytes);
    if (fread(bytes, 1, (size_t)*nbytes, file) != (size_t)*nbytes)
        die(3, "%s: cannot be read", path);
    fclose(file);
    return bytes;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

typedef struct samples {
    uint8_t *images, *labels;
    int64_t n, features;
} samples;

/* A CSV of integers 0 to 255. */
static uint8_t *read_csv(const char *path, int64_t *rows, int64_t *fields)
{
    nn_csv_fault fault;
    int64_t nbytes;
    uint8_t *text = read_file(path, &nbytes);
    *rows = nn_csv_lines(text, nbytes);
    *fields = nn_csv_fields(text, nbytes);
    uint8_t *values = memory(*rows * *fields);
    if (nn_csv_parse(values, text, nbytes, *rows, *fields, 255, &fault) != NN_OK)
        die(3, "%s: line %" PRId64 ": not integers from 0 to 255, separated by commas", path, fault.row + 1);
    free(text);
    return values;
}

static samples read_samples(const char *vectors, const char *labels)
{
    int64_t n, one = 1;
    samples s = {0};
    s.images = read_csv(vectors, &s.n, &s.features);
    if (!labels) {
        s.labels = memory(s.n); /* nothing is known, nothing is asked */
        return s;
    }
    s.labels = read_csv(labels, &n, &one);
    if (n != s.n || one != 1)
        die(3, "%s: not one label for each of %" PRId64 " vectors", labels, s.n);
    return s;
}

/* ---- the program ----------------------------------------------------------------------------------------------- */

static nn_program load_program(const char *path)
{
    nn_program program;
    nn_fault fault;
    int64_t nbytes, need;
    uint8_t *bytes = read_file(path, &nbytes);
    /* Twice: how much memory does it take, and then into that memory. It keeps nothing of the bytes. */
    if (nn_tape_load(NULL, NULL, &need, bytes, nbytes, &fault) != NN_OK ||
        nn_tape_load(&program, memory(need), &need, bytes, nbytes, &fault) != NN_OK)
        die(3, "%s: byte %" PRId64 ": not a tape file of this version of nncore", path, fault.index);
    free(bytes);
    return program;
}

static int64_t number(const nn_program *program, const char *key)
{
    const char *text = nn_program_note(program, key);
    char *end = NULL;
    long long value = text ? strtoll(text, &end, 10) : 0;
    if (!text || end == text || *end)
        die(3, "the program has no number %s: was it written by export_program?", key);
    return value;
}

static const nn_program_tape *tape(const nn_program *program, const char *name)
{
    const nn_program_tape *found = nn_program_find(program, name);
    if (!found)
        die(3, "the program has no tape %s: was it written by export_program?", name);
    return found;
}

/* Where a buffer of a tape lies. */
static void *buffer(const nn_run *run, const nn_program_tape *t, int64_t index, const char *name)
{
    if (index < 0 || t->tape.buffers[index].region == NN_EXTERNAL)
        die(3, "tape %s has no buffer %s", t->name, name);
    return (char *)run->base[t->tape.buffers[index].region] + t->tape.buffers[index].offset;
}

static void *named(const nn_run *run, const nn_program_tape *t, const char *name)
{
    return buffer(run, t, nn_program_buffer(t, name), name);
}

/* One arena for all tapes: each region as large as the largest of them asks. */
static nn_run make_run(const nn_program *program, int32_t threads)
{
    nn_run run = {.threads = threads, .scratch_nbytes = nn_scratch_nbytes(threads)};
    for (int64_t i = 0; i < program->n_tapes; i++)
        for (int r = 0; r < 3; r++)
            if (program->tapes[i].tape.nbytes[r] > run.nbytes[r])
                run.nbytes[r] = program->tapes[i].tape.nbytes[r];
    for (int r = 0; r < 3; r++)
        run.base[r] = memory(run.nbytes[r]);
    run.scratch = memory(run.scratch_nbytes);
    run.seed = (uint64_t)number(program, "seed");
    return run;
}

static void bind(nn_run *run, const samples *s)
{
    run->external[IMAGES] = s->images;
    run->external_nbytes[IMAGES] = s->n * s->features;
    run->external[LABELS] = s->labels;
    run->external_nbytes[LABELS] = s->n;
    run->n_samples = s->n;
}

static void run_segments(const nn_kernels *kernels, const nn_segment *segments, int64_t n, nn_run *run)
{
    nn_fault fault;
    if (nn_tape_run(kernels, segments, n, run, &fault) != NN_OK)
        die(fault.code == NN_ERR_NONFINITE ? 1 : 3, "step %" PRId64 ", instruction %d: %s", fault.step, fault.instr,
            nn_status_text(fault.code));
}

/* ---- training -------------------------------------------------------------------------------------------------- */

/* x' = (x - mean) scale, from the training images alone; in double, rounded once. */
static void standardise(const nn_program *program, const nn_program_tape *initial, nn_run *run, const samples *s)
{
    const char *mode = nn_program_note(program, "standardise");
    float *mean = named(run, initial, "preprocess.mean"), *scale = named(run, initial, "preprocess.scale");
    int64_t width = mode && !strcmp(mode, "feature") ? s->features : 1;
    if (!mode || !strcmp(mode, "none"))
        return; /* "initial" made them 0 and 1 */
    if (!strcmp(mode, "unit")) {
        *scale = (float)(1.0 / 255);
        return;
    }
    if (initial->tape.buffers[nn_program_buffer(initial, "preprocess.mean")].count != width)
        die(3, "the program standardises another number of features than the images have");
    double *m = memory(8 * width), *f = memory(8 * width);
    if (nn_moments_u8(m, f, memory(16 * width), s->images, s->n, s->features, NULL, s->n, width > 1) != NN_OK)
        die(3, "the training images cannot be standardised");
    for (int64_t j = 0; j < width; j++) {
        mean[j] = (float)m[j];
        scale[j] = (float)f[j];
    }
}

/* Whole batches in one call, then the rest of the samples, a smaller batch with a tape of its own. */
static void train(const nn_kernels *kernels, const nn_program *program, nn_run *run)
{
    const nn_program_tape *step = tape(program, "train"), *tail = nn_program_find(program, "train-tail");
    int64_t n = run->n_samples, limit = number(program, "steps"), epochs = number(program, "epochs");
    double *sums = named(run, step, "metrics"); /* loss, correct answers, samples */
    run->flags = NN_RUN_SHUFFLE;
    for (run->epoch = 0; run->epoch < epochs && run->step < limit; run->epoch++) {
        int64_t whole = n / step->tape.batch < limit - run->step ? n / step->tape.batch : limit - run->step;
        nn_segment segments[2] = {{&step->tape, whole, NULL}, {tail ? &tail->tape : NULL, 1, NULL}};
        memset(sums, 0, 4 * sizeof *sums);
        run->cursor = 0;
        run_segments(kernels, segments, 1 + (tail && run->step + whole < limit), run);
        printf("epoch %" PRId64 "  loss %.6f  accuracy %.4f\n", run->epoch + 1, sums[0] / sums[2], sums[1] / sums[2]);
    }
}

/* One class a line. Single samples make up what does not fill a batch. */
static void predict(const nn_kernels *kernels, const nn_program *program, nn_run *run, const samples *s, const char *path)
{
    const nn_program_tape *batch = tape(program, "predict"), *one = tape(program, "predict-one");
    FILE *file = fopen(path, "w");
    if (!file)
        die(4, "%s: cannot be written", path);
    bind(run, s);
    run->flags = 0;
    run->cursor = 0;
    while (run->cursor < s->n) {
        const nn_program_tape *t = s->n - run->cursor < batch->tape.batch ? one : batch;
        nn_segment segment = {&t->tape, 1, NULL};
        run_segments(kernels, &segment, 1, run); /* moves the cursor on by the batch */
        const int32_t *y = buffer(run, t, nn_program_output(t, "y"), "y");
        for (int64_t i = 0; i < t->tape.batch; i++)
            fprintf(file, "%" PRId32 "\n", y[i]);
    }
    if (fclose(file))
        die(4, "%s: cannot be written", path);
}

int main(void)
{
    samples train_set = read_samples("data/@PREFIX@_train_vectors.csv", "data/@PREFIX@_train_labels.csv");
    samples test_set = read_samples("data/@PREFIX@_test_vectors.csv", NULL);
    nn_program program = load_program("network.tape");
    if (train_set.n != number(&program, "samples") || train_set.features != number(&program, "features") ||
        test_set.features != train_set.features)
        die(3, "network.tape is for other data");
    if (nn_find_label(train_set.labels, train_set.n, (int32_t)number(&program, "classes")) >= 0)
        die(3, "a label is out of range");
    const nn_kernels *kernels = nn_kernels_named("best");
    nn_run run = make_run(&program, nn_threads_available());
    const nn_program_tape *initial = tape(&program, "initial");
    run_segments(kernels, &(nn_segment){&initial->tape, 1, NULL}, 1, &run);
    run.step = 0;
    standardise(&program, initial, &run, &train_set);
    bind(&run, &train_set);
    train(kernels, &program, &run);
    predict(kernels, &program, &run, &train_set, "@TRAIN@");
    predict(kernels, &program, &run, &test_set, "@TEST@");
    return 0;
}
