/* optimizer.c - the update rules: what a step makes of its gradient.
 *
 * Each rule is fixed operation by operation, since its bits are the contract: every product, sum, quotient and root
 * below is rounded once; fma(a, b, c) = a b + c and fnma(a, b, c) = c - a b are rounded once as a whole.
 * [s] is the flush: s, or +0 where |s| < 2^-126, on the float64 twin too, so that a first moment that dies away does
 * not end in subnormals, which cost a hundred cycles each (by compare and select: flush modes differ between CPUs).
 *
 *   sgd        w = fnma(rate, g, w)
 *   momentum   v = [fnma(rate, g, mu v)]                    Polyak 1964, the rate inside the velocity
 *              w = w + v
 *   nesterov   v = [fnma(rate, g, mu v)]                    Nesterov 1983; Bengio et al. 2013, section 3.5; see below
 *              w = fnma(rate, g, fma(mu, v, w))
 *   adagrad    r = [fma(g, g, r)]                           Duchi, Hazan, Singer 2011
 *              w = fnma(rate, g / root, w)                  root = sqrt(r + eps), or sqrt(r) + eps if outside
 *   rmsprop    r = [fma((1 - rho) g, g, rho r)]             Hinton, Coursera 2012, lecture 6e
 *              w = fnma(rate, g / root, w)
 *   adadelta   r = [fma((1 - rho) g, g, rho r)]             Zeiler 2012, algorithm 1, the step times rate
 *              d = (sqrt(s + eps) / sqrt(r + eps)) g
 *              s = [fma((1 - rho) d, d, rho s)]
 *              w = fnma(rate, d, w)
 *   adam       m = [fma(1 - beta1, g, beta1 m)]             Kingma and Ba 2015, algorithm 1
 *              v = [fma((1 - beta2) g, g, beta2 v)]
 *              w = fnma(rate decay, w, w) if decay != 0     AdamW: Loshchilov and Hutter 2019, algorithm 2
 *              w = fnma(a, m / fma(sqrt(v), b, eps), w)     a = rate / (1 - beta1^t), b = 1 / sqrt(1 - beta2^t)
 *   decay      w = fnma(zeta, w, w)                         the lectures': after the update, not times the rate
 *   increment  count = count + 1
 *
 * Adam's a and b are the bias corrections of m and v; t = count + 1, count being the steps done before this one.
 * 1 - rho, 1 - beta, rate decay, a and b are computed in double with our own pow and rounded to real once: in float
 * 1 - 0.999f is wrong by 1.3e-5 (numerics.md E13). w - zeta w is one rounding and has no bias, where 1 - zeta rounded to
 * float would be off by up to 2^-25 / zeta of the decay, at every step the same way. Rates are f64 tensors of one
 * element, rounded to real once.
 *
 * Nesterov, the gradient at the looked-ahead point: v' = mu v - rate g(theta + mu v), theta' = theta + v'. Let the
 * network hold w = theta + mu v, where g is wanted. Then w' = theta' + mu v' = w - mu v + v' + mu v', and with
 * v' - mu v = -rate g this is w' = w + mu v' - rate g: no second copy of the weights. mu is meant constant; under a
 * schedule the shift uses the mu of its own step, as in torch and Keras.
 *
 * Shapes: all (n); nothing aliases. NaN and infinity in g reach w (and the state). Weights are not flushed.
 * Speed: memory; adam has one division and one root an element, 20 cycles per vector of 16: below what L3 delivers.
 * Hazard: while v is 0, gradients below 3e-18 in magnitude make subnormal squares on their way to the flush, five times
 * slower on Intel; the bits do not care. */
#ifdef NN_PASS_LIST
NN_OP(sgd, SGD)
NN_OP(momentum, MOMENTUM)
NN_OP(nesterov, NESTEROV)
NN_OP(adagrad, ADAGRAD)
NN_OP(rmsprop, RMSPROP)
NN_OP(adadelta, ADADELTA)
NN_OP(adam, ADAM)
NN_OP(decay, DECAY)
NN_OP_HOST(increment, INCREMENT)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL)
static inline real opt_rate(const nn_call *c, int32_t arg) { return (real) * (const double *)c->arg[arg]; }
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_DRIVER)
typedef struct adam_scalars {
    double beta1, one_beta1, beta2, one_beta2, a, b, eps, rate_decay;
} adam_scalars;

