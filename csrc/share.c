/* share.c - where a barrier must stand: before an instruction that needs what another rank has written since the last
 * one, or that writes what another rank may still be reading.
 *
 * The table below says of an op how its driver shares the work and which arguments a rank touches in its own part alone.
 * Two instructions between which no byte passes from one rank to another need no barrier between them: the gather, the
 * product by rows and the activation behind it, a weight's gradient and its update. An op that the table does not name is
 * taken to touch everything on every rank, and may have barriers of its own inside; it stands between two barriers.
 * A claim here that the driver does not keep is a race: tests/c/test_share.c runs each op one rank at a time. */
#include "internal.h"

/* WHOLE: unknown. ELEMENTS and ROWS: dim[0] of them as nn_drive_range splits them. IMAGES: rows of dim[0] images, which are
 * whole images if the ranks divide their number, else unknown. COLUMNS: of sum_rows. FIRST: rank 0 does it all; SMALL: if it
 * is one chunk at most, else unknown. FWD, DATA, WEIGHT: the dense products, by rows or columns as nn_gemm_by_rows says. */
typedef enum sharing { WHOLE = 0, ELEMENTS, ROWS, IMAGES, COLUMNS, FIRST, SMALL, FWD, DATA, WEIGHT } sharing;

typedef struct share {
    uint8_t how;
    uint8_t raises;  /* may end the run: no update may start before its verdict is known */
    uint16_t own;    /* bits of the arguments of which a rank touches its part alone; all others may be read whole */
    uint16_t writes; /* bits of the arguments that are written */
} share;

#define MAP1 {ELEMENTS, 0, 3, 1}           /* y x */
#define MAP2 {ELEMENTS, 0, 7, 1}           /* y a b */
#define UPDATE(n) {ELEMENTS, 0, (1 << ((n) + 1)) - 1, (1 << (n)) - 1} /* n tensors that change, and a gradient */
#define ROW_LOSS {ROWS, 0, 15, 3}          /* loss dz z t */

