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

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
/* The two uniforms of elements 2 pair and 2 pair + 1. */
static void init_draw(const nn_call *c, int64_t pair, double u[2])
{
    uint32_t word[4];
    uint64_t index = (uint64_t)c->dim[1] + ((uint64_t)pair >> 32 << 32);
    philox_block(word, c->run->seed, NN_STREAM_INIT, index, (uint32_t)pair);
    u[0] = uniform53(word[0], word[1]);
    u[1] = uniform53(word[2], word[3]);
}

static void init_store(const nn_call *c, int64_t i, double value)
{
    if (c->is_double)
        ((double *)c->arg[0])[i] = (double)(float)value;
    else
        ((float *)c->arg[0])[i] = (float)value;
}

static void init_uniform(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 256, &begin, &end); /* even, so no pair is split */
    for (int64_t i = begin; i < end; i += 2) {
        double u[2];
        init_draw(c, i / 2, u);
        for (int64_t j = 0; j < 2 && i + j < end; j++)
            init_store(c, i + j, c->scalar[0] * (2 * u[j] - 1));
    }
}

static void init_normal(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 256, &begin, &end);
    for (int64_t i = begin; i < end; i += 2) {
        double u[2];
        init_draw(c, i / 2, u);
        double radius = c->scalar[0] * __builtin_sqrt(-2 * c->math->log(u[0])), angle = 0x1.921fb54442d18p2 * u[1];
        init_store(c, i, radius * c->math->cos(angle));
        if (i + 1 < end)
            init_store(c, i + 1, radius * c->math->sin(angle));
    }
}
#endif
