/* round.c - values of a tape in an emulated format: what makes weights, activations or gradients bf16, fp16 or fp8.
 *
 *   round_to   y = fl(x), a format and direction of rounding.h
 *
 * Shapes: x, y (n). y may alias x. Error: the format's u |x| to nearest, twice that in another direction; half the smallest
 * subnormal, or one, below. The float64 twin is the truth beside which such a tape is held: there y = x. The derivative is
 * taken to be 1, as if nothing were rounded (straight-through: Bengio, Leonard, Courville 2013, arXiv 1308.3432).
 *
 * Stochastic: element i takes 64 bits by (seed, id, step, i) alone, half i mod 2 of the Philox block (block = i / 2,
 * index = step, stream = NN_STREAM_ROUNDING + 2^8 id), id < 2^24. No reference: tests/oracle_training.py has the definition. */
#ifdef NN_PASS_LIST
NN_OP_HOST(round_to, ROUND_TO)
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
#include "../rounding.h"

static void round_to(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], NN_GRAIN, &begin, &end);
    if (c->is_double) {
        memmove((double *)c->arg[0] + begin, (const double *)c->arg[1] + begin, sizeof(double) * (size_t)(end - begin));
        return;
    }
    const nn_arithmetic a = {
        {(int32_t)c->dim[1], (int32_t)c->dim[2], (int32_t)c->dim[3], (int32_t)c->dim[4], (int32_t)c->dim[5], c->scalar[0]},
        (int32_t)c->dim[6], c->run->seed, (uint64_t)c->run->step};
    nn_machine m;
    if (nn_machine_start(&m, &a, NN_F32, 0) != NN_OK) {
        nn_raise(c, NN_ERR_ARGUMENT, -1, 0);
        return;
    }
    m.stream |= (uint32_t)c->dim[7] << 8;
    for (int64_t i = begin; i < end; i++)
        ((float *)c->arg[0])[i] = (float)nn_round_double(&m, ((const float *)c->arg[1])[i], nn_dice(&m, (uint64_t)i));
}
#endif
