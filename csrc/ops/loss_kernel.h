/* loss_kernel.h - the KERNEL part of loss.c: rows [i, end), each in the passes of softmax.c. */

/* dz = scale e / s. k = s, scale */
V_INLINE vreal xent_dz(vreal e, const vreal *k) { return v_mul(k[1], v_div(e, k[0])); }

static void xent_block(const nn_call *c, int64_t i, int64_t C, vreal scale)
{
    vreal d[BLOCK_COLUMNS], e[BLOCK_COLUMNS], zt = v_zero();
    real label[VW];
    for (int l = 0; l < VW; l++)
        label[l] = (real)((const int32_t *)c->arg[3])[i + l];
    const vreal t = v_load(label);
    block_load(d, (const real *)c->arg[2] + i * C, C);
    block_shift(d, C);
    const vreal sum = block_exp(e, d, C);
    for (int64_t j = 0; j < C; j++) {
        const vmask own = v_eq(t, v_set1((real)j));
        const vreal p = v_div(e[j], sum);
        zt = v_select(own, d[j], zt);
        e[j] = v_mul(scale, v_select(own, v_sub(p, v_set1(1)), p));
    }
    block_store((real *)c->arg[1] + i * C, e, C);
    v_store((real *)c->arg[0] + i, v_sub(v_log(sum), zt));
}

static void softmax_xent(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    const real scale = (real)c->scalar[0];
    for (; block_fits(C) && i + VW <= end; i += VW)
        xent_block(c, i, C, v_set1(scale));
    for (; i < end; i++) {
        real *dz = (real *)c->arg[1] + i * C;
        const real *z = (const real *)c->arg[2] + i * C;
        const int32_t t = ((const int32_t *)c->arg[3])[i];
        const real m = row_max(z, C), zt = z[t] - m; /* read before dz, which may be z */
        const row_pass p = {.a = z, .y = dz, .k = {v_set1(m)}};
        const real sum = row_sum(&p, C, exp_shifted), et = dz[t];
        const vreal k[] = {v_set1(sum), v_set1(scale)};
        map1(dz, dz, 0, C, xent_dz, k);
        dz[t] = scale * (et / sum - 1);
        ((real *)c->arg[0])[i] = log1(sum) - zt;
    }
}

/* sum t (z - m), nothing where t is 0. a = z, b = t, k = m */
V_INLINE vreal soft_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal t = row_load(p->b + j, m, full), d = v_sub(row_load(p->a + j, m, full), p->k[0]);
    const vmask none = v_eq(t, v_zero()); /* d may be infinite there, and 0 inf is an invalid operation */
    return v_select(none, lanes, v_fma(t, v_select(none, v_zero(), d), lanes));
}

/* dz = scale (all e / s - t). k = s, scale, all */
V_INLINE vreal soft_dz(vreal e, vreal t, const vreal *k) { return v_mul(k[1], v_fma(k[2], v_div(e, k[0]), v_neg(t))); }

static void softmax_xent_soft(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    const vreal scale = k_scalar(c, 0);
    for (; i < end; i++) {
        real *dz = (real *)c->arg[1] + i * C;
        const real *z = (const real *)c->arg[2] + i * C, *t = (const real *)c->arg[3] + i * C;
        const vreal m = v_set1(row_max(z, C));
        const row_pass targets = {.a = t}, p = {.a = z, .b = t, .y = dz, .k = {m}};
        const real all = row_sum(&targets, C, plain), right = row_sum(&p, C, soft_term); /* before dz, which may be z */
        const real sum = row_sum(&p, C, exp_shifted);
        const vreal k[] = {v_set1(sum), scale, v_set1(all)};
        map2(dz, dz, t, 0, C, soft_dz, k);
        real loss[VW];
        v_store(loss, v_fma(v_set1(all), v_set1(log1(sum)), v_set1(-right)));
        ((real *)c->arg[0])[i] = loss[0];
    }
}

/* The losses that are a sum over the outputs: f adds a vector's terms to the lanes, stores dz; a = z, b = t, y = dz. */
V_INLINE void loss_rows(const nn_call *c, int64_t i, int64_t end, row_fn *f, const vreal *k, real factor)
{
    const int64_t C = c->dim[1];
    for (; i < end; i++) {
        const row_pass p = {.a = (const real *)c->arg[2] + i * C, .b = (const real *)c->arg[3] + i * C,
                            .y = (real *)c->arg[1] + i * C, .k = {k[0], k[1], k[2], k[3]}};
        ((real *)c->arg[0])[i] = factor * row_sum(&p, C, f);
    }
}

V_INLINE vreal row_error(const row_pass *p, int64_t j, vmask m, int full)
{
    return v_sub(row_load(p->a + j, m, full), row_load(p->b + j, m, full));
}

/* k = 2 f scale; the sum of squares is multiplied by f at the end */
V_INLINE vreal squared_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal e = row_error(p, j, m, full);
    row_store(p->y + j, m, full, v_mul(p->k[0], e));
    return v_fma(e, e, lanes);
}

/* k = scale. sign(e) = e for zeros and NaN */
V_INLINE vreal absolute_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal e = row_error(p, j, m, full);
    vreal sign = v_select(v_gt(e, v_zero()), v_set1(1), v_select(v_lt(e, v_zero()), v_set1(-1), e));
    row_store(p->y + j, m, full, v_mul(p->k[0], sign));
    return v_add(lanes, v_abs(e));
}

