/* pass_driver.c - the DRIVER part of every op, compiled once: splits the work over the team and calls kernels. */
#include "internal.h"
#include "random.h"

/* Most ops: elements or rows are independent, so every rank runs the kernel on its share. */
#define NN_DRIVE_ELEMENTS(name, ID) \
    static void name(const nn_call *c) { nn_drive_range(c, NN_OP_##ID, c->dim[0], NN_GRAIN); }
#define NN_DRIVE_ROWS(name, ID) \
    static void name(const nn_call *c) { nn_drive_range(c, NN_OP_##ID, c->dim[0], 1); }

#define NN_PASS_DRIVER
#include "ops/all.h"
#undef NN_PASS_DRIVER

#define NN_PASS_LIST
#define NN_OP(name, ID) [NN_OP_##ID] = name,
#define NN_OP_DRIVEN(name, ID) [NN_OP_##ID] = name,
#define NN_OP_HOST(name, ID) [NN_OP_##ID] = name,
nn_op_fn *const nn_drivers[NN_OP_COUNT_] = {
#include "ops/all.h"
};
#undef NN_OP
#undef NN_OP_DRIVEN
#undef NN_OP_HOST
#define NN_OP(name, ID) [NN_OP_##ID] = #name,
#define NN_OP_DRIVEN(name, ID) [NN_OP_##ID] = #name,
#define NN_OP_HOST(name, ID) [NN_OP_##ID] = #name,
const char *const nn_op_names[NN_OP_COUNT_] = {
#include "ops/all.h"
};