static inline adam_scalars adam_prepare(const nn_call *c)
{
    double rate = *(const double *)c->arg[4], t = (double)(*(const int64_t *)c->arg[5] + 1);
    double beta1 = c->scalar[0], beta2 = c->scalar[1], eps = c->scalar[2], decay = c->scalar[3];
    double a = rate / (1 - c->math->pow(beta1, t)), b = 1 / __builtin_sqrt(1 - c->math->pow(beta2, t));
    return (adam_scalars){beta1, 1 - beta1, beta2, 1 - beta2, a, b, eps, rate * decay};
}
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static real opt_flush(real s) { return s < (real)0x1p-126 && s > (real)-0x1p-126 ? 0 : s; }

static void sgd(const nn_call *c)
{
    real *w = c->arg[0], rate = opt_rate(c, 2);
    const real *g = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        w[i] = v_fnma(rate, g[i], w[i]);
}

static void momentum(const nn_call *c)
{
    real *w = c->arg[0], *v = c->arg[1], rate = opt_rate(c, 3), mu = opt_rate(c, 4);
    const real *g = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        v[i] = opt_flush(v_fnma(rate, g[i], mu * v[i]));
        w[i] = w[i] + v[i];
    }
}

static void nesterov(const nn_call *c)
{
    real *w = c->arg[0], *v = c->arg[1], rate = opt_rate(c, 3), mu = opt_rate(c, 4);
    const real *g = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        v[i] = opt_flush(v_fnma(rate, g[i], mu * v[i]));
        w[i] = v_fnma(rate, g[i], v_fma(mu, v[i], w[i]));
    }
}

static void adagrad(const nn_call *c)
{
    real *w = c->arg[0], *r = c->arg[1], rate = opt_rate(c, 3), eps = (real)c->scalar[0];
    const real *g = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        r[i] = opt_flush(v_fma(g[i], g[i], r[i]));
        real root = c->dim[1] ? v_sqrt(r[i]) + eps : v_sqrt(r[i] + eps);
        w[i] = v_fnma(rate, g[i] / root, w[i]);
    }
}

static void rmsprop(const nn_call *c)
{
    real *w = c->arg[0], *r = c->arg[1], rate = opt_rate(c, 3), rho = (real)c->scalar[0], eps = (real)c->scalar[1];
    real one_rho = (real)(1 - c->scalar[0]);
    const real *g = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        r[i] = opt_flush(v_fma(one_rho * g[i], g[i], rho * r[i]));
        real root = c->dim[1] ? v_sqrt(r[i]) + eps : v_sqrt(r[i] + eps);
        w[i] = v_fnma(rate, g[i] / root, w[i]);
    }
}

static void adadelta(const nn_call *c)
{
    real *w = c->arg[0], *r = c->arg[1], *s = c->arg[2], rate = opt_rate(c, 4);
    real rho = (real)c->scalar[0], one_rho = (real)(1 - c->scalar[0]), eps = (real)c->scalar[1];
    const real *g = c->arg[3];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        r[i] = opt_flush(v_fma(one_rho * g[i], g[i], rho * r[i]));
        real d = v_sqrt(s[i] + eps) / v_sqrt(r[i] + eps) * g[i];
        s[i] = opt_flush(v_fma(one_rho * d, d, rho * s[i]));
        w[i] = v_fnma(rate, d, w[i]);
    }
}

static void adam(const nn_call *c)
{
    adam_scalars k = adam_prepare(c);
    real *w = c->arg[0], *m = c->arg[1], *v = c->arg[2];
    const real *g = c->arg[3];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        m[i] = opt_flush(v_fma((real)k.one_beta1, g[i], (real)k.beta1 * m[i]));
        v[i] = opt_flush(v_fma((real)k.one_beta2 * g[i], g[i], (real)k.beta2 * v[i]));
        real root = v_fma(v_sqrt(v[i]), (real)k.b, (real)k.eps);
        real decayed = k.rate_decay != 0 ? v_fnma((real)k.rate_decay, w[i], w[i]) : w[i];
        w[i] = v_fnma((real)k.a, m[i] / root, decayed);
    }
}

