/* train.c - train a network in plain C, without Python, to the same bits.
 *
 *   train PROGRAM TRAIN-IMAGES TRAIN-LABELS TEST-IMAGES TEST-LABELS [THREADS [ISA]]
 *
 * PROGRAM is a tape file that nncore.train.export.export_program wrote; the others are IDX files as MNIST has them, not
 * gzipped. A network is three lists of kernel calls, its tapes: "initial" fills the parameters, "train" does one step
 * (gather a batch, forward, loss, backward, update), "predict" finds the classes of a batch. All that is left to do here
 * is to give them memory and data. Exit status: 0 done, 1 training diverged, 2 wrong usage, 3 unreadable or malformed
 * input. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nncore.h"
#include "sha256.h"

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

/* The elements of an IDX file and its header. */
static uint8_t *read_idx(const char *path, nn_idx *idx)
{
    nn_fault fault;
    int64_t nbytes;
    uint8_t *bytes = read_file(path, &nbytes);
    if (nn_idx_parse(idx, bytes, nbytes, &fault) != NN_OK)
        die(3, "%s: byte %" PRId64 ": not an IDX file of unsigned bytes (is it still gzipped?)", path, fault.index);
    if (idx->header + idx->nbytes != nbytes || idx->nbytes == 0)
        die(3, "%s: %" PRId64 " bytes, but its header promises %" PRId64, path, nbytes, idx->header + idx->nbytes);
    return bytes + idx->header;
}

static samples read_samples(const char *images, const char *labels, int32_t classes)
{
    nn_idx x, t;
    samples s = {read_idx(images, &x), read_idx(labels, &t), 0, 0};
    s.n = x.dim[0];
    s.features = x.nbytes / s.n;
    if (t.rank != 1 || t.dim[0] != s.n)
        die(3, "%s: not one label for each of %" PRId64 " images", labels, s.n);
    if (nn_find_label(s.labels, s.n, classes) >= 0)
        die(3, "%s: a label is not below %d", labels, classes);
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

/* Share of samples whose class is found. Single samples make up what does not fill a batch; the bits are the same. */
static double accuracy(const nn_kernels *kernels, const nn_program *program, nn_run *run, const samples *s)
{
    const nn_program_tape *batch = tape(program, "predict"), *one = tape(program, "predict-one");
    int64_t correct = 0;
    bind(run, s);
    run->flags = 0;
    run->cursor = 0;
    while (run->cursor < s->n) {
        const nn_program_tape *t = s->n - run->cursor < batch->tape.batch ? one : batch;
        const uint8_t *labels = s->labels + run->cursor;
        nn_segment segment = {&t->tape, 1, NULL};
        run_segments(kernels, &segment, 1, run); /* moves the cursor on by the batch */
        const int32_t *y = buffer(run, t, nn_program_output(t, "y"), "y");
        for (int64_t i = 0; i < t->tape.batch; i++)
            correct += y[i] == labels[i];
    }
    return (double)correct / (double)s->n;
}

/* ---- the weights' hash ------------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const nn_buffer_info *const *)a)->name, (*(const nn_buffer_info *const *)b)->name);
}

/* One weight as four little-endian bytes, every NaN the same one. */
static void add_weight(sha256 *hash, float w)
{
    uint32_t bits = 0x7fc00000;
    if (w == w)
        memcpy(&bits, &w, 4);
    uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    sha256_add(hash, bytes, 4);
}

/* SHA-256 of all parameters, names sorted, in the layout of model files. Memory is [..., inner, outer] where these are
 * [outer, inner, ...]: dense weights ("layout 0.weight" is "io") have an inner axis of 1, those of a flattened image of C
 * channels ("io:C") one of C, a convolution's ("rsck") its third. */
static void weights_sha256(const nn_program *program, const nn_program_tape *initial, const nn_run *run, char hex[65])
{
    const nn_buffer_info **info = memory(initial->tape.n_buffers * (int64_t)sizeof *info);
    int64_t n = 0;
    for (int64_t i = 0; i < initial->tape.n_buffers; i++)
        if (initial->tape.buffers[i].region == NN_PARAM)
            info[n++] = &initial->info[i];
    qsort(info, (size_t)n, sizeof *info, by_name);
    sha256 hash;
    sha256_begin(&hash);
    for (int64_t p = 0; p < n; p++) {
        const float *w = named(run, initial, info[p]->name);
        char key[256];
        snprintf(key, sizeof key, "layout %s", info[p]->name);
        int64_t count = initial->tape.buffers[info[p] - initial->info].count, outer = count, inner = 1;
        const char *layout = nn_program_note(program, key);
        if (layout && info[p]->rank >= 2) {
            outer = info[p]->size[info[p]->rank - 1];
            inner = !strcmp(layout, "rsck") ? info[p]->size[2] : !strncmp(layout, "io:", 3) ? atoll(layout + 3) : 1;
        }
        for (int64_t i = 0; i < outer * inner; i++)
            for (int64_t at = i % inner * outer + i / inner; at < count; at += outer * inner)
                add_weight(&hash, w[at]);
    }
    sha256_end(&hash, hex);
    free(info);
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 8)
        die(2, "usage: train PROGRAM TRAIN-IMAGES TRAIN-LABELS TEST-IMAGES TEST-LABELS [THREADS [ISA]]");
    int threads = argc > 6 ? atoi(argv[6]) : nn_threads_available();
    if (threads < 1 || threads > NN_MAX_THREADS)
        die(2, "%s threads: choose 1 to %d", argv[6], NN_MAX_THREADS);
    const nn_kernels *kernels = nn_kernels_named(argc > 7 ? argv[7] : "best");
    if (!kernels)
        die(2, "%s: no such instruction set in this build, or this CPU lacks it", argv[7]);

    nn_program program = load_program(argv[1]);
    int32_t classes = (int32_t)number(&program, "classes");
    samples train_set = read_samples(argv[2], argv[3], classes), test_set = read_samples(argv[4], argv[5], classes);
    if (train_set.n != number(&program, "samples"))
        die(3, "the program is for %s training samples, the file has %" PRId64, nn_program_note(&program, "samples"),
            train_set.n);
    if (train_set.features != number(&program, "features") || test_set.features != train_set.features)
        die(3, "the program is for samples of %s bytes", nn_program_note(&program, "features"));

    nn_run run = make_run(&program, threads);
    const nn_program_tape *initial = tape(&program, "initial");
    run_segments(kernels, &(nn_segment){&initial->tape, 1, NULL}, 1, &run);
    run.step = 0;
    standardise(&program, initial, &run, &train_set);
    bind(&run, &train_set);
    printf("%" PRId64 " samples, %d threads, %s\n", train_set.n, threads, nn_kernels_name(kernels));
    train(kernels, &program, &run);
    printf("test accuracy %.6f\n", accuracy(kernels, &program, &run, &test_set));
    char hex[65];
    weights_sha256(&program, initial, &run, hex);
    printf("weights sha256 %s\n", hex);
    return 0;
}
