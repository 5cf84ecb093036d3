/* test_share.c - what the table of share.c claims of each op, against its driver run one rank at a time: a rank writes
 * nothing of another's part and needs nothing of it. And where that leaves barriers. */
#include <stdlib.h>
#include <string.h>

#include "../../csrc/share.c"
#include "check.h"

enum { ARGS = 8, ROOM = 1 << 18, SIZES = 3 };

typedef struct bench {
    nn_buffer buffers[ARGS];
    nn_instr instr;
    nn_tape tape;
    nn_run run;
    nn_fault fault;
    char *memory, *before; /* ARGS times ROOM */
} bench;

static uint64_t dice = 1;

static float draw(void)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (float)(dice >> 40) / (1 << 24) + 0.25f;
}

/* An instruction of op over dims; sizes of its arguments in elements of `dtype`, 0 for an absent one. */
static void set_up(bench *b, int32_t op, const int64_t *dim, const int64_t *count, const int32_t *dtype, int n_args)
{
    char *memory = b->memory, *before = b->before;
    memset(b, 0, sizeof *b);
    b->memory = memory;
    b->before = before;
    b->instr = (nn_instr){.op = op, .n_args = n_args, .scalar = {0.5, 0.25, 0.125, 0}};
    memcpy(b->instr.dim, dim, sizeof b->instr.dim);
    for (int a = 0; a < n_args; a++) {
        b->instr.arg[a] = count[a] ? a : -1;
        b->buffers[a] = (nn_buffer){NN_WORK, dtype[a], (int64_t)a * ROOM, count[a]};
        char *at = memory + (int64_t)a * ROOM;
        for (int64_t i = 0; i < count[a]; i++) {
            if (dtype[a] == NN_F64)
                ((double *)(void *)at)[i] = draw();
            else if (dtype[a] == NN_REAL)
                ((float *)(void *)at)[i] = draw();
            else
                memset(at, 0, (size_t)count[a] * (dtype[a] == NN_I64 ? 8 : dtype[a] == NN_I32 ? 4 : 1));
        }
    }
    b->tape = (nn_tape){NN_F32, 1, n_args, 1, b->buffers, &b->instr, {0, 0, (int64_t)ARGS * ROOM}};
    b->run.base[NN_WORK] = memory;
    b->run.n_samples = 4096;
    memcpy(before, memory, (size_t)ARGS * ROOM);
}

static void drive(bench *b, const nn_kernels *kernels, const nn_team *team)
{
    void *arg[NN_MAX_ARGS] = {NULL};
    int64_t nbytes[NN_MAX_ARGS] = {0};
    for (int a = 0; a < b->instr.n_args; a++)
        if (b->instr.arg[a] >= 0) {
            arg[a] = b->memory + (int64_t)a * ROOM;
            nbytes[a] = b->buffers[a].count * nn_dtype_nbytes(&b->tape, b->buffers[a].dtype);
        }
    nn_call c = {.arg = arg, .nbytes = nbytes, .dim = b->instr.dim, .scalar = b->instr.scalar, .team = team, .set = kernels->f32,
                 .math = kernels->f64, .bf16 = kernels->bf16, .run = &b->run, .fault = &b->fault};
    nn_drivers[b->instr.op](&c);
}

/* Which bytes of an argument are the rank's own. */
typedef struct ownership {
    int64_t begin, end, stride; /* of every row where stride, the length of a row, is not 0 */
} ownership;

static ownership owned_by(const part *p, int32_t rank, int32_t size)
{
    if (p->how != ELEMENTS)
        return (ownership){0, p->how == WHOLE || rank == 0 ? p->nbytes : 0, 0};
    nn_team team = {.rank = rank, .size = size};
    int64_t begin, end;
    nn_team_split(&team, p->n, p->grain, &begin, &end);
    return (ownership){begin * p->unit, end * p->unit, p->stride};
}

static int owns(const ownership *o, int64_t i)
{
    const int64_t at = o->stride ? i % o->stride : i;
    return at >= o->begin && at < o->end;
}

