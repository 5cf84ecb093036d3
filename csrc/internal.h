#pragma once
/* internal.h - what the parts of the library share and Python must not see. */
#include "nncore.h"

#if defined(__FAST_MATH__)
#error "nncore promises bits: build without -ffast-math"
#endif

/* ---- teams (parallel.c) ----------------------------------------------------------------------------------------
 * Every driver runs on every thread of the team (SPMD), takes its part by rank, and meets the others at barriers.
 * The executor puts a barrier where an instruction needs what another rank has done (share.c). */
typedef struct nn_barrier nn_barrier;

typedef struct nn_team {
    int32_t rank, size;
    nn_barrier *barrier; /* NULL for a team of one */
    char *shared;        /* NN_SHARED_NBYTES, the same for all ranks: partial sums */
    char *scratch;       /* NN_RANK_NBYTES, this rank's own: packed panels */
} nn_team;

/* NN_FENCE_NBYTES lie behind `shared`: a byte for each instruction of a run. NN_GRAIN: what elements and columns are
 * split by, whole cache lines of floats. NN_CHUNK: rank 0 reduces no more elements than these alone. */
enum { NN_SHARED_NBYTES = 1 << 20, NN_FENCE_NBYTES = 1 << 16, NN_RANK_NBYTES = 3 << 20, NN_GRAIN = 16, NN_CHUNK = 4096 };

typedef void nn_team_fn(const nn_team *team, void *context);

/* Raise a team of `threads`, run fn on each rank, return when all have. scratch as nn_scratch_nbytes. */
void nn_team_run(int32_t threads, void *scratch, nn_team_fn *fn, void *context);
/* Wait for all ranks. `verdict` is read by the last to arrive and returned to everybody: one decision for all. */
int32_t nn_team_barrier(const nn_team *team, const volatile int32_t *verdict);
/* The same; the last to arrive calls decide(context) for its verdict while the others wait. */
typedef int32_t nn_decide_fn(void *context);
int32_t nn_team_meet(const nn_team *team, nn_decide_fn *decide, void *context);
/* Nanoseconds that the ranks have waited for each other beyond a short spin, together, since this was last asked. */
int64_t nn_team_waited(const nn_team *team);
int64_t nn_nanoseconds(void); /* of a clock that never goes back */
/* This rank's share [*begin, *end) of n, in multiples of `grain`: contiguous, ascending with rank. */
void nn_team_split(const nn_team *team, int64_t n, int64_t grain, int64_t *begin, int64_t *end);

/* ---- pace (pace.c) ----------------------------------------------------------------------------------------------
 * Written by the last to arrive at a barrier and by rank 0 where it walks alone, so all ranks read the same. */
typedef struct nn_pace {
    int32_t alone;        /* rank 0 walks the next stretch by itself */
    int32_t settled;      /* stretches until the other way is tried again */
    int64_t begin, steps; /* of this stretch: when, in nanoseconds, and what was done */
    int64_t walked;       /* steps of the last stretch of rank 0 */
    double team;          /* nanoseconds that a step took the team last */
} nn_pace;

/* Count a step, and where the team walked it decide how to go on. */
void nn_pace_step(nn_pace *p, const nn_team *team);
/* Whether the stretch has lasted long enough. */
int nn_pace_passed(const nn_pace *p);
/* All ranks at the end of a stretch that rank 0 walked: decide how to go on. A barrier as nn_team_barrier. */
int32_t nn_pace_meet(nn_pace *p, const nn_team *team, const volatile int32_t *verdict);

/* ---- calls -----------------------------------------------------------------------------------------------------*/
typedef struct nn_call nn_call;
/* A kernel is serial, over elements, rows or chunks [begin, end) as its op file says. */
typedef void nn_range_fn(const nn_call *c, int64_t begin, int64_t end);
typedef void nn_op_fn(const nn_call *c);

struct nn_call {
    void *const *arg;      /* resolved pointers, outputs first; NULL where absent */
    const int64_t *nbytes; /* what each points at, for ops that index data from outside */
    const int64_t *dim;
    const double *scalar;
    const nn_team *team;
    const struct nn_kernel_set *set;  /* kernels of the level for this real type */
    const struct nn_kernel_set *math; /* its f64 set, for exp, log, sin, cos, pow in drivers */
    const struct nn_bf16_set *bf16;   /* kernels of the other math modes */
    nn_range_fn *const *exact;        /* by opcode, if the instruction asks for correctly rounded elementary functions */
    const nn_run *run;
    nn_fault *fault;
    int32_t is_double; /* real is double */
    int32_t pass;      /* for kernels of several passes, which their driver counts */
    int32_t instr;     /* its index in the tape */
};

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
    int64_t planes;       /* of bfloat16; 0 is math mode f32 */
} nn_gemm_args;