/* k = scale, d, d / 2 */
V_INLINE vreal huber_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal e = row_error(p, j, m, full), size = v_abs(e), d = p->k[1];
    vreal clipped = v_select(v_gt(e, d), d, v_select(v_lt(e, v_neg(d)), v_neg(d), e));
    row_store(p->y + j, m, full, v_mul(p->k[0], clipped));
    vreal square = v_mul(v_set1((real)0.5), v_mul(e, e)), line = v_mul(d, v_sub(size, p->k[2]));
    return v_add(lanes, v_select(v_le(size, d), square, line));
}

/* k = scale */
V_INLINE vreal binary_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal z = row_load(p->a + j, m, full), t = row_load(p->b + j, m, full), far = v_neg(v_abs(z));
    vreal s = v_sigmoid(far);
    vreal g = v_select(v_gt(z, v_zero()), v_sub(v_sub(v_set1(1), t), s), v_sub(s, t));
    row_store(p->y + j, m, full, v_mul(p->k[0], g));
    vreal positive = v_select(v_lt(z, v_zero()), v_zero(), z);
    return v_add(lanes, v_add(v_fnma(t, z, positive), v_softplus(far)));
}

/* k = scale */
V_INLINE vreal logistic_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal t = v_neg(row_load(p->b + j, m, full)), q = v_mul(t, row_load(p->a + j, m, full));
    row_store(p->y + j, m, full, v_mul(p->k[0], v_mul(t, v_sigmoid(q))));
    return v_add(lanes, v_softplus(q));
}

/* q > 0 ? active : 0, and q itself if it is NaN */
V_INLINE vreal where_positive(vreal q, vreal active)
{
    return v_select(v_gt(q, v_zero()), active, v_select(v_le(q, v_zero()), v_zero(), q));
}

/* k = scale */
V_INLINE vreal hinge_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal t = row_load(p->b + j, m, full), q = v_fnma(t, row_load(p->a + j, m, full), v_set1(1));
    row_store(p->y + j, m, full, v_mul(p->k[0], where_positive(q, v_neg(t))));
    return v_add(lanes, v_select(v_lt(q, v_zero()), v_zero(), q));
}

/* k = scale */
V_INLINE vreal perceptron_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal z = row_load(p->a + j, m, full), one = v_set1(1);
    vreal s = v_select(v_ge(z, v_zero()), one, v_select(v_lt(z, v_zero()), v_zero(), z)); /* NaN stays */
    vreal g = v_sub(s, row_load(p->b + j, m, full));
    row_store(p->y + j, m, full, v_mul(p->k[0], g));
    return v_add(lanes, v_mul(g, z));
}

static void squared_error(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[4] = {v_set1((real)(2 * c->scalar[1] * c->scalar[0]))};
    loss_rows(c, i, end, squared_term, k, (real)c->scalar[1]);
}

static void huber(const nn_call *c, int64_t i, int64_t end)
{
    const real d = (real)c->scalar[1];
    const vreal k[4] = {k_scalar(c, 0), v_set1(d), v_set1(d / 2)};
    loss_rows(c, i, end, huber_term, k, 1);
}

static void absolute_error(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[4] = {k_scalar(c, 0)};
    loss_rows(c, i, end, absolute_term, k, 1);
}

static void binary_xent(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[4] = {k_scalar(c, 0)};
    loss_rows(c, i, end, binary_term, k, 1);
}

static void logistic_loss(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[4] = {k_scalar(c, 0)};
    loss_rows(c, i, end, logistic_term, k, 1);
}

static void hinge(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[4] = {k_scalar(c, 0)};
    loss_rows(c, i, end, hinge_term, k, 1);
}

static void perceptron(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[4] = {k_scalar(c, 0)};
    loss_rows(c, i, end, perceptron_term, k, 1);
}

/* First the margins into dz, then, once the label's own is out, their sum and the gradient. k = z_t */
V_INLINE vreal margin(vreal z, const vreal *k)
{
    vreal q = v_add(v_sub(z, k[0]), v_set1(1));
    return v_select(v_lt(q, v_zero()), v_zero(), q);
}

/* Sums the margins, and counts those above 0 by storing 1 for them. */
V_INLINE vreal margin_term(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal q = row_load(p->a + j, m, full);
    row_store(p->y + j, m, full, where_positive(q, v_set1(1)));
    return v_add(lanes, q);
}

static void multi_hinge(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    const real scale = (real)c->scalar[0];
    const vreal k_scale = v_set1(scale);
    for (; i < end; i++) {
        real *dz = (real *)c->arg[1] + i * C;
        const real *z = (const real *)c->arg[2] + i * C;
        const int32_t t = ((const int32_t *)c->arg[3])[i];
        const vreal zt = v_set1(z[t]);
        map1(dz, z, 0, C, margin, &zt);
        dz[t] = 0;
        const row_pass p = {.a = dz, .y = dz};
        const real loss = row_sum(&p, C, margin_term), violated = row_sum(&p, C, plain); /* exact below 2^24 classes */
        map1(dz, dz, 0, C, scale_v, &k_scale);
        dz[t] = loss == loss ? 0 - scale * violated : loss;
        ((real *)c->arg[0])[i] = loss;
    }
}

static void one_hot(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t C = c->dim[1];
    for (; i < end; i++) {
        real *y = (real *)c->arg[0] + i * C;
        fill_with(y, 0, C, k_scalar(c, 0));
        y[((const int32_t *)c->arg[1])[i]] = (real)c->scalar[1];
    }
}
