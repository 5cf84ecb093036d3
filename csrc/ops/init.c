/* init.c - initial values of parameters, from the counter RNG.
 *
 *   init_uniform   w = limit (2 u - 1)                 u uniform in (0, 1), so |w| < limit
 *   init_normal    w = deviation N(0, 1)               Box and Muller 1958, not truncated
 *
 * The limits (LeCun, Glorot, He) are computed by the caller. Element i of the parameter with number id uses
 *
 *   the Philox block (block = (i / 2) mod 2^32, index = id + (i / 2^33) 2^32, stream = NN_STREAM_INIT), id < 2^32,
 *
 * of four words: u0 = uniform53(word 0, word 1), u1 = uniform53(word 2, word 3) (random.h).
 *   uniform: element i uses u0 if i is even, u1 if odd
 *   normal:  radius = sqrt(-2 log u0), angle = 2 pi u1; even elements radius cos(angle), odd ones radius sin(angle)
 *
 * So a value depends on (seed, id, i) alone, not on threads, nor on which other parameters exist if the caller numbers them
 * stably. Computed in double, rounded once to float; the twin starts from that float, widened. |N| < 8.58, the radius of the
 * smallest u0, 2^-53. No reference: tests/oracle_training.py has the definition. */
#ifdef NN_PASS_LIST
NN_OP_HOST(init_uniform, INIT_UNIFORM)
NN_OP_HOST(init_normal, INIT_NORMAL)
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#if defined(NN_PASS_KERNEL) && NN_REAL_IS_DOUBLE
#include "random_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
/* A share begins at a multiple of 256, and so of NN_NUMBERS. */
static void init_draw(const nn_call *c, nn_kind_of_numbers kind)
{
    const nn_numbers how = {c->run->seed, (uint64_t)c->dim[1], NN_STREAM_INIT, kind,
                            c->is_double ? NN_STORED_ROUNDED : NN_STORED_FLOAT, c->scalar[0]};
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 256, &begin, &end);
    c->math->numbers((char *)c->arg[0] + begin * (c->is_double ? 8 : 4), &how, begin, end);
}

static void init_uniform(const nn_call *c) { init_draw(c, NN_NUMBERS_SYMMETRIC); }
static void init_normal(const nn_call *c) { init_draw(c, NN_NUMBERS_NORMAL); }
#endif