typedef void nn_gemm_fn(const nn_gemm_args *g, void *scratch);
struct nn_emulated; /* accumulate.h */
typedef void nn_emulated_fn(const struct nn_emulated *e, void *scratch);

typedef double nn_probe_fn(int32_t what, void *out, const void *data, int64_t nbytes, int64_t repeats);

/* Kernels of the math modes bf16, bf16x3, bf16x6 (bf16.h), on emulated or real tiles: the same bits. */
typedef struct nn_bf16_set {
    nn_gemm_fn *gemm;
    nn_range_fn *conv_fwd, *conv_bwd_data; /* over images */
    nn_range_fn *conv_bwd_weight;          /* over units: conv_shape.h */
    nn_probe_fn *probe;                    /* see nn_probe; NULL where there are no tiles */
} nn_bf16_set;
/* The loops of instruments.c over n values; look_widen and look_sizes: y = x, y = |x| (ops/instruments_kernel.h). */
typedef struct nn_look_set {
    void (*describe)(nn_statistics *s, const float *x, int64_t n, double low, double high);
    void (*update)(nn_update *u, const float *before, const float *after, const float *g, int64_t n);
    void (*twin)(nn_errors *e, const float *y, const double *truth, int64_t n);
    void (*terms)(nn_errors *e, const double *sum, const float *sizes, int64_t n);
    void (*widen)(double *y, const float *x, int64_t n);
    void (*sizes)(float *y, const float *x, int64_t n);
} nn_look_set;

/* Numbers of a Philox stream, two to a block: element i has block i / 2 mod 2^32 of index + (i / 2^33) 2^32. */
enum { NN_NUMBERS = 64 }; /* at a time: the first of a call is a multiple */
typedef enum nn_kind_of_numbers {
    NN_NUMBERS_UNIFORM,   /* in (0, 1) */
    NN_NUMBERS_SYMMETRIC, /* uniform in (-scale, scale) */
    NN_NUMBERS_NORMAL     /* scale N(0, 1) */
} nn_kind_of_numbers;
typedef enum nn_stored { NN_STORED_FLOAT, NN_STORED_DOUBLE, NN_STORED_ROUNDED /* to float, in a double */ } nn_stored;
typedef struct nn_numbers {
    uint64_t seed, index;
    uint32_t stream;
    nn_kind_of_numbers kind;
    nn_stored stored;
    double scale;
} nn_numbers;

/* Correctly rounded functions of as many floats as a vector of the level has (vec/exact_f64.h); x and y do not overlap. */
typedef void nn_exact_fn(float *y, const float *x);
typedef struct nn_exact_set {
    nn_exact_fn *exp, *expm1, *log, *tanh, *sigmoid, *softplus, *erf, *normal_cdf;
} nn_exact_set;

/* Kernels of one ISA for one real type: the one symbol an object of pass_kernel.c exports. */
typedef struct nn_kernel_set {
    nn_range_fn *range[NN_OP_COUNT_]; /* NULL for ops that are driver only */
    nn_gemm_fn *gemm;
    nn_emulated_fn *emulated;            /* the same in an emulated accumulator, where lanes can; NULL in the f64 sets */
    nn_bf16_set bf16;                    /* empty in the f64 sets: the twin knows no math modes */
    int64_t mr, nr;                      /* register tile, what drivers align their splits to */
    nn_probe_fn *probe;                  /* see nn_probe; on one thread, writes its sums to out */
    double (*exp)(double);               /* float64 elementary functions for drivers; only in the f64 sets */
    double (*log)(double);
    double (*sin)(double);
    double (*cos)(double);
    double (*pow)(double, double);
    nn_exact_set exact;                  /* likewise only there */
    void (*numbers)(void *out, const nn_numbers *how, int64_t begin, int64_t end); /* likewise: ops/random_kernel.h */
    nn_look_set look;                    /* empty in the f64 sets */
} nn_kernel_set;

struct nn_kernels {
    const char *name;
    const nn_kernel_set *f32, *f64;
    nn_range_fn *const *exact; /* kernels of f32 with correctly rounded elementary functions (pass_exact.c), or NULL */
    const nn_bf16_set *bf16;
    nn_op_fn *const *reference[2]; /* whole-op definitions (f32, f64); NULL except at the level "reference" */
};