static const share shares[NN_OP_COUNT_] = {
    [NN_OP_DENSE_FWD] = {FWD, 0, 15, 1}, [NN_OP_DENSE_BWD_DATA] = {DATA, 0, 7, 1}, [NN_OP_DENSE_BWD_WEIGHT] = {WEIGHT, 0, 7, 1},
    [NN_OP_SUM_ROWS] = {COLUMNS, 0, 3, 1}, [NN_OP_SUM_ALL] = {SMALL, 0, 0, 1}, [NN_OP_SUM_SQUARES] = {SMALL, 0, 0, 1},
    [NN_OP_SUM_ABS] = {SMALL, 0, 0, 1}, [NN_OP_TREE_SUM] = {ELEMENTS, 0, 1, 1},
    [NN_OP_ADD] = MAP2, [NN_OP_SUB] = MAP2, [NN_OP_MUL] = MAP2, [NN_OP_SCALE] = MAP1, [NN_OP_SCALE_BY] = {ELEMENTS, 0, 3, 1},
    [NN_OP_ADD_SCALED] = MAP2, [NN_OP_ADD_SIGN] = MAP2, [NN_OP_ASSIGN] = MAP1, [NN_OP_FILL] = {ELEMENTS, 0, 1, 1},
    [NN_OP_QUOTIENT] = MAP2, [NN_OP_SQUARE_ROOT] = MAP1, [NN_OP_EXPONENTIAL] = MAP1, [NN_OP_LOGARITHM] = MAP1,
    [NN_OP_ERROR_FUNCTION] = MAP1,
    [NN_OP_ROUND_TO] = {ELEMENTS, 1, 3, 1}, [NN_OP_STEP_FWD] = MAP1,
    [NN_OP_SATLIN_FWD] = MAP1, [NN_OP_SATLIN_BWD] = MAP2, [NN_OP_SIGMOID_FWD] = MAP1,
    [NN_OP_SIGMOID_BWD] = MAP2, [NN_OP_TANH_FWD] = MAP1, [NN_OP_TANH_BWD] = MAP2, [NN_OP_RELU_FWD] = MAP1,
    [NN_OP_RELU_BWD] = MAP2, [NN_OP_LEAKY_RELU_FWD] = MAP1, [NN_OP_LEAKY_RELU_BWD] = MAP2, [NN_OP_ELU_FWD] = MAP1,
    [NN_OP_ELU_BWD] = MAP2, [NN_OP_SOFTPLUS_FWD] = MAP1, [NN_OP_SOFTPLUS_BWD] = MAP2,
    [NN_OP_GELU_FWD] = MAP1, [NN_OP_GELU_BWD] = MAP2,
    [NN_OP_SOFTMAX_XENT] = ROW_LOSS, [NN_OP_SOFTMAX_XENT_SOFT] = ROW_LOSS, [NN_OP_SQUARED_ERROR] = ROW_LOSS,
    [NN_OP_ABSOLUTE_ERROR] = ROW_LOSS, [NN_OP_HUBER] = ROW_LOSS, [NN_OP_BINARY_XENT] = ROW_LOSS,
    [NN_OP_LOGISTIC_LOSS] = ROW_LOSS, [NN_OP_HINGE] = ROW_LOSS, [NN_OP_MULTI_HINGE] = ROW_LOSS, [NN_OP_PERCEPTRON] = ROW_LOSS,
    [NN_OP_GATHER_U8] = {ROWS, 1, 1, 1}, [NN_OP_GATHER_F32] = {ROWS, 1, 1, 1}, [NN_OP_GATHER_LABELS] = {ROWS, 1, 1, 1},
    [NN_OP_GATHER_TARGETS] = {ROWS, 1, 1, 1},
    [NN_OP_SGD] = UPDATE(1), [NN_OP_MOMENTUM] = UPDATE(2), [NN_OP_NESTEROV] = UPDATE(2), [NN_OP_ADAGRAD] = UPDATE(2),
    [NN_OP_RMSPROP] = UPDATE(2), [NN_OP_ADADELTA] = UPDATE(3), [NN_OP_ADAM] = UPDATE(3), [NN_OP_DECAY] = {ELEMENTS, 0, 1, 1},
    [NN_OP_INCREMENT] = {FIRST, 0, 0, 1}, [NN_OP_SCHEDULE] = {FIRST, 1, 0, 1},
    [NN_OP_CONV_FWD] = {IMAGES, 0, 3, 1}, [NN_OP_CONV_BWD_DATA] = {IMAGES, 0, 3, 1},
    [NN_OP_MAX_POOL_FWD] = {IMAGES, 0, 7, 3}, [NN_OP_MAX_POOL_BWD] = {IMAGES, 0, 7, 1},
    [NN_OP_AVG_POOL_FWD] = {IMAGES, 0, 3, 1}, [NN_OP_AVG_POOL_BWD] = {IMAGES, 0, 3, 1},
    [NN_OP_BATCH_NORM_FIXED_FWD] = {ROWS, 0, 3, 1},
    [NN_OP_METRICS] = {FIRST, 1, 0, 1}, [NN_OP_CHECK_FINITE] = {SMALL, 1, 0, 0}, [NN_OP_ARGMAX] = {ROWS, 0, 3, 1},
};

/* A convolution of one tap may run as a product, of more columns than rows perhaps: by columns. */
static int is_by_columns(const nn_instr *in)
{
    const int64_t *d = in->dim; /* N H W C R S K */
    return (in->op == NN_OP_CONV_FWD || in->op == NN_OP_CONV_BWD_DATA) && d[4] * d[5] == 1 &&
           d[0] * d[1] * d[2] < (d[3] > d[6] ? d[3] : d[6]);
}

static sharing how_shared(const nn_instr *in, int32_t size)
{
    sharing how = nn_is_emulated(in) ? WHOLE : shares[in->op].how;
    if (how == IMAGES && (in->dim[0] % size || is_by_columns(in)))
        return WHOLE;
    if (how != SMALL)
        return how;
    int64_t shards = in->op == NN_OP_SUM_ALL ? in->dim[1] : 1;
    return in->dim[0] <= NN_CHUNK && shards == 1 ? FIRST : WHOLE;
}

static int writes(const nn_instr *in, int32_t size, int arg)
{
    return how_shared(in, size) == WHOLE || shares[in->op].writes >> arg & 1;
}

