/* instruction.c - one instruction of a tape as one op call. Barriers around it are the caller's: tape.c, watch.c. */
#include "accumulate.h"

void nn_resolve(const nn_tape *tape, const nn_instr *in, const nn_run *run, void **arg, int64_t *nbytes)
{
    for (int32_t i = 0; i < in->n_args; i++) {
        if (in->arg[i] < 0)
            continue;
        const nn_buffer *b = &tape->buffers[in->arg[i]];
        if (b->region == NN_EXTERNAL) {
            arg[i] = run->external[b->offset];
            nbytes[i] = run->external_nbytes[b->offset];
        } else {
            arg[i] = (char *)run->base[b->region] + b->offset;
            nbytes[i] = b->count * nn_dtype_nbytes(tape, b->dtype);
        }
    }
}

void nn_run_instruction(nn_bound *b, const nn_kernels *kernels, const nn_team *team, const nn_tape *tape, const nn_run *run,
                        nn_fault *fault, int64_t index)
{
    const nn_instr *in = &tape->instrs[index];
    int32_t is_double = tape->real == NN_F64;
    nn_range_fn *const *exact = nn_wants_exact(in) && !is_double ? kernels->exact : NULL;
    *b = (nn_bound){.call = {b->arg, b->nbytes, in->dim, in->scalar, team, is_double ? kernels->f64 : kernels->f32, kernels->f64,
                             kernels->bf16, exact, run, fault, is_double, 0, (int32_t)index}};
    nn_resolve(tape, in, run, b->arg, b->nbytes);
    nn_op_fn *const *reference = kernels->reference[is_double];
    if (!is_double && nn_is_emulated(in))
        nn_emulate(&b->call, in->op, reference != NULL);
    else if (!reference || !reference[in->op] || exact)
        nn_drivers[in->op](&b->call);
    else if (team->rank == 0)
        reference[in->op](&b->call);
}