extern nn_op_fn *const nn_drivers[NN_OP_COUNT_];        /* pass_driver.c */
extern const char *const nn_op_names[NN_OP_COUNT_];     /* pass_driver.c */
extern nn_op_fn *const nn_reference_f32[NN_OP_COUNT_];  /* pass_ref.c; NULL for ops that are driver only */
extern nn_op_fn *const nn_reference_f64[NN_OP_COUNT_];

#define NN_INV_ROOT_2PI 0x1.9884533d43651p-2 /* 1 / sqrt(2 pi) */

/* Where an op keeps the opcode of the activation fused behind it, -1 if it can have none. */
static inline int32_t nn_act_dim(int32_t op)
{
    return op == NN_OP_DENSE_FWD ? 3 : op == NN_OP_CONV_FWD || op == NN_OP_CONV_BWD_DATA ? 16 : -1;
}
/* Where a product keeps the planes of bfloat16 of its math mode, 0 to 3 (bf16.h); -1 for any other op. */
static inline int32_t nn_planes_dim(int32_t op)
{
    switch (op) {
    case NN_OP_DENSE_BWD_DATA: return 3;
    case NN_OP_DENSE_FWD:
    case NN_OP_DENSE_BWD_WEIGHT: return 4;
    case NN_OP_CONV_FWD:
    case NN_OP_CONV_BWD_DATA:
    case NN_OP_CONV_BWD_WEIGHT: return 17;
    default: return -1;
    }
}
/* Where an op keeps whether its elementary functions, or those of its fused activation, are the fast ones (0) or the correctly
 * rounded ones (1): pass_exact.c; -1 for an op without any. */
static inline int32_t nn_exact_dim(int32_t op)
{
    switch (op) {
    case NN_OP_EXPONENTIAL:
    case NN_OP_LOGARITHM:
    case NN_OP_ERROR_FUNCTION:
    case NN_OP_SIGMOID_FWD:
    case NN_OP_TANH_FWD:
    case NN_OP_ELU_FWD:
    case NN_OP_SOFTPLUS_FWD:
    case NN_OP_SOFTPLUS_BWD:
    case NN_OP_GELU_FWD:
    case NN_OP_GELU_BWD: return 1;
    case NN_OP_SOFTMAX_FWD:
    case NN_OP_LOG_SOFTMAX_FWD:
    case NN_OP_LOG_SOFTMAX_BWD:
    case NN_OP_SOFTMAX_XENT:
    case NN_OP_SOFTMAX_XENT_SOFT:
    case NN_OP_BINARY_XENT:
    case NN_OP_LOGISTIC_LOSS: return 2;
    case NN_OP_LOCAL_NORM_FWD:
    case NN_OP_LOCAL_NORM_BWD: return 3;
    case NN_OP_DENSE_FWD: return 5;
    case NN_OP_CONV_FWD:
    case NN_OP_CONV_BWD_DATA: return 18;
    default: return -1;
    }
}
static inline int64_t nn_wants_exact(const nn_instr *in)
{
    return nn_exact_dim(in->op) < 0 ? 0 : in->dim[nn_exact_dim(in->op)];
}
/* The kernel of an op for this call. */
static inline nn_range_fn *nn_kernel_of(const nn_call *c, int64_t op)
{
    return c->exact && c->exact[op] ? c->exact[op] : c->set->range[op];
}
/* rounding.c: whether an instruction's sums are emulated, and whether its code, if there is one, is one of nn_accumulator's. */
int nn_is_emulated(const nn_instr *in);
int nn_accumulator_ok(const nn_instr *in);
/* Run a range kernel over this rank's part of n, split in multiples of grain. */
void nn_drive_range(const nn_call *c, int32_t op, int64_t n, int64_t grain);
/* Whether the ranks of a team of `size` share a product c (m, n) of k terms by its rows; else by columns, in multiples of nr:
 * along the longer side, for what lies along the shorter one is packed by every rank. But where rows are shared, each core's
 * prefetcher reaches into its neighbour's part of every row, 0.1 to 0.3 us each: then a small b is better packed twice. */
