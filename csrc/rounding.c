/* rounding.c - formats of other precision and range than the processor's, and rounding to them.
 *
 *   fl(x) = x (1 + d), |d| <= 2^-precision to nearest, below 2^(1 - precision) in the other directions, in the normal range
 *
 * Named formats: IEEE 754-2019 (fp64, fp32, fp16); bf16, 8 bits of significand and the range of fp32; tf32, 11 and that
 * range (NVIDIA A100 whitepaper 2020); fp8 as Micikevicius et al. 2022, arXiv 2209.05433, table 1: e4m3 ends at 448, its
 * next value being NaN's code, and both saturate, as converting to them does; int8, the integers -127..127 of symmetric
 * quantisation: all but the largest 64 of either sign are subnormal, so the spacing is 1 everywhere.
 * Stochastic rounding: up with probability (x - below) / (above - below), so that E fl(x) = x (Croci et al. 2022). */
#include "accumulate.h"

static const struct {
    const char *name;
    nn_format format;
} named[] = {
    {"fp64", {53, -1022, 1023, 1, 0, 0}}, {"fp32", {24, -126, 127, 1, 0, 0}},      {"tf32", {11, -126, 127, 1, 0, 0}},
    {"bf16", {8, -126, 127, 1, 0, 0}},    {"fp16", {11, -14, 15, 1, 0, 0}},        {"fp8-e4m3", {4, -6, 8, 1, 1, 448}},
    {"fp8-e5m2", {3, -14, 15, 1, 1, 0}},  {"int8", {7, 6, 6, 1, 1, 0}},
};
enum { NAMED = sizeof named / sizeof named[0] };

const char *nn_format_name(int32_t index) { return index >= 0 && index < NAMED ? named[index].name : NULL; }

int32_t nn_format_named(nn_format *format, const char *name)
{
    for (int i = 0; i < NAMED; i++)
        if (!strcmp(name, named[i].name)) {
            *format = named[i].format;
            return NN_OK;
        }
    return NN_ERR_ARGUMENT;
}

static int is_format(const nn_format *f)
{
    if (f->precision < 2 || f->precision > 53 || f->emin < -1022 || f->emin > f->emax || f->emax > 1023)
        return 0;
    return f->largest == 0 || (f->largest >= nn_power_of_two(f->emin) && f->largest < 2 * nn_power_of_two(f->emax));
}

double nn_format_largest(const nn_format *f)
{
    if (!is_format(f))
        return 0;
    return f->largest != 0 ? f->largest : (2 - nn_power_of_two(1 - f->precision)) * nn_power_of_two(f->emax);
}

static int same_format(const nn_format *f, const nn_format *g)
{
    return f->precision == g->precision && f->emin == g->emin && f->emax == g->emax && f->subnormals && !f->saturate &&
           (f->largest == 0 || f->largest == nn_format_largest(g));
}

/* Whether every value of a format is one of fp32. */
static int fits_float(const nn_format *f)
{
    const int last = f->subnormals ? f->emin - f->precision + 1 : f->emin;
    return f->precision <= 24 && f->emax <= 127 && last >= -149 && (f->subnormals || f->emin >= -126);
}

int32_t nn_machine_start(nn_machine *m, const nn_arithmetic *a, int32_t real, int computes)
{
    const nn_format *f = &a->format;
    if (!is_format(f) || a->rounding < NN_ROUND_NEAREST || a->rounding > NN_ROUND_STOCHASTIC ||
        (real != NN_F32 && real != NN_F64))
        return NN_ERR_ARGUMENT;
    const int nearest = a->rounding == NN_ROUND_NEAREST;
    *m = (nn_machine){.a = *a, .largest = nn_format_largest(f), .kind = MACHINE_EMULATED, .drawn = UINT64_MAX,
                      .stream = NN_STREAM_ROUNDING};
    if (nearest && same_format(f, &named[0].format))
        m->kind = MACHINE_F64;
    else if (nearest && real == NN_F32 && same_format(f, &named[1].format))
        m->kind = MACHINE_F32;
    else if (computes && (f->precision > 26 || f->emin < -500 || f->emax > 500))
        return NN_ERR_ARGUMENT; /* a product would not be exact in double */
    return NN_OK;
}