/* Run one rank with all others' parts spoiled: what it owns must come out as from a team of one. */
static void one_rank(bench *b, const nn_kernels *kernels, const char *wanted, void *scratch, int32_t rank, int32_t size)
{
    nn_team team = {rank, size, NULL, scratch, (char *)scratch + NN_SHARED_NBYTES};
    part p[ARGS] = {{0}};
    ownership own[ARGS] = {{0}};
    memcpy(b->memory, b->before, (size_t)ARGS * ROOM);
    for (int a = 0; a < b->instr.n_args; a++) {
        if (find_memory(&b->tape, &b->run, &b->instr, a, &p[a])) {
            find_part(kernels->f32, &b->tape, &b->instr, a, size, &p[a]);
            own[a] = owned_by(&p[a], rank, size);
        }
        for (int64_t i = 0; i < p[a].nbytes; i++)
            if (!owns(&own[a], i))
                b->memory[(int64_t)a * ROOM + i] = 0x7f;
    }
    drive(b, kernels, &team);
    int foreign = 0, wrong = 0;
    for (int a = 0; a < b->instr.n_args; a++)
        for (int64_t i = 0; i < p[a].nbytes; i++) {
            int64_t at = (int64_t)a * ROOM + i;
            if (!owns(&own[a], i))
                foreign += b->memory[at] != 0x7f;
            else if (p[a].how != WHOLE)
                wrong += b->memory[at] != wanted[at];
            else
                wrong += !writes(&b->instr, size, a) && b->memory[at] != b->before[at];
        }
    CHECK(!foreign && !wrong, "%s on %s, rank %d of %d: %d bytes of others written, %d of its own wrong",
          nn_op_name(b->instr.op), kernels->name, rank, size, foreign, wrong);
}

static void claims(bench *b, void *scratch)
{
    static const int32_t sizes[SIZES] = {2, 3, 7};
    char *wanted = malloc((size_t)ARGS * ROOM);
    for (int l = 1; nn_isa_name(l); l++) {
        const nn_kernels *kernels = nn_kernels_named(nn_isa_name(l));
        if (!kernels)
            continue;
        nn_team one = {0, 1, NULL, scratch, (char *)scratch + NN_SHARED_NBYTES};
        memcpy(b->memory, b->before, (size_t)ARGS * ROOM);
        drive(b, kernels, &one);
        memcpy(wanted, b->memory, (size_t)ARGS * ROOM);
        CHECK(b->fault.code == NN_OK, "%s: fault %d", nn_op_name(b->instr.op), b->fault.code);
        for (int s = 0; s < SIZES; s++)
            for (int32_t r = 0; r < sizes[s]; r++)
                one_rank(b, kernels, wanted, scratch, r, sizes[s]);
    }
    free(wanted);
}

/* The arguments of every op of the table by its kind; those it does not own are tensors of one element. */
static void try_op(bench *b, int32_t op, void *scratch, const int64_t *size, int64_t planes)
{
    const share *s = &shares[op];
    int64_t n = size[0], width = size[1], O = size[2], count[ARGS] = {0}, dim[NN_MAX_DIMS] = {n, width, 1, 0};
    int32_t dtype[ARGS] = {0};
    int products = s->how == FWD || s->how == DATA || s->how == WEIGHT, args = products ? 3 + (s->how == FWD) : 6;
    for (int a = 0; a < args; a++) {
        int own = s->own >> a & 1;
        dtype[a] = own ? NN_REAL : NN_F64;
        count[a] = !own ? 1 : s->how == ROWS ? n * width : s->how == COLUMNS ? (a ? n * width : width) : n;
    }
    if (s->how == ROWS && s->own == 15) {
        count[0] = n;
        if (op == NN_OP_SOFTMAX_XENT || op == NN_OP_MULTI_HINGE)
            dtype[3] = NN_I32, count[3] = n;
    }
    if (op == NN_OP_ARGMAX)
        dtype[0] = NN_I32, count[0] = n;
    if (op == NN_OP_ROUND_TO)
        memcpy(dim + 1, (const int64_t[]){8, -126, 127, 1, 0, NN_ROUND_STOCHASTIC, 3}, 7 * sizeof *dim);
    if (products) {
        int64_t x = n * width, w = width * O, y = n * O;
        const int64_t sizes[3][4] = {{y, x, w, O}, {x, y, w, 0}, {w, x, y, 0}};
        memcpy(count, sizes[s->how - FWD], sizeof sizes[0]);
        memset(dtype, 0, sizeof dtype);
        dim[2] = O;
        dim[3] = s->how == WEIGHT ? 1 : -1;
        dim[nn_planes_dim(op)] = planes;
    }
    set_up(b, op, dim, count, dtype, args);
    claims(b, scratch);
}

