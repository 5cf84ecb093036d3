/* pass_exact.c - the KERNEL part of the ops with elementary functions once more, now with correctly rounded ones, compiled once
 * per ISA, for float.
 *
 * The build passes what pass_kernel.c gets, and NN_DOUBLES, the level's kernel set for double. NN_SET is a table by opcode,
 * NULL where an op has no elementary function and is in no file with one that has. */
#include "internal.h"
#include "random.h"
#include "vec/vec.h"
#include "vec/exact_f32.h"
#include "vec/transpose.h"

#define NN_PASS_KERNEL
#include "ops/exact.h"
#undef NN_PASS_KERNEL

#define NN_PASS_LIST
#define NN_OP(name, ID) [NN_OP_##ID] = name,
#define NN_OP_DRIVEN(name, ID)
#define NN_OP_HOST(name, ID)
extern nn_range_fn *const NN_SET[NN_OP_COUNT_];
nn_range_fn *const NN_SET[NN_OP_COUNT_] = {
#include "ops/exact.h"
};