int64_t nn_accumulator(const nn_arithmetic *a, int32_t method, int32_t id)
{
    const nn_format *f = &a->format;
    if (!is_format(f) || !fits_float(f) || method < NN_SUM_NAIVE || method > NN_SUM_DOT2 || id < 0 || id >> 16 ||
        a->rounding < NN_ROUND_NEAREST || a->rounding > NN_ROUND_STOCHASTIC)
        return 0;
    const double full = (2 - nn_power_of_two(1 - f->precision)) * nn_power_of_two(f->emax);
    const double missing = (full - nn_format_largest(f)) / nn_power_of_two(f->emax - f->precision + 1);
    if (!(missing >= 0 && missing < 64) || missing != (double)(int64_t)missing)
        return 0;
    return (int64_t)1 << ACC_FLAG | (int64_t)id << 42 | (int64_t)a->rounding << 39 | (int64_t)missing << 33 |
           (int64_t)method << 30 | (int64_t)(f->saturate != 0) << 29 | (int64_t)(f->subnormals != 0) << 28 |
           (int64_t)(f->emax + 1024) << 17 | (int64_t)(f->emin + 1024) << 6 | f->precision;
}

int32_t nn_sums_dim(int32_t op)
{
    switch (op) {
    case NN_OP_SUM_SQUARES:
    case NN_OP_SUM_ABS: return 1;
    case NN_OP_SUM_ALL:
    case NN_OP_TREE_SUM:
    case NN_OP_LAYER_NORM_FWD:
    case NN_OP_LAYER_NORM_BWD: return 2;
    case NN_OP_SUM_ROWS:
    case NN_OP_LAYER_NORM_BWD_WEIGHT: return 3;
    case NN_OP_BATCH_NORM_FWD: return 4;
    case NN_OP_BATCH_NORM_BWD: return 5;
    default: return nn_planes_dim(op);
    }
}

int nn_is_emulated(const nn_instr *in)
{
    const int32_t at = nn_sums_dim(in->op);
    return at >= 0 && in->dim[at] >> ACC_FLAG;
}

int nn_accumulator_ok(const nn_instr *in)
{
    const int32_t at = nn_sums_dim(in->op);
    const int64_t code = at < 0 ? 0 : in->dim[at], planes = nn_planes_dim(in->op) < 0 ? 0 : 3;
    if (code >= 0 && code <= planes)
        return 1;
    if (code >> ACC_FLAG != 1)
        return 0;
    const nn_arithmetic a = acc_arithmetic(code);
    return code == nn_accumulator(&a, acc_method(code), acc_id(code));
}

int32_t nn_round(void *y, const void *x, int32_t real, int64_t n, const nn_arithmetic *arithmetic)
{
    nn_machine m;
    if (n < 0 || nn_machine_start(&m, arithmetic, real, 0) != NN_OK || (real == NN_F32 && !fits_float(&arithmetic->format)))
        return NN_ERR_ARGUMENT;
    const uint64_t caller = nn_fp_enter();
    if (real == NN_F32)
        for (int64_t i = 0; i < n; i++)
            ((float *)y)[i] = (float)nn_round_double(&m, ((const float *)x)[i], nn_dice(&m, (uint64_t)i));
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)y)[i] = nn_round_double(&m, ((const double *)x)[i], nn_dice(&m, (uint64_t)i));
    nn_fp_leave(caller);
    return NN_OK;
}

int32_t nn_draw(const nn_kernels *kernels, void *out, int32_t real, int64_t n, int32_t normal, uint64_t seed, uint64_t index)
{
    if (n < 0 || n > (int64_t)1 << 33 || (real != NN_F32 && real != NN_F64))
        return NN_ERR_ARGUMENT;
    const nn_numbers how = {seed, index, NN_STREAM_LAB, normal ? NN_NUMBERS_NORMAL : NN_NUMBERS_UNIFORM,
                            real == NN_F32 ? NN_STORED_FLOAT : NN_STORED_DOUBLE, 1};
    const uint64_t caller = nn_fp_enter();
    kernels->f64->numbers(out, &how, 0, n);
    nn_fp_leave(caller);
    return NN_OK;
}
