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
static uint64_t init_index(const nn_call *c, int64_t i) { return (uint64_t)c->dim[1] + ((uint64_t)(i / 2) >> 32 << 32); }

/* Elements [i, i + n) := value. */
static void init_store(const nn_call *c, int64_t i, int64_t n, const double *value)
{
    if (c->is_double)
        for (int64_t j = 0; j < n; j++)
            ((double *)c->arg[0])[i + j] = (double)(float)value[j];
    else
        for (int64_t j = 0; j < n; j++)
            ((float *)c->arg[0])[i + j] = (float)value[j];
}

/* Elements go by NN_NORMALS, two from each Philox block; a share begins at a multiple of 256. */
static void init_uniform(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 256, &begin, &end);
    for (int64_t i = begin; i < end; i += NN_NORMALS) {
        double u[NN_NORMALS];
        c->math->uniforms(u, c->run->seed, NN_STREAM_INIT, init_index(c, i), (uint32_t)(i / 2));
        for (int j = 0; j < NN_NORMALS; j++)
            u[j] = c->scalar[0] * (2 * u[j] - 1);
        init_store(c, i, end - i < NN_NORMALS ? end - i : NN_NORMALS, u);
    }
}

static void init_normal(const nn_call *c)
{
    int64_t begin, end;
    nn_team_split(c->team, c->dim[0], 256, &begin, &end);
    for (int64_t i = begin; i < end; i += NN_NORMALS) {
        double z[NN_NORMALS];
        c->math->normals(z, c->scalar[0], c->run->seed, NN_STREAM_INIT, init_index(c, i), (uint32_t)(i / 2));
        init_store(c, i, end - i < NN_NORMALS ? end - i : NN_NORMALS, z);
    }
}
#endif