static void every_claim(bench *b, void *scratch)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {7, 10, 3}, {50, 96, 160}, {130, 64, 33}};
    int tried = 0;
    for (int32_t op = 0; op < NN_OP_COUNT_; op++) {
        int how = shares[op].how;
        if (how == WHOLE || how == FIRST || how == SMALL || how == IMAGES || (op >= NN_OP_GATHER_U8 && op <= NN_OP_GATHER_TARGETS))
            continue;
        for (int i = 0; i < 4; i++)
            for (int64_t planes = 0; planes <= (nn_planes_dim(op) < 0 ? 0 : 3); planes++)
                try_op(b, op, scratch, sizes[i], planes);
        tried++;
    }
    CHECK(tried > 40, "%d ops", tried);
}

/* Gathers own the rows they write; what they read comes from outside and is never written. */
static void gathers(bench *b, void *scratch)
{
    static const int32_t ops[] = {NN_OP_GATHER_U8, NN_OP_GATHER_F32, NN_OP_GATHER_LABELS, NN_OP_GATHER_TARGETS};
    for (int i = 0; i < 4; i++) {
        int labels = ops[i] == NN_OP_GATHER_LABELS;
        const int64_t dim[NN_MAX_DIMS] = {25, labels ? 10 : 12, 1, 0}, count[ARGS] = {labels ? 25 : 300, 300, 0, 1, 1};
        const int32_t dtype[ARGS] = {labels ? NN_I32 : NN_REAL, i % 2 ? NN_REAL : NN_U8, 0, NN_REAL, NN_REAL};
        set_up(b, ops[i], dim, count, dtype, 5);
        claims(b, scratch);
    }
}

/* Convolutions and pooling over whole images: arguments y x w b, of pooling y index x or dx dy index. `taps` 1 makes a
 * product of a convolution; `channels` of the input and of the output. */
static void try_images(bench *b, int32_t op, void *scratch, int64_t images, int64_t taps, const int64_t channels[2], int64_t planes)
{
    enum { SIDE = 6 };
    int conv = op == NN_OP_CONV_FWD || op == NN_OP_CONV_BWD_DATA, index = op == NN_OP_MAX_POOL_FWD || op == NN_OP_MAX_POOL_BWD;
    int64_t C = channels[0], K = conv ? channels[1] : C, P = conv ? SIDE - taps + 1 : SIDE / 2;
    int64_t x = images * SIDE * SIDE * C, y = images * P * P * K, w = taps * taps * C * K;
    const int64_t conv_dim[NN_MAX_DIMS] = {images, SIDE, SIDE, C, taps, taps, K, P, P, 1, 1, 0, 0, 1, 1, 1, -1, planes};
    const int64_t pool_dim[NN_MAX_DIMS] = {images, SIDE, SIDE, C, 2, 2, 2, 2, 0, 0};
    int back = op == NN_OP_CONV_BWD_DATA || op == NN_OP_MAX_POOL_BWD || op == NN_OP_AVG_POOL_BWD;
    int64_t count[ARGS] = {back ? x : y, back ? y : x, conv ? w : 0, 0};
    int32_t dtype[ARGS] = {0};
    if (index) {
        count[2] = op == NN_OP_MAX_POOL_FWD ? x : y;
        count[1] = y;
        dtype[op == NN_OP_MAX_POOL_FWD ? 1 : 2] = NN_U8;
    }
    set_up(b, op, conv ? conv_dim : pool_dim, count, dtype, 4);
    claims(b, scratch);
}

static void every_image(bench *b, void *scratch)
{
    static const int32_t ops[] = {NN_OP_CONV_FWD,     NN_OP_CONV_BWD_DATA, NN_OP_MAX_POOL_FWD,
                                  NN_OP_MAX_POOL_BWD, NN_OP_AVG_POOL_FWD,  NN_OP_AVG_POOL_BWD};
    static const int64_t channels[][2] = {{1, 6}, {6, 16}, {32, 40}}, wide[2] = {40, 300};
    int tried = 0;
    for (int32_t op = 0; op < NN_OP_COUNT_; op++)
        tried += shares[op].how == IMAGES;
    CHECK(tried == sizeof ops / sizeof *ops, "%d ops share images", tried);
    for (int o = 0; o < tried; o++)
        for (int i = 0; i < 3; i++)
            for (int64_t taps = 1; taps <= 3; taps += 2)
                for (int64_t planes = 0; planes <= (nn_planes_dim(ops[o]) < 0 || i < 2 ? 0 : 2); planes += 2) {
                    try_images(b, ops[o], scratch, 6, taps, channels[i], planes); /* cut by 2 and 3, not by 7 */
                    try_images(b, ops[o], scratch, i == 2 ? 7 : 42, taps, channels[i], planes);
                }
    try_images(b, NN_OP_CONV_FWD, scratch, 6, 1, wide, 0); /* a product by columns: no claim */
}

