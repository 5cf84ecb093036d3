#pragma once
/* accumulate.h - products whose sums are kept in an emulated format, or added by another method: the definition.
 *
 *   naive      s = fl(fma(a, b, s))
 *   kahan      p = fl(a b); y = fl(p - c); t = fl(s + y); c = fl(fl(t - s) - y); s = t
 *   neumaier   p = fl(a b); t = fl(s + p); c = fl(c + fl(fl(large - t) + small)), of s and p; s = t; fl(s + c) last
 *
 * over k ascending from +0; fl(x) is the float32 result x rounded to the format, to nearest. The bias is added in float32, last.
 * Which it is stands in an instruction where else the planes of bfloat16 do, as nn_accumulator packs it. Error: as nn_sum's
 * methods, u that of the format (csrc/sums.c). What NVIDIA's tensor cores do with fp16 accumulators is not written down;
 * this is a definition of our own. */
#include "rounding.h"

enum { ACC_FLAG = 40 }; /* the bit above all the others */

typedef struct nn_accumulation {
    nn_machine m;
    int method, whole; /* whole: the format is fp32 */
} nn_accumulation;

static inline int64_t acc_field(int64_t code, int at, int bits) { return code >> at & (((int64_t)1 << bits) - 1); }

static inline nn_format acc_format(int64_t code)
{
    nn_format f = {(int32_t)acc_field(code, 0, 6), (int32_t)acc_field(code, 6, 11) - 1024, (int32_t)acc_field(code, 17, 11) - 1024,
                   (int32_t)acc_field(code, 28, 1), (int32_t)acc_field(code, 29, 1), 0};
    if (acc_field(code, 33, 6))
        f.largest = nn_format_largest(&f) - (double)acc_field(code, 33, 6) * nn_power_of_two(f.emax - f.precision + 1);
    return f;
}

static inline nn_accumulation acc_open(int64_t code)
{
    nn_accumulation a = {.method = (int)acc_field(code, 30, 3)};
    const nn_arithmetic arithmetic = {acc_format(code), NN_ROUND_NEAREST, 0, 0};
    nn_machine_start(&a.m, &arithmetic, NN_F32, 0);
    a.whole = a.m.kind == MACHINE_F32;
    return a;
}

static inline float acc_fl(const nn_accumulation *a, float x) { return a->whole ? x : (float)nn_round_double(&a->m, x, 0); }
