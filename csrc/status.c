/* status.c - statuses in words, and the ids of this build. */
#include "internal.h"

int32_t nn_numerics_id(void) { return NN_NUMERICS_ID; }

const char *nn_status_text(int32_t status)
{
    switch (status) {
    case NN_OK: return "ok";
    case NN_ERR_ARGUMENT: return "malformed tape or call";
    case NN_ERR_NOMEM: return "memory ran out or a region is too small";
    case NN_ERR_STOPPED: return "stopped on request";
    case NN_ERR_NONFINITE: return "a value became NaN or infinite";
    case NN_ERR_RANGE: return "an index or label lies outside its range";
    case NN_ERR_FORMAT: return "the bytes are not in the format they claim";
    case NN_ERR_FLAGGED: return "an operation went wrong as IEEE 754 counts it";
    case NN_ERR_LIMIT: return "the input asks for more than it may";
    default: return "unknown status";
    }
}

const char *nn_op_name(int32_t op) { return op >= 0 && op < NN_OP_COUNT_ ? nn_op_names[op] : NULL; }