/* Fences of a few instructions over (64, 64) matrices X Y Z, a weight W and a loss. */
static void fences(void)
{
    enum { X, Y, Z, W, LOSS, V, BUFFERS, N = 4096, BYTES = 4 * N };
    static char work[5 * BYTES], param[BYTES];
    const nn_buffer buffers[BUFFERS] = {{NN_WORK, NN_REAL, 0, N}, {NN_WORK, NN_REAL, BYTES, N}, {NN_WORK, NN_REAL, 2 * BYTES, N},
                                        {NN_PARAM, NN_REAL, 0, N}, {NN_WORK, NN_REAL, 3 * BYTES, 1}, {NN_WORK, NN_REAL, 4 * BYTES, N}};
    const nn_instr instrs[] = {
        {.op = NN_OP_SCALE, .n_args = 2, .arg = {Y, X}, .dim = {N}, .scalar = {2}},
        {.op = NN_OP_ADD, .n_args = 3, .arg = {Z, Y, X}, .dim = {N}},              /* 1: the same parts */
        {.op = NN_OP_DENSE_BWD_WEIGHT, .n_args = 3, .arg = {X, Y, Z}, .dim = {64, 64, 64, 1}}, /* 2: all of z; writes x */
        {.op = NN_OP_SUM_ALL, .n_args = 2, .arg = {LOSS, Y}, .dim = {N, 1}, .scalar = {1}},    /* 3: reads y, made before */
        {.op = NN_OP_CHECK_FINITE, .n_args = 1, .arg = {LOSS}, .dim = {1}},        /* 4: rank 0 again */
        {.op = NN_OP_SCALE, .n_args = 2, .arg = {V, X}, .dim = {N}, .scalar = {2}},/* 5: x by the same rows */
        {.op = NN_OP_ASSIGN, .n_args = 2, .arg = {W, X}, .dim = {N}},              /* 6: an update behind a check */
        {.op = NN_OP_SOFTMAX_FWD, .n_args = 2, .arg = {Y, X}, .dim = {64, 64}},    /* 7: unknown */
        {.op = NN_OP_ASSIGN, .n_args = 2, .arg = {W, X}, .dim = {N}},              /* 8: behind an unknown */
    };
    enum { INSTRS = sizeof instrs / sizeof *instrs };
    static const uint8_t wanted[INSTRS] = {0, 0, 1, 0, 0, 0, 1, 1, 1};
    /* 1 and 2 walked in one go: what 2 needs of 0 stands before 1 */
    static const nn_group groups[INSTRS] = {{1, 1}, {2, 4}, {0, 4}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
    static const uint8_t grouped[INSTRS] = {0, 1, 0, 0, 0, 0, 1, 1, 1};
    const nn_tape tape = {NN_F32, 1, BUFFERS, INSTRS, buffers, instrs, {BYTES, 0, sizeof work}};
    const nn_run run = {.base = {param, NULL, work}};
    for (int l = 1; nn_isa_name(l); l++) {
        const nn_kernels *kernels = nn_kernels_named(nn_isa_name(l));
        uint8_t found[INSTRS];
        if (!kernels)
            continue;
        nn_find_fences(kernels->f32, &tape, &run, 2, NULL, found);
        for (int i = 0; i < INSTRS; i++)
            CHECK(found[i] == wanted[i], "%s: instruction %d: %d", kernels->name, i, found[i]);
        nn_find_fences(kernels->f32, &tape, &run, 2, groups, found);
        for (int i = 0; i < INSTRS; i++)
            CHECK(found[i] == grouped[i], "%s: instruction %d in groups: %d", kernels->name, i, found[i]);
    }
}

int main(void)
{
    void *scratch = aligned_alloc(64, (size_t)nn_scratch_nbytes(1));
    bench b = {.memory = aligned_alloc(64, (size_t)ARGS * ROOM), .before = aligned_alloc(64, (size_t)ARGS * ROOM)};
    every_claim(&b, scratch);
    gathers(&b, scratch);
    every_image(&b, scratch);
    fences();
    free(b.memory);
    free(b.before);
    free(scratch);
    return check_summary("test_share");
}
