#pragma once
/* accumulate.h - sums of a tape that are kept in an emulated format, or added by another method: the definition.
 *
 * Of products (dense, convolutions) and of plain numbers (reductions, statistics). A term is fl(a b) or x, but where a method is
 * a chain it is one fl(fma(a, b, s)); the methods and their errors are sums.c's, blocks as long as the root of the number of
 * terms, 16 lanes, leaves of one term. To nearest fl(x) is the float32 result x rounded to the format; in any other direction
 * the exact result, rounded once (rounding.h). What is made of a sum - a bias added, a mean divided - is float32's.
 *
 * Which it is stands in an instruction's dim nn_sums_dim(op), as nn_accumulator packs it. Stochastic: rounding k of element i of
 * an instruction's output takes number k under (seed, step + 2^32 i), stream ROUNDING + 2^8 (ACC_NUMBERS + id), whatever thread
 * does it. What NVIDIA's tensor cores do with fp16 accumulators is not written down; this is a definition of our own. */
#include "exact.h"

enum {
    ACC_FLAG = 58,          /* the bit above all the others */
    ACC_NUMBERS = 5 << 16,  /* random numbers of sums, behind those of precision.py's parts */
    SUM_PARTS = 64, SUM_LANES = 16
};

typedef struct nn_accumulation {
    nn_machine m;
    int method, whole; /* whole: the format is fp32, to nearest */
} nn_accumulation;

static inline int64_t acc_field(int64_t code, int at, int bits) { return code >> at & (((int64_t)1 << bits) - 1); }

static inline nn_arithmetic acc_arithmetic(int64_t code)
{
    nn_format f = {(int32_t)acc_field(code, 0, 6), (int32_t)acc_field(code, 6, 11) - 1024, (int32_t)acc_field(code, 17, 11) - 1024,
                   (int32_t)acc_field(code, 28, 1), (int32_t)acc_field(code, 29, 1), 0};
    if (acc_field(code, 33, 6))
        f.largest = nn_format_largest(&f) - (double)acc_field(code, 33, 6) * nn_power_of_two(f.emax - f.precision + 1);
    return (nn_arithmetic){f, (int32_t)acc_field(code, 39, 3), 0, 0};
}

static inline int acc_method(int64_t code) { return (int)acc_field(code, 30, 3); }
static inline int32_t acc_id(int64_t code) { return (int32_t)acc_field(code, 42, 16); }

static inline nn_accumulation acc_open(int64_t code, uint64_t seed, uint64_t step)
{
    nn_accumulation a = {.method = acc_method(code)};
    nn_arithmetic arithmetic = acc_arithmetic(code);
    arithmetic.seed = seed, arithmetic.index = step;
    nn_machine_start(&a.m, &arithmetic, NN_F32, 1);
    a.m.stream |= (uint32_t)(ACC_NUMBERS + acc_id(code)) << 8;
    a.whole = a.m.kind == MACHINE_F32;
    if (!a.whole && arithmetic.rounding == NN_ROUND_NEAREST)
        a.m.kind = MACHINE_TWICE;
    return a;
}

/* ---- one sum, term by term ------------------------------------------------------------------------------------------- */

/* Where a sum stands: terms so far, those of the open block, blocks behind it. */
typedef struct sum_walk {
    int64_t width, i, inside, blocks;
} sum_walk;

/* The length of blocked's blocks, of pairwise's leaves, or the number of lanes; `width` if that is not 0. */
static inline int64_t sum_width(int method, int64_t n, int64_t width)
{
    if (method != NN_SUM_LANES && method != NN_SUM_BLOCKED && method != NN_SUM_PAIRWISE)
        return INT64_MAX;
    int64_t root = 1;
    while (!width && method == NN_SUM_BLOCKED && root * root < n)
        root++;
    return width ? width : method == NN_SUM_LANES ? SUM_LANES : root;
}

/* Whether a block is full: it is closed before the next term. */
static inline int sum_is_full(int method, const sum_walk *at) { return method != NN_SUM_LANES && at->inside == at->width; }

/* Numbers that lie `stride` elements apart. */
typedef struct nn_terms {
    const void *x;
    int64_t stride;
    int is_double;
} nn_terms;

/* A sum in the making. */
typedef struct nn_summing {
    nn_machine m;
    int method;
    sum_walk at;
    double s, c, part[SUM_PARTS];
    nn_exact exact;
} nn_summing;

/* sums.c: begin a sum of n terms; add n of them, x or, where y is given, x y; the sum. */
void nn_sum_open(nn_summing *sum, const nn_machine *m, int method, int64_t n, int64_t width);
void nn_sum_add(nn_summing *sum, const nn_terms *x, const nn_terms *y, int64_t n);
double nn_sum_close(nn_summing *sum);

/* ---- matrix products (emulate.c) --------------------------------------------------------------------------------------- */

typedef struct nn_emulated nn_emulated;
/* Terms [k, k + n) of row i of a, `stride` apart. */
typedef void nn_fetch_fn(const nn_emulated *e, float *to, int64_t stride, int64_t i, int64_t k, int64_t n);

/* c (m, n) = a b: rows [i, i_end) and columns [j, j_end) of it. Term k of column j of b is
 * b[k / inner * outer_stride + k % inner * rsb + j * csb]; rows of c lie rsc apart. */
struct nn_emulated {
    nn_accumulation in;
    int64_t m, n, k, i, i_end, j, j_end;
    nn_fetch_fn *fetch;
    const float *a;
    int64_t rsa, csa;  /* strides of a, if it is a matrix in memory */
    const void *shape; /* a conv_shape, if it is patches of an image, else NULL */
    const float *b;
    int64_t rsb, csb, inner, outer_stride;
    float *c;
    int64_t rsc;
    int64_t first; /* the output's element at c */
};

static inline const float *nn_emulated_row(const nn_emulated *e, int64_t k)
{
    if (k < e->inner) /* a division less */
        return e->b + k * e->rsb;
    return e->b + k / e->inner * e->outer_stride + k % e->inner * e->rsb;
}

/* emulate.c: carry out an instruction whose sums are emulated; `plain`: all of it one number at a time. */
void nn_emulate(const nn_call *c, int32_t op, int plain);