static void decay(const nn_call *c)
{
    real *w = c->arg[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        w[i] = v_fnma((real)c->scalar[0], w[i], w[i]);
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
V_INLINE vreal opt_flush(vreal s) { return v_select(v_lt(v_abs(s), v_set1((real)0x1p-126)), v_zero(), s); }

/* A rule works on one vector of everything; k holds its scalars, `flag` its variant. opt_run is inlined with a constant
 * rule, so the loads, the rule and the stores become one loop. */
typedef struct opt_lanes {
    vreal w, s0, s1, g; /* weight, states, gradient */
} opt_lanes;
typedef void opt_rule(opt_lanes *x, const vreal *k, int flag);

/* Elements [i, end). Arguments: w, `states` states, g. */
V_INLINE void opt_run(const nn_call *c, int64_t i, int64_t end, int states, opt_rule *rule, const vreal *k, int flag)
{
    real *w = c->arg[0], *s0 = states > 0 ? c->arg[1] : w, *s1 = states > 1 ? c->arg[2] : w;
    const real *g = c->arg[1 + states];
    for (; i + VW <= end; i += VW) {
        opt_lanes x = {v_load(w + i), v_load(s0 + i), v_load(s1 + i), v_load(g + i)};
        rule(&x, k, flag);
        v_store(w + i, x.w);
        if (states > 0) v_store(s0 + i, x.s0);
        if (states > 1) v_store(s1 + i, x.s1);
    }
    if (i < end) {
        vmask t = v_tail(end - i);
        opt_lanes x = {v_load_m(w + i, t), v_load_m(s0 + i, t), v_load_m(s1 + i, t), v_load_m(g + i, t)};
        rule(&x, k, flag);
        v_store_m(w + i, t, x.w);
        if (states > 0) v_store_m(s0 + i, t, x.s0);
        if (states > 1) v_store_m(s1 + i, t, x.s1);
    }
}

V_INLINE void sgd_rule(opt_lanes *x, const vreal *k, int flag)
{
    (void)flag;
    x->w = v_fnma(k[0], x->g, x->w);
}
static void sgd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1(opt_rate(c, 2))};
    opt_run(c, i, end, 0, sgd_rule, k, 0);
}

V_INLINE void momentum_rule(opt_lanes *x, const vreal *k, int nesterov)
{
    x->s0 = opt_flush(v_fnma(k[0], x->g, v_mul(k[1], x->s0)));
    x->w = nesterov ? v_fnma(k[0], x->g, v_fma(k[1], x->s0, x->w)) : v_add(x->w, x->s0);
}
static void momentum(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1(opt_rate(c, 3)), v_set1(opt_rate(c, 4))};
    opt_run(c, i, end, 1, momentum_rule, k, 0);
}
static void nesterov(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1(opt_rate(c, 3)), v_set1(opt_rate(c, 4))};
    opt_run(c, i, end, 1, momentum_rule, k, 1);
}

V_INLINE vreal opt_root(vreal r, vreal eps, int outside)
{
    return outside ? v_add(v_sqrt(r), eps) : v_sqrt(v_add(r, eps));
}

V_INLINE void adagrad_rule(opt_lanes *x, const vreal *k, int outside)
{
    x->s0 = opt_flush(v_fma(x->g, x->g, x->s0));
    x->w = v_fnma(k[0], v_div(x->g, opt_root(x->s0, k[1], outside)), x->w);
}
static void adagrad(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1(opt_rate(c, 3)), v_set1((real)c->scalar[0])};
    opt_run(c, i, end, 1, adagrad_rule, k, c->dim[1] != 0);
}

