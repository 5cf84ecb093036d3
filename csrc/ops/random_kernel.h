/* random_kernel.h - numbers from the counter RNG, two to a Philox block: the KERNEL part of init.c, and what draws the noise of
 * mix.c and nn_draw's numbers. In double only; what is drawn is rounded to float at the end. */
_Static_assert(NN_NUMBERS == (int)PHILOX_PAIRS, "two numbers a block");

/* u in (0, 1), or 2 u - 1 times a limit: both exact but for that product. */
V_INLINE void draw_uniform(double x[PHILOX_PAIRS], const uint64_t words[PHILOX_PAIRS])
{
    for (int i = 0; i < PHILOX_PAIRS; i += VW)
        v_store(x + i, v_mul(philox_uniform(words, i), v_set1(0x1p-52)));
}

V_INLINE void draw_symmetric(double x[PHILOX_PAIRS], const uint64_t words[PHILOX_PAIRS], double limit)
{
    for (int i = 0; i < PHILOX_PAIRS; i += VW)
        v_store(x + i, v_mul(v_set1(limit), v_fma(philox_uniform(words, i), v_set1(0x1p-51), v_set1(-1))));
}

/* A deviation times N(0, 1), two from a block by Box and Muller: the first uniform is the radius, the second the angle. */
V_INLINE void draw_normal(double x[PHILOX_PAIRS], const uint64_t words[PHILOX_PAIRS], double deviation)
{
    enum { PAIRS = PHILOX_PAIRS / 2 };
    double u[PAIRS], v[PAIRS];
    draw_uniform(x, words);
    for (int i = 0; i < PAIRS; i++) {
        u[i] = x[2 * i];
        v[i] = x[2 * i + 1];
    }
    for (int i = 0; i < PAIRS; i += VW) {
        vreal radius = v_mul(v_set1(deviation), v_sqrt(v_mul(v_set1(-2), v_log(v_load(u + i)))));
        vreal angle = v_mul(v_set1(0x1.921fb54442d18p2), v_load(v + i));
        v_store(u + i, v_mul(radius, v_cos(angle)));
        v_store(v + i, v_mul(radius, v_sin(angle)));
    }
    for (int i = 0; i < PAIRS; i++) {
        x[2 * i] = u[i];
        x[2 * i + 1] = v[i];
    }
}

/* n elements of out from `at` on := x. */
V_INLINE void draw_store(void *out, nn_stored stored, int64_t at, const int64_t n, const double *x)
{
    if (stored == NN_STORED_FLOAT)
        for (int64_t i = 0; i < n; i++)
            ((float *)out)[at + i] = (float)x[i];
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)out)[at + i] = stored == NN_STORED_DOUBLE ? x[i] : (double)(float)x[i];
}

/* Elements [begin, end) to out[0], ...; begin is a multiple of NN_NUMBERS. */
static void draw_numbers(void *out, const nn_numbers *how, int64_t begin, int64_t end)
{
    const philox_keys keys = philox_schedule(how->seed);
    for (int64_t i = begin; i < end; i += PHILOX_PAIRS) {
        uint64_t words[PHILOX_PAIRS];
        double x[PHILOX_PAIRS];
        philox_words(words, &keys, how->stream, how->index + ((uint64_t)i >> 33 << 32), (uint32_t)(i / 2));
        switch (how->kind) {
        case NN_NUMBERS_UNIFORM: draw_uniform(x, words); break;
        case NN_NUMBERS_SYMMETRIC: draw_symmetric(x, words, how->scale); break;
        case NN_NUMBERS_NORMAL: draw_normal(x, words, how->scale); break;
        }
        if (end - i >= PHILOX_PAIRS)
            draw_store(out, how->stored, i - begin, PHILOX_PAIRS, x);
        else
            draw_store(out, how->stored, i - begin, end - i, x);
    }
}