/* The part of an argument that belongs to a rank: units [begin, end) of `unit` bytes as nn_team_split cuts n by grain, of
 * every row where stride, the length of a row, is not 0. `how` is ELEMENTS for that, FIRST or WHOLE. */
typedef struct part {
    const char *at;
    int64_t nbytes, n, grain, unit, stride;
    int how;
} part;

static int64_t edge(const part *p, int32_t rank, int32_t size)
{
    nn_team team = {.rank = rank, .size = size};
    int64_t begin, end;
    nn_team_split(&team, p->n, p->grain, &begin, &end);
    return begin * p->unit;
}

static int is_apart(const part *a, const part *b) { return a->at >= b->at + b->nbytes || b->at >= a->at + a->nbytes; }

/* Whether some rank may meet another in this memory, which one of them writes. */
static int meets(const part *a, const part *b, int32_t size)
{
    if (a->how == FIRST && b->how == FIRST)
        return 0;
    if (a->how != ELEMENTS || b->how != ELEMENTS || a->at != b->at || a->nbytes != b->nbytes || a->stride != b->stride)
        return 1;
    for (int32_t r = 1; r < size; r++)
        if (edge(a, r, size) != edge(b, r, size))
            return 1;
    return 0;
}

static void flat(part *p, int64_t n, int64_t grain, int64_t unit) { p->n = n, p->grain = grain, p->unit = unit; }

static void band(part *p, int64_t columns, int64_t grain, int64_t unit)
{
    flat(p, columns, grain, unit);
    p->stride = columns * unit;
}

/* Whether a dense product, of which the ranks share what `how` says, is shared by rows. */
static int is_by_rows(const nn_kernel_set *set, const nn_instr *in, sharing how, int32_t size)
{
    const int64_t N = in->dim[0], I = in->dim[1], O = in->dim[2];
    switch (how) {
    case FWD: return nn_gemm_by_rows(set, size, N, O, I);
    case DATA: return nn_gemm_by_rows(set, size, N, I, O);
    default: return nn_gemm_by_rows(set, size, I, O, N / in->dim[3]);
    }
}

/* Of c = a b (m, n): argument 0 is c, 1 and 2 its factors in the instruction's order, 3 the bias. */
static void product_part(const nn_kernel_set *set, const nn_instr *in, int arg, sharing how, int32_t size, int64_t real, part *p)
{
    int64_t N = in->dim[0], I = in->dim[1], O = in->dim[2];
    int64_t m = how == WEIGHT ? I : N, n = how == DATA ? I : O;
    int by_rows = is_by_rows(set, in, how, size);
    int64_t grain = by_rows ? 1 : set->nr;
    int whole = how == WEIGHT ? (in->dim[3] != 1 || arg == (by_rows ? 2 : 1)) : by_rows ? arg >= 2 : arg == 1;
    if (whole)
        p->how = WHOLE;
    else if (by_rows && how == WEIGHT && arg == 1)
        band(p, I, grain, real); /* columns of x */
    else if (by_rows)
        flat(p, m, grain, real * (how == FWD && arg == 1 ? I : arg == 0 ? n : O));
    else if (arg == 3)
        flat(p, n, grain, real);
    else if (how == DATA && arg == 2)
        flat(p, I, grain, real * O); /* rows of w are columns of its transpose */
    else
        band(p, n, grain, real);
}

/* The memory of an argument, whole; 0 if there is none. */
static int find_memory(const nn_tape *tape, const nn_run *run, const nn_instr *in, int arg, part *p)
{
    if (arg >= in->n_args || in->arg[arg] < 0)
        return 0;
    const nn_buffer *b = &tape->buffers[in->arg[arg]];
    p->how = WHOLE;
    if (b->region == NN_EXTERNAL) {
        p->at = run->external[b->offset];
        p->nbytes = run->external_nbytes[b->offset];
    } else {
        p->at = (char *)run->base[b->region] + b->offset;
        p->nbytes = b->count * nn_dtype_nbytes(tape, b->dtype);
    }
    return 1;
}

