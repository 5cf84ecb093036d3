/* average.c - what stands around an update: gradients clipped before it, weights averaged behind it.
 *
 *   clip         y[i] = -c, x[i], c            for x[i] < -c, between, x[i] > c
 *   clip_factor  f[0] = min(1, c / sqrt(s[0]))         s the sum of squares of all gradients: f g has norm c at most.
 *                                                      Pascanu, Mikolov, Bengio 2013, algorithm 1
 *   blend        e[i] = fma(r, w[i] - e[i], e[i])      r the rate; e[i] = w[i] where r is 1
 *                                                      Polyak and Juditsky 1992; Izmailov et al. 2018, algorithm 1
 *
 * Shapes: clip and blend (n), f and s (1), the rate one f64, rounded to real once; y may be x.
 * clip is exact, c being rounded to real first; a NaN passes. clip_factor works in double and rounds once: f is within
 * u(1 + 2^-27) of the quotient, 1 for s = 0, and NaN for a NaN; an s that overflowed gives 0. blend rounds the difference
 * and the sum: u (r |w - e| (2 + u) + |e'|). An exponential average is r = 1 - d at every step, a running mean r = 1/k at
 * the k-th (schedule.c has both); r = 1 copies to the bit, so that an average needs no first value of its own.
 * Speed: memory. */
#ifdef NN_PASS_LIST
NN_OP(clip, CLIP)
NN_OP_HOST(clip_factor, CLIP_FACTOR)
NN_OP(blend, BLEND)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void clip(const nn_call *c)
{
    real *y = c->arg[0], high = (real)c->scalar[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] > high ? high : x[i] < -high ? -high : x[i];
}

static void blend(const nn_call *c)
{
    real *e = c->arg[0], rate = (real) * (const double *)c->arg[2];
    const real *w = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        e[i] = rate == 1 ? w[i] : v_fma(rate, w[i] - e[i], e[i]);
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
V_INLINE vreal clip_v(vreal x, const vreal *k)
{
    vreal y = v_select(v_gt(x, k[0]), k[0], x);
    return v_select(v_lt(x, k[1]), k[1], y);
}

static void clip(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1((real)c->scalar[0]), v_set1(-(real)c->scalar[0])};
    map1(c->arg[0], c->arg[1], i, end, clip_v, k);
}

V_INLINE vreal blend_v(vreal w, vreal e, const vreal *k) { return v_fma(k[0], v_sub(w, e), e); }

static void blend(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1((real) * (const double *)c->arg[2])};
    if ((real) * (const double *)c->arg[2] == 1)
        map1(c->arg[0], c->arg[1], i, end, assign_v, k);
    else
        map2(c->arg[0], c->arg[1], c->arg[0], i, end, blend_v, k);
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ELEMENTS(clip, CLIP)
NN_DRIVE_ELEMENTS(blend, BLEND)

/* One number: rank 0 makes it, the barrier behind the instruction shows it to the others. */
static void clip_factor(const nn_call *c)
{
    if (c->team->rank != 0)
        return;
    double s = c->is_double ? *(const double *)c->arg[1] : (double)*(const float *)c->arg[1];
    double norm = __builtin_sqrt(s), f = norm <= c->scalar[0] ? 1 : c->scalar[0] / norm;
    if (c->is_double)
        *(double *)c->arg[0] = f;
    else
        *(float *)c->arg[0] = (float)f;
}
#endif
