/* bands.c - which instructions of a tape are walked together, band by band: depth first through the layers.
 *
 * A layer's output over a whole batch is larger than a core's cache: the next instruction fetches again what the last one
 * has just made. Where each of them needs only its own part of what the one before made, one may take both over a few
 * samples, then over the next few: the convolution, its pooling, the next convolution; a weight's gradient and its update.
 *
 * A band is a rank that is not there. A team of `size` whose ranks walk `bands` bands one after another does what a team of
 * size x bands does at once: rank r's band b is the part of rank r bands + b. So a driver needs nothing new, and the rule
 * that says where barriers stand (share.c) says where bands are allowed: instructions of a group are those that the larger
 * team would walk without meeting. No bit depends on it, for none depends on the number of threads. */
#include "internal.h"

enum {
    BAND_NBYTES = 1 << 18,  /* what an instruction's own arguments take of a core's cache: a quarter of 1 MB, the L2 of most */
    CACHE_NBYTES = 1 << 19, /* a value that takes more of a rank's cache has left it before the next instruction comes */
    LONGEST = 16,           /* instructions of a group */
    /* A kernel that packs its weights, or sweeps them once per strip, needs so many rows for each time that it does. */
    ROWS_SWEPT = 32,
    ROWS_PACKED = 512,
    PIXELS_PACKED = 1024,
    LANES_IMAGES = 16 /* images that a convolution of few channels keeps in the lanes of a vector */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* The number of bands from which on an instruction would lose more than it gains. */
static int64_t most_bands(const nn_instr *in, int32_t size)
{
    const int64_t *d = in->dim;
    const int32_t planes = nn_planes_dim(in->op);
    if (planes >= 0 && d[planes] > 0)
        return 1; /* flags.c looks through what all ranks have made of it */
    switch (in->op) {
    case NN_OP_DENSE_FWD: return d[0] / (ROWS_SWEPT * size);
    case NN_OP_DENSE_BWD_DATA: return d[0] / (ROWS_PACKED * size);
    case NN_OP_DENSE_BWD_WEIGHT: return d[1] / (ROWS_SWEPT * size);
    case NN_OP_CONV_FWD:
    case NN_OP_CONV_BWD_DATA: {
        int64_t pixels = in->op == NN_OP_CONV_FWD ? d[7] * d[8] : d[1] * d[2];
        int64_t images = larger(d[3] < LANES_IMAGES || d[6] < LANES_IMAGES ? LANES_IMAGES : 1,
                                (PIXELS_PACKED + pixels - 1) / larger(1, pixels));
        return d[0] / (images * size);
    }
    default: return INT32_MAX;
    }
}

typedef struct search {
    const nn_kernel_set *set;
    const nn_tape *tape;
    const nn_run *run;
    int32_t size;
} search;

/* Whether instructions [first, end) can be walked in so many bands. */
static int is_possible(const search *s, int64_t first, int64_t end, int32_t bands)
{
    const nn_instr *in = s->tape->instrs;
    const int32_t finer = s->size * bands;
    for (int64_t i = first; i < end; i++)
        if (!nn_is_cut_alike(s->set, &in[i], s->size, finer))
            return 0;
    for (int64_t i = first; i < end; i++)
        for (int64_t k = first; k < i; k++)
            if (nn_needs_fence(s->set, s->tape, s->run, &in[k], &in[i], finer))
                return 0;
    return 1;
}

/* Bands for instructions [first, end): at least as many as their memory asks for, if they allow it; 1 if they do not. */
static int32_t find_bands(const search *s, int64_t first, int64_t end)
{
    int64_t most = INT32_MAX / NN_MAX_THREADS, nbytes = 0;
    for (int64_t i = first; i < end; i++) {
        const nn_instr *in = &s->tape->instrs[i];
        most = smaller(most, most_bands(in, s->size));
        nbytes = larger(nbytes, nn_own_nbytes(s->set, s->tape, s->run, in, s->size));
    }
    int64_t wanted = smaller(most, (nbytes / s->size + BAND_NBYTES - 1) / BAND_NBYTES);
    for (int64_t bands = larger(2, wanted); bands <= smaller(most, 2 * wanted); bands++)
        if (is_possible(s, first, end, (int32_t)bands))
            return (int32_t)bands;
    for (int64_t bands = wanted - 1; bands > larger(1, wanted / 2); bands--)
        if (is_possible(s, first, end, (int32_t)bands))
            return (int32_t)bands;
    return 1;
}

/* Whether one of instructions [first, end) reads or writes a buffer. */
static int is_touched(const nn_tape *tape, int64_t first, int64_t end, int32_t buffer)
{
    for (int64_t i = first; i < end; i++)
        for (int a = 0; a < tape->instrs[i].n_args; a++)
            if (tape->instrs[i].arg[a] == buffer)
                return 1;
    return 0;
}

/* Bytes that instructions [first, end) find in the cache only because an earlier one of them was there. */
static int64_t handed_on(const search *s, int64_t first, int64_t end)
{
    int64_t total = 0;
    for (int64_t i = first + 1; i < end; i++)
        for (int a = 0; a < s->tape->instrs[i].n_args; a++) {
            const int32_t arg = s->tape->instrs[i].arg[a];
            if (arg < 0 || !is_touched(s->tape, first, i, arg))
                continue;
            const nn_buffer *buffer = &s->tape->buffers[arg];
            const int64_t nbytes = buffer->count * nn_dtype_nbytes(s->tape, buffer->dtype);
            total += nbytes / s->size > CACHE_NBYTES ? nbytes : 0;
        }
    return total;
}

int64_t nn_find_groups(const nn_kernels *kernels, const nn_tape *tape, const nn_run *run, nn_group *groups)
{
    const search s = {tape->real == NN_F64 ? kernels->f64 : kernels->f32, tape, run, run->threads};
    int64_t saved = 0;
    for (int64_t i = 0, end; i < tape->n_instrs; i = end) {
        int32_t bands = 1;
        int64_t handed = 0;
        end = i + 1;
        for (int64_t last = i + 2; last <= smaller(tape->n_instrs, i + LONGEST); last++) {
            const int32_t found = find_bands(&s, i, last);
            if (found == 1)
                break;
            const int64_t more = handed_on(&s, i, last);
            if (more > handed) { /* an instruction more is worth it */
                bands = found;
                handed = more;
                end = last;
            }
        }
        groups[i] = (nn_group){(int32_t)(end - i), bands};
        for (int64_t k = i + 1; k < end; k++)
            groups[k] = (nn_group){0, bands};
        saved += handed;
    }
    return saved;
}
