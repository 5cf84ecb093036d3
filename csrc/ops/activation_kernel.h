/* activation_kernel.h - the KERNEL part of activation.c: each op is its formula on vectors, in the loops map1 and map2
 * of elementwise.c. k holds the op's constants. */
V_INLINE vreal step_y(vreal x, const vreal *k)
{
    (void)k;
    vreal y = v_select(v_ge(x, v_zero()), v_set1(1), x);
    return v_select(v_lt(x, v_zero()), v_zero(), y);
}

V_INLINE vreal satlin_y(vreal x, const vreal *k)
{
    (void)k;
    vreal y = v_select(v_gt(x, v_set1(1)), v_set1(1), x);
    return v_select(v_lt(x, v_zero()), v_zero(), y);
}

V_INLINE vreal satlin_dx(vreal dy, vreal y, const vreal *k)
{
    (void)k;
    return v_select(m_and(v_gt(y, v_zero()), v_lt(y, v_set1(1))), dy, v_zero());
}

V_INLINE vreal sigmoid_y(vreal x, const vreal *k) { return v_sigmoid(v_mul(k[0], x)); }
V_INLINE vreal sigmoid_plain(vreal x, const vreal *k) { return (void)k, v_sigmoid(x); }

V_INLINE vreal sigmoid_dx(vreal dy, vreal y, const vreal *k)
{
    return v_mul(dy, v_mul(k[0], v_mul(y, v_sub(v_set1(1), y))));
}

/* k = a, b */
V_INLINE vreal tanh_y(vreal x, const vreal *k) { return v_mul(k[0], v_tanh(v_mul(k[1], x))); }
V_INLINE vreal tanh_plain(vreal x, const vreal *k) { return (void)k, v_tanh(x); }

/* k = a, b / a */
V_INLINE vreal tanh_dx(vreal dy, vreal y, const vreal *k)
{
    return v_mul(dy, v_mul(k[1], v_mul(v_sub(k[0], y), v_add(k[0], y))));
}

V_INLINE vreal relu_y(vreal x, const vreal *k)
{
    (void)k;
    return v_select(v_lt(x, v_zero()), v_zero(), x);
}

V_INLINE vreal relu_dx(vreal dy, vreal y, const vreal *k)
{
    (void)k;
    return v_select(v_gt(y, v_zero()), dy, v_zero());
}

V_INLINE vreal leaky_relu_y(vreal x, const vreal *k) { return v_select(v_lt(x, v_zero()), v_mul(k[0], x), x); }
V_INLINE vreal leaky_relu_dx(vreal dy, vreal y, const vreal *k)
{
    return v_select(v_gt(y, v_zero()), dy, v_mul(k[0], dy));
}

/* k = lambda, lambda alpha */
V_INLINE vreal elu_y(vreal x, const vreal *k)
{
    const vmask above = v_gt(x, v_zero()); /* where exp(x) might overflow and is not wanted */
    return v_select(above, v_mul(k[0], x), v_mul(k[1], v_expm1(v_select(above, v_zero(), x))));
}

V_INLINE vreal elu_dx(vreal dy, vreal y, const vreal *k)
{
    return v_mul(dy, v_select(v_gt(y, v_zero()), k[0], v_add(y, k[1])));
}

V_INLINE vreal softplus_y(vreal x, const vreal *k) { return (void)k, v_softplus(x); }
V_INLINE vreal softplus_dx(vreal dy, vreal x, const vreal *k) { return (void)k, v_mul(dy, v_sigmoid(x)); }

/* Beyond 40 either side Phi is 0 or 1 and phi is 0: infinities do not meet zeros. */
V_INLINE vreal gelu_y(vreal x, const vreal *k) { return (void)k, v_mul(v_max(v_set1(-40), x), v_normal_cdf(x)); }

/* The exponent as a sum of two: its rounding alone would move the density by as many u as it is large. */
V_INLINE vreal gelu_dx(vreal dy, vreal x, const vreal *k)
{
    (void)k;
    vreal v = v_max(v_set1(-40), v_min(v_set1(40), x)), half = v_mul(v_set1((real)0.5), v), high = v_mul(half, v);
    vreal e = v_exp(v_neg(high)), low = v_fma(half, v, v_neg(high));
    vreal density = v_mul(v_set1((real)NN_INV_ROOT_2PI), v_fma(e, v_neg(low), e));
    return v_mul(dy, v_fma(v, density, v_normal_cdf(x)));
}

static void step_fwd(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, step_y, NULL);
}

static void satlin_fwd(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, satlin_y, NULL);
}

static void satlin_bwd(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, satlin_dx, NULL);
}

static void relu_fwd(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, relu_y, NULL);
}

static void relu_bwd(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, relu_dx, NULL);
}

static void softplus_fwd(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, softplus_y, NULL);
}

static void softplus_bwd(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, softplus_dx, NULL);
}

static void gelu_fwd(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, gelu_y, NULL);
}

static void gelu_bwd(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, gelu_dx, NULL);
}

static void sigmoid_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    if (c->scalar[0] == 1) /* what a multiplication by 1 costs is worth a loop of its own: nothing else waits here */
        map1(c->arg[0], c->arg[1], i, end, sigmoid_plain, NULL);
    else
        map1(c->arg[0], c->arg[1], i, end, sigmoid_y, k);
}

static void sigmoid_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, sigmoid_dx, k);
}

static void tanh_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0), k_scalar(c, 1)};
    if (c->scalar[0] == 1 && c->scalar[1] == 1)
        map1(c->arg[0], c->arg[1], i, end, tanh_plain, NULL);
    else
        map1(c->arg[0], c->arg[1], i, end, tanh_y, k);
}

static void tanh_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0), v_set1((real)(c->scalar[1] / c->scalar[0]))};
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, tanh_dx, k);
}

static void leaky_relu_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    map1(c->arg[0], c->arg[1], i, end, leaky_relu_y, k);
}

static void leaky_relu_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, leaky_relu_dx, k);
}

static void elu_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0), v_set1((real)(c->scalar[0] * c->scalar[1]))};
    map1(c->arg[0], c->arg[1], i, end, elu_y, k);
}

static void elu_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0), v_set1((real)(c->scalar[0] * c->scalar[1]))};
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, elu_dx, k);
}
