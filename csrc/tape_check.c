/* tape_check.c - what a tape and a run must be before anything of them is done: tapes come from files too. */
#include <string.h>

#include "accumulate.h"

int32_t nn_refuse(nn_fault *fault, int32_t status, int64_t instr, int64_t index)
{
    fault->code = status;
    fault->instr = (int32_t)instr;
    fault->index = index;
    return status;
}

/* An activation fused behind a product must be one that works element by element. */
static int fused_ok(int64_t act)
{
    if (act < NN_OP_STEP_FWD || act > NN_OP_GELU_FWD)
        return act == -1;
    const char *name = nn_op_names[act];
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, "_fwd");
}

int32_t nn_tape_check(const nn_tape *tape, nn_fault *fault)
{
    *fault = (nn_fault){0, -1, 0, 0, -1, 0};
    if ((tape->real != NN_F32 && tape->real != NN_F64) || tape->batch < 1 || tape->n_buffers < 0 || tape->n_instrs < 1)
        return nn_refuse(fault, NN_ERR_ARGUMENT, -1, -1);
    for (int64_t i = 0; i < tape->n_buffers; i++) {
        const nn_buffer *b = &tape->buffers[i];
        int ok = b->region >= 0 && b->region <= NN_EXTERNAL && b->dtype >= 0 && b->dtype <= NN_I64 && b->offset >= 0 &&
                 b->count >= 0;
        if (ok && b->region == NN_EXTERNAL)
            ok = b->offset < NN_MAX_EXTERNALS;
        else if (ok) /* by division, so that no claimed count overflows; 64 bytes keep every vector load aligned */
            ok = b->offset % 64 == 0 && b->offset <= tape->nbytes[b->region] &&
                 b->count <= (tape->nbytes[b->region] - b->offset) / nn_dtype_nbytes(tape, b->dtype);
        if (!ok)
            return nn_refuse(fault, NN_ERR_ARGUMENT, -1, i);
    }
    for (int64_t i = 0; i < tape->n_instrs; i++) {
        const nn_instr *in = &tape->instrs[i];
        if (in->op < 0 || in->op >= NN_OP_COUNT_ || in->n_args < 0 || in->n_args > NN_MAX_ARGS)
            return nn_refuse(fault, NN_ERR_ARGUMENT, i, -1);
        for (int32_t a = 0; a < in->n_args; a++)
            if (in->arg[a] < -1 || in->arg[a] >= tape->n_buffers)
                return nn_refuse(fault, NN_ERR_ARGUMENT, i, a);
        if (nn_act_dim(in->op) >= 0 && !fused_ok(in->dim[nn_act_dim(in->op)]))
            return nn_refuse(fault, NN_ERR_ARGUMENT, i, -1);
        if (nn_wants_exact(in) >> 1)
            return nn_refuse(fault, NN_ERR_ARGUMENT, i, -1);
        if (!nn_accumulator_ok(in))
            return nn_refuse(fault, NN_ERR_ARGUMENT, i, -1);
    }
    return NN_OK;
}

int32_t nn_run_check(const nn_tape *tape, const nn_run *run, nn_fault *fault)
{
    for (int r = 0; r < 3; r++)
        if (run->nbytes[r] < tape->nbytes[r] || (tape->nbytes[r] && !run->base[r]))
            return nn_refuse(fault, NN_ERR_NOMEM, -1, r);
    for (int64_t i = 0; i < tape->n_buffers; i++) {
        const nn_buffer *b = &tape->buffers[i];
        if (b->region != NN_EXTERNAL)
            continue;
        if (run->external_nbytes[b->offset] / nn_dtype_nbytes(tape, b->dtype) < b->count)
            return nn_refuse(fault, NN_ERR_NOMEM, -1, i);
    }
    if (run->first < 0 || run->last > tape->n_instrs)
        return nn_refuse(fault, NN_ERR_ARGUMENT, -1, -1);
    return NN_OK;
}
