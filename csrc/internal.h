#pragma once
/* internal.h - what the parts of the library share and Python must not see. */
#include "nncore.h"

#if defined(__FAST_MATH__)
#error "nncore promises bits: build without -ffast-math"
#endif

/* ---- teams (parallel.c) ----------------------------------------------------------------------------------------
 * Every driver runs on every thread of the team (SPMD), takes its part by rank, and meets the others at barriers.
 * The executor puts one barrier behind each instruction. */
typedef struct nn_barrier nn_barrier;

typedef struct nn_team {
    int32_t rank, size;
    nn_barrier *barrier; /* NULL for a team of one */
    char *shared;        /* NN_SHARED_NBYTES, the same for all ranks: partial sums */
    char *scratch;       /* NN_RANK_NBYTES, this rank's own: packed panels */
} nn_team;

enum { NN_SHARED_NBYTES = 1 << 20, NN_RANK_NBYTES = 3 << 20 };

typedef void nn_team_fn(const nn_team *team, void *context);

/* Raise a team of `threads`, run fn on each rank, return when all have. scratch as nn_scratch_nbytes. */
void nn_team_run(int32_t threads, void *scratch, nn_team_fn *fn, void *context);
/* Wait for all ranks. `verdict` is read by the last to arrive and returned to everybody: one decision for all. */
int32_t nn_team_barrier(const nn_team *team, const volatile int32_t *verdict);
/* This rank's share [*begin, *end) of n, in multiples of `grain`: contiguous, ascending with rank. */
void nn_team_split(const nn_team *team, int64_t n, int64_t grain, int64_t *begin, int64_t *end);

/* ---- calls -----------------------------------------------------------------------------------------------------*/
typedef struct nn_call {
    void *const *arg;      /* resolved pointers, outputs first; NULL where absent */
    const int64_t *nbytes; /* what each points at, for ops that index data from outside */
    const int64_t *dim;
    const double *scalar;
    const nn_team *team;
    const struct nn_kernel_set *set;  /* kernels of the level for this real type */
    const struct nn_kernel_set *math; /* its f64 set, for exp, log, sin, cos, pow in drivers */
    const nn_run *run;
    nn_fault *fault;
    int32_t is_double; /* real is double */
    int32_t pass;      /* for kernels of several passes, which their driver counts */
} nn_call;

/* A kernel is serial, over elements, rows or chunks [begin, end) as its op file says. */
typedef void nn_range_fn(const nn_call *c, int64_t begin, int64_t end);
typedef void nn_op_fn(const nn_call *c);

/* c (m, n) = a b, then per row: + bias, act. Strides in elements; c has unit column stride. One FMA chain per output. */
typedef struct nn_gemm_args {
    int64_t m, n, k;
    const void *a;
    int64_t rsa, csa;
    const void *b;
    int64_t rsb, csb;
    void *c;
    int64_t rsc;
    const void *bias;     /* n, or NULL */
    nn_range_fn *act;     /* elementwise _fwd kernel applied in place, or NULL */
    const double *scalar; /* of act */
} nn_gemm_args;

typedef void nn_gemm_fn(const nn_gemm_args *g, void *scratch);
typedef double nn_probe_fn(int32_t what, void *out, const void *data, int64_t nbytes, int64_t repeats);

enum { NN_NORMALS = 32 };

/* Kernels of one ISA for one real type: the one symbol an object of pass_kernel.c exports. */
typedef struct nn_kernel_set {
    nn_range_fn *range[NN_OP_COUNT_]; /* NULL for ops that are driver only */
    nn_gemm_fn *gemm;
    int64_t mr, nr;                      /* register tile, what drivers align their splits to */
    nn_probe_fn *probe;                  /* see nn_probe; on one thread, writes its sums to out */
    double (*exp)(double);               /* float64 elementary functions for drivers; only in the f64 sets */
    double (*log)(double);
    double (*sin)(double);
    double (*cos)(double);
    double (*pow)(double, double);
    void (*normals)(double *out, uint64_t seed, uint32_t stream, uint64_t index, uint32_t block); /* NN_NORMALS: mix.c */
} nn_kernel_set;

struct nn_kernels {
    const char *name;
    const nn_kernel_set *f32, *f64;
    nn_op_fn *const *reference[2]; /* whole-op definitions (f32, f64); NULL except at the level "reference" */
};

extern nn_op_fn *const nn_drivers[NN_OP_COUNT_];        /* pass_driver.c */
extern const char *const nn_op_names[NN_OP_COUNT_];     /* pass_driver.c */
extern nn_op_fn *const nn_reference_f32[NN_OP_COUNT_];  /* pass_ref.c; NULL for ops that are driver only */
extern nn_op_fn *const nn_reference_f64[NN_OP_COUNT_];

/* Where an op keeps the opcode of the activation fused behind it, -1 if it can have none. */
static inline int32_t nn_act_dim(int32_t op)
{
    return op == NN_OP_DENSE_FWD ? 3 : op == NN_OP_CONV_FWD || op == NN_OP_CONV_BWD_DATA ? 16 : -1;
}
/* Run a range kernel over this rank's part of n, split in multiples of grain. */
void nn_drive_range(const nn_call *c, int32_t op, int64_t n, int64_t grain);
/* Record a fault; the first one wins. The executor sees it at the barrier behind the instruction. */
void nn_raise(const nn_call *c, int32_t status, int64_t index, double value);
/* Round keys of an epoch's shuffle; nn_tape_run puts them into the run once. */
void nn_shuffle_keys(uint32_t key[8], uint64_t seed, int64_t epoch);
/* Where sample `position` of this epoch lies: shuffled if the run shuffles, then through rows if given. */
int64_t nn_sample_row(const nn_run *run, const int64_t *rows, int64_t position);

#define NN_CAT_(a, b) a##b
#define NN_CAT(a, b) NN_CAT_(a, b)