V_INLINE void rmsprop_rule(opt_lanes *x, const vreal *k, int outside)
{
    x->s0 = opt_flush(v_fma(v_mul(k[2], x->g), x->g, v_mul(k[1], x->s0)));
    x->w = v_fnma(k[0], v_div(x->g, opt_root(x->s0, k[3], outside)), x->w);
}
static void rmsprop(const nn_call *c, int64_t i, int64_t end)
{
    double rho = c->scalar[0];
    const vreal k[] = {v_set1(opt_rate(c, 3)), v_set1((real)rho), v_set1((real)(1 - rho)), v_set1((real)c->scalar[1])};
    opt_run(c, i, end, 1, rmsprop_rule, k, c->dim[1] != 0);
}

V_INLINE void adadelta_rule(opt_lanes *x, const vreal *k, int flag)
{
    (void)flag;
    x->s0 = opt_flush(v_fma(v_mul(k[2], x->g), x->g, v_mul(k[1], x->s0)));
    vreal d = v_mul(v_div(v_sqrt(v_add(x->s1, k[3])), v_sqrt(v_add(x->s0, k[3]))), x->g);
    x->s1 = opt_flush(v_fma(v_mul(k[2], d), d, v_mul(k[1], x->s1)));
    x->w = v_fnma(k[0], d, x->w);
}
static void adadelta(const nn_call *c, int64_t i, int64_t end)
{
    double rho = c->scalar[0];
    const vreal k[] = {v_set1(opt_rate(c, 4)), v_set1((real)rho), v_set1((real)(1 - rho)), v_set1((real)c->scalar[1])};
    opt_run(c, i, end, 2, adadelta_rule, k, 0);
}

/* k in the order of adam_scalars, which the driver has put in the place of the instruction's own scalars. */
V_INLINE void adam_rule(opt_lanes *x, const vreal *k, int decays)
{
    x->s0 = opt_flush(v_fma(k[1], x->g, v_mul(k[0], x->s0)));
    x->s1 = opt_flush(v_fma(v_mul(k[3], x->g), x->g, v_mul(k[2], x->s1)));
    vreal root = v_fma(v_sqrt(x->s1), k[5], k[6]), w = decays ? v_fnma(k[7], x->w, x->w) : x->w;
    x->w = v_fnma(k[4], v_div(x->s0, root), w);
}
static void adam(const nn_call *c, int64_t i, int64_t end)
{
    vreal k[8];
    for (int j = 0; j < 8; j++)
        k[j] = v_set1((real)c->scalar[j]);
    opt_run(c, i, end, 2, adam_rule, k, c->scalar[7] != 0);
}

V_INLINE void decay_rule(opt_lanes *x, const vreal *k, int flag)
{
    (void)flag;
    x->w = v_fnma(k[0], x->w, x->w);
}
static void decay(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1((real)c->scalar[0])};
    nn_call own = *c;
    void *arg[] = {c->arg[0], c->arg[0]}; /* opt_run wants a gradient */
    own.arg = arg;
    opt_run(&own, i, end, 0, decay_rule, k, 0);
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ELEMENTS(sgd, SGD)
NN_DRIVE_ELEMENTS(momentum, MOMENTUM)
NN_DRIVE_ELEMENTS(nesterov, NESTEROV)
NN_DRIVE_ELEMENTS(adagrad, ADAGRAD)
NN_DRIVE_ELEMENTS(rmsprop, RMSPROP)
NN_DRIVE_ELEMENTS(adadelta, ADADELTA)
NN_DRIVE_ELEMENTS(decay, DECAY)

/* Every rank prepares its own scalars: cheaper than a barrier. */
static void adam(const nn_call *c)
{
    adam_scalars k = adam_prepare(c);
    const double scalar[] = {k.beta1, k.one_beta1, k.beta2, k.one_beta2, k.a, k.b, k.eps, k.rate_decay};
    nn_call own = *c;
    own.scalar = scalar;
    nn_drive_range(&own, NN_OP_ADAM, c->dim[0], NN_GRAIN);
}

static void increment(const nn_call *c)
{
    if (c->team->rank == 0)
        ++*(int64_t *)c->arg[0];
}
#endif