/* What each rank touches of an argument that find_memory has found. */
static void find_part(const nn_kernel_set *set, const nn_tape *tape, const nn_instr *in, int arg, int32_t size, part *p)
{
    const nn_buffer *b = &tape->buffers[in->arg[arg]];
    const sharing how = how_shared(in, size);
    const int64_t unit = nn_dtype_nbytes(tape, b->dtype);
    if (how == FIRST)
        p->how = FIRST;
    else if (how != WHOLE && shares[in->op].own >> arg & 1 && b->region != NN_EXTERNAL) {
        p->stride = 0;
        p->how = ELEMENTS;
        if (how == ELEMENTS)
            flat(p, in->dim[0], NN_GRAIN, unit);
        else if (how == ROWS || how == IMAGES)
            flat(p, in->dim[0], 1, in->dim[0] > 0 ? p->nbytes / in->dim[0] : 0);
        else if (how == COLUMNS && arg == 0 && in->dim[2] == 1)
            flat(p, in->dim[1], NN_GRAIN, unit);
        else if (how == COLUMNS)
            band(p, in->dim[1], NN_GRAIN, unit);
        else
            product_part(set, in, arg, how, size, unit, p);
    }
}

static int is_persistent(const nn_tape *tape, const nn_instr *in, int32_t size)
{
    for (int a = 0; a < in->n_args; a++)
        if (in->arg[a] >= 0 && writes(in, size, a) && tape->buffers[in->arg[a]].region < NN_WORK)
            return 1;
    return 0;
}

int nn_needs_fence(const nn_kernel_set *set, const nn_tape *tape, const nn_run *run, const nn_instr *first,
                   const nn_instr *then, int32_t size)
{
    sharing a = how_shared(first, size), b = how_shared(then, size);
    if (a == WHOLE || b == WHOLE)
        return 1;
    const int32_t planes[] = {nn_planes_dim(first->op), nn_planes_dim(then->op)};
    if (run->events && ((planes[0] >= 0 && first->dim[planes[0]]) || (planes[1] >= 0 && then->dim[planes[1]])))
        return 1; /* flags.c looks through its outputs, all ranks together */
    if (shares[first->op].raises && is_persistent(tape, then, size) && !(a == FIRST && b == FIRST))
        return 1;
    part p, q;
    /* Cheap questions first: of a step of a small network this takes a third of a microsecond. */
    for (int i = 0; i < first->n_args; i++)
        for (int j = 0; j < then->n_args; j++) {
            if (!((shares[first->op].writes >> i | shares[then->op].writes >> j) & 1) || !find_memory(tape, run, first, i, &p) ||
                !find_memory(tape, run, then, j, &q) || is_apart(&p, &q))
                continue;
            find_part(set, tape, first, i, size, &p);
            find_part(set, tape, then, j, size, &q);
            if (meets(&p, &q, size))
                return 1;
        }
    return 0;
}

int64_t nn_own_nbytes(const nn_kernel_set *set, const nn_tape *tape, const nn_run *run, const nn_instr *in, int32_t size)
{
    int64_t total = 0;
    part p;
    for (int a = 0; a < in->n_args; a++)
        if (find_memory(tape, run, in, a, &p)) {
            find_part(set, tape, in, a, size, &p);
            total += p.how == ELEMENTS ? p.nbytes : 0;
        }
    return total;
}

int nn_is_cut_alike(const nn_kernel_set *set, const nn_instr *in, int32_t size, int32_t finer)
{
    const sharing how = how_shared(in, finer);
    return (how != FWD && how != DATA && how != WEIGHT) || is_by_rows(set, in, how, size) == is_by_rows(set, in, how, finer);
}

void nn_find_fences(const nn_kernel_set *set, const nn_tape *tape, const nn_run *run, int32_t size, const nn_group *groups,
                    uint8_t *fence)
{
    enum { WINDOW = 32 }; /* keeps the search linear in the length of the tape */
    int64_t last = 0;
    for (int64_t i = 0, next; i < tape->n_instrs; i = next) {
        next = i + (groups ? groups[i].instrs : 1); /* a group is walked in one go: what any of it needs stands before all */
        int found = i - last >= WINDOW;
        for (int64_t m = i; m < next; m++) {
            fence[m] = 0;
            for (int64_t k = last; k < i && !found; k++)
                found = nn_needs_fence(set, tape, run, &tape->instrs[k], &tape->instrs[m], size);
        }
        fence[i] = (uint8_t)(found && i > 0);
        last = found ? i : last;
    }
}