static inline int nn_gemm_by_rows(const nn_kernel_set *set, int32_t size, int64_t m, int64_t n, int64_t k)
{
    return m >= n || n < set->nr * size || (m >= set->mr * size && k * n < 1024 * m);
}
/* flags.c: rounding to nearest, no flush to zero, no flag raised, whatever the caller has set; and back. */
uint64_t nn_fp_enter(void);
void nn_fp_leave(uint64_t before);
/* Those of `kinds` that this thread has raised since they were last taken; they are lowered. */
int32_t nn_fp_take(int32_t kinds);
/* This rank's part of the kinds that the values of a product's output and operands tell of. All ranks must have arrived. */
int32_t nn_scan_product(const nn_call *c, const nn_tape *tape, const nn_instr *in);
/* Kinds of this step by rank and instruction: row r of run->raised, of so many bytes. */
int64_t nn_raised_stride(int64_t instructions);
/* Count the present step's kinds of n instructions of a segment, from `first` on; `base` of `total` stand in the segments
 * before. Raises NN_ERR_FLAGGED where run->fatal asks. */
void nn_count_events(nn_run *run, nn_fault *fault, int32_t ranks, int64_t total, int64_t base, int64_t first, int64_t n);
/* Bytes of an element of a tape's buffer. */
int64_t nn_dtype_nbytes(const nn_tape *tape, int32_t dtype);
/* tape_check.c: fill the fault and return its status. What a run must offer a tape: regions and externals large enough. */
int32_t nn_refuse(nn_fault *fault, int32_t status, int64_t instr, int64_t index);
int32_t nn_run_check(const nn_tape *tape, const nn_run *run, nn_fault *fault);
/* An instruction as it is run: its arguments resolved. */
typedef struct nn_bound {
    void *arg[NN_MAX_ARGS];
    int64_t nbytes[NN_MAX_ARGS];
    nn_call call;
} nn_bound;
/* instruction.c: pointers of an instruction's arguments, and how many bytes stand behind each. */
void nn_resolve(const nn_tape *tape, const nn_instr *in, const nn_run *run, void **arg, int64_t *nbytes);
/* instruction.c: run one instruction on this rank, and tell in b what was run. Barriers around it are the caller's. */
void nn_run_instruction(nn_bound *b, const nn_kernels *kernels, const nn_team *team, const nn_tape *tape, const nn_run *run,
                        nn_fault *fault, int64_t index);
/* pass_random.c: what the roundings of a set of kernels in Monte Carlo arithmetic begin with. */
typedef void nn_draw_fn(uint64_t seed);
/* watch.c: a run under instruments, shared by all ranks; what is done before an instruction and behind it. */
typedef struct nn_watching {
    const nn_kernels *kernels;
    const nn_tape *tape;
    const nn_run *run;
    nn_fault *fault;
    nn_run whole, local, terms;
    nn_fault other; /* of the shadow: not told, the run's own checks speak for both */
} nn_watching;
void nn_watch_begin(nn_watching *w, const nn_kernels *kernels, const nn_tape *tape, const nn_run *run, nn_fault *fault);
void nn_watch_before(nn_watching *w, const nn_team *team, int64_t index);
void nn_watch_behind(nn_watching *w, const nn_team *team, int64_t index);
/* share.c: fence[i] = whether a team of `size` must meet before instruction i of a step; groups as in nn_segment. */
void nn_find_fences(const nn_kernel_set *set, const nn_tape *tape, const nn_run *run, int32_t size, const nn_group *groups,
                    uint8_t *fence);
/* Whether a team of `size` must meet somewhere between two instructions, `first` the one that comes first. */
int nn_needs_fence(const nn_kernel_set *set, const nn_tape *tape, const nn_run *run, const nn_instr *first,
                   const nn_instr *then, int32_t size);
/* Bytes of those arguments of which each rank touches its own part alone; all ranks' together. */
int64_t nn_own_nbytes(const nn_kernel_set *set, const nn_tape *tape, const nn_run *run, const nn_instr *in, int32_t size);
/* Whether a team of `size` and one of `finer`, a multiple of it, cut an instruction's work along the same side. */
int nn_is_cut_alike(const nn_kernel_set *set, const nn_instr *in, int32_t size, int32_t finer);
/* Record a fault; the first one wins. The executor sees it at the next barrier. */
void nn_raise(const nn_call *c, int32_t status, int64_t index, double value);
/* Round keys of an epoch's shuffle; nn_tape_run puts them into the run once. */
void nn_shuffle_keys(uint32_t key[8], uint64_t seed, int64_t epoch);
/* Where sample `position` of this epoch lies: shuffled if the run shuffles, then through rows if given. */
int64_t nn_sample_row(const nn_run *run, const int64_t *rows, int64_t position);

#define NN_CAT_(a, b) a##b
#define NN_CAT(a, b) NN_CAT_(a, b)
