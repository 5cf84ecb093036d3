/* layer_norm.c - layer normalisation: every sample (or row of one) to mean 0 and variance 1, then scaled and shifted.
 *
 *   layer_norm_fwd         z = (x - mean) inverse, mean = sum_j x_j / D, var = sum_j (x_j - mean)^2 / D,
 *                          inverse = 1 / sqrt(var + eps), y = z gamma + beta        Ba, Kiros, Hinton 2016, eq. 3 and 4
 *   layer_norm_bwd         dx = inverse (g - sum_j g_j / D - z sum_j g_j z_j / D),   g = dy gamma
 *   layer_norm_bwd_weight  dgamma[s] = sum_i dy_i z_i, dbeta[s] = sum_i dy_i over the rows of shard s
 *
 * Shapes: x, y, dx, dy (N, D), mean, inverse (N), gamma, beta (D), both or neither: then 1 and 0; dgamma, dbeta (shards, D).
 * y may be x, dx may be dy. A row's y and dx depend on that row alone (numerics.md R14).
 * Order: row sums follow R3 (element j to lane j mod 16, tree 8-4-2-1, chunks of 4096 pairwise), products by fma; the
 * weights' gradients are one chain a column, i ascending from +0, as sum_rows. Two passes for the variance: the row is in
 * cache. Not finite: a NaN or an infinity makes its row NaN.
 * Error: mean gamma_k avg |x|, k additions and a division; it enters var squared, y as |inverse| times it. A mean of many
 * deviations is thus limited by its own rounding; derivations in bench/cases/layer_norm.py.
 */
#ifdef NN_PASS_LIST
NN_OP(layer_norm_fwd, LAYER_NORM_FWD)
NN_OP(layer_norm_bwd, LAYER_NORM_BWD)
NN_OP(layer_norm_bwd_weight, LAYER_NORM_BWD_WEIGHT)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void layer_norm_fwd(const nn_call *c)
{
    const int64_t D = c->dim[1];
    const real *gamma = c->arg[4], *beta = c->arg[5];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *y = (real *)c->arg[0] + i * D, mean = 0, var = 0;
        const real *x = (const real *)c->arg[3] + i * D;
        for (int64_t j = 0; j < D; j++)
            mean += x[j];
        mean /= (real)D;
        for (int64_t j = 0; j < D; j++)
            var += (x[j] - mean) * (x[j] - mean);
        var /= (real)D;
        const real inverse = 1 / v_sqrt(var + (real)c->scalar[0]);
        for (int64_t j = 0; j < D; j++)
            y[j] = gamma ? (x[j] - mean) * inverse * gamma[j] + beta[j] : (x[j] - mean) * inverse;
        ((real *)c->arg[1])[i] = mean;
        ((real *)c->arg[2])[i] = inverse;
    }
}

static void layer_norm_bwd(const nn_call *c)
{
    const int64_t D = c->dim[1];
    const real *gamma = c->arg[5];
    for (int64_t i = 0; i < c->dim[0]; i++) {
        real *dx = (real *)c->arg[0] + i * D, sum = 0, product = 0;
        const real *dy = (const real *)c->arg[1] + i * D, *x = (const real *)c->arg[2] + i * D;
        const real mean = ((const real *)c->arg[3])[i], inverse = ((const real *)c->arg[4])[i];
        for (int64_t j = 0; j < D; j++) {
            const real g = gamma ? dy[j] * gamma[j] : dy[j];
            sum += g;
            product += g * ((x[j] - mean) * inverse);
        }
        for (int64_t j = 0; j < D; j++) {
            const real g = gamma ? dy[j] * gamma[j] : dy[j];
            dx[j] = inverse * (g - sum / (real)D - (x[j] - mean) * inverse * (product / (real)D));
        }
    }
}

static void layer_norm_bwd_weight(const nn_call *c)
{
    const int64_t D = c->dim[1], shards = c->dim[2], rows = c->dim[0] / shards;
    for (int64_t s = 0; s < shards; s++)
        for (int64_t j = 0; j < D; j++) {
            real dgamma = 0, dbeta = 0;
            for (int64_t i = s * rows; i < (s + 1) * rows; i++) {
                const real dy = ((const real *)c->arg[2])[i * D + j], x = ((const real *)c->arg[3])[i * D + j];
                dgamma += dy * ((x - ((const real *)c->arg[4])[i]) * ((const real *)c->arg[5])[i]);
                dbeta += dy;
            }
            ((real *)c->arg[0])[s * D + j] = dgamma;
            ((real *)c->arg[1])[s * D + j] = dbeta;
        }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
/* Passes over a row as in softmax.c. k = mean, inverse, then the two means of dx; c = gamma or NULL, d = beta. */
V_INLINE vreal ln_z(const row_pass *p, const real *x, int64_t j, vmask m, int full)
{
    return v_mul(v_sub(row_load(x + j, m, full), p->k[0]), p->k[1]);
}

V_INLINE vreal ln_g(const row_pass *p, int64_t j, vmask m, int full)
{
    const vreal dy = row_load(p->a + j, m, full);
    return p->c ? v_mul(dy, row_load(p->c + j, m, full)) : dy;
}

V_INLINE vreal ln_square(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    const vreal d = v_sub(row_load(p->a + j, m, full), p->k[0]);
    return v_fma(d, d, lanes);
}

V_INLINE vreal ln_normalise(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    vreal z = ln_z(p, p->a, j, m, full);
    if (p->c)
        z = v_fma(z, row_load(p->c + j, m, full), row_load(p->d + j, m, full));
    row_store(p->y + j, m, full, z);
    return lanes;
}

V_INLINE vreal ln_sum(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    return v_add(lanes, ln_g(p, j, m, full));
}

V_INLINE vreal ln_product(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    return v_fma(ln_g(p, j, m, full), ln_z(p, p->b, j, m, full), lanes);
}

V_INLINE vreal ln_gradient(const row_pass *p, int64_t j, vmask m, int full, vreal lanes)
{
    const vreal g = v_sub(ln_g(p, j, m, full), p->k[2]);
    row_store(p->y + j, m, full, v_mul(p->k[1], v_fnma(ln_z(p, p->b, j, m, full), p->k[3], g)));
    return lanes;
}

/* A pass that only stores. */
V_INLINE void row_each(const row_pass *p, int64_t D, row_fn *f)
{
    int64_t j = 0;
    for (; j + VW <= D; j += VW)
        f(p, j, v_tail(VW), 1, v_zero());
    if (j < D)
        f(p, j, v_tail(D - j), 0, v_zero());
}

V_INLINE real inverse1(real var, real eps)
{
    real lane[VW];
    v_store(lane, v_div(v_set1(1), v_sqrt(v_set1(var + eps))));
    return lane[0];
}

static void layer_norm_fwd(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t D = c->dim[1];
    for (; i < end; i++) {
        row_pass p = {.a = (const real *)c->arg[3] + i * D, .c = c->arg[4], .d = c->arg[5], .y = (real *)c->arg[0] + i * D};
        const real mean = row_sum(&p, D, plain) / (real)D;
        p.k[0] = v_set1(mean);
        const real inverse = inverse1(row_sum(&p, D, ln_square) / (real)D, (real)c->scalar[0]);
        p.k[1] = v_set1(inverse);
        row_each(&p, D, ln_normalise);
        ((real *)c->arg[1])[i] = mean;
        ((real *)c->arg[2])[i] = inverse;
    }
}

static void layer_norm_bwd(const nn_call *c, int64_t i, int64_t end)
{
    const int64_t D = c->dim[1];
    const real *mean = c->arg[3], *inverse = c->arg[4];
    for (; i < end; i++) {
        row_pass p = {.a = (const real *)c->arg[1] + i * D, .b = (const real *)c->arg[2] + i * D, .c = c->arg[5],
                      .y = (real *)c->arg[0] + i * D, .k = {v_set1(mean[i]), v_set1(inverse[i])}};
        p.k[2] = v_set1(row_sum(&p, D, ln_sum) / (real)D);
        p.k[3] = v_set1(row_sum(&p, D, ln_product) / (real)D);
        row_each(&p, D, ln_gradient);
    }
}

/* Columns [j, end): two chains each, down the rows of every shard. */
static void layer_norm_bwd_weight(const nn_call *c, int64_t begin, int64_t end)
{
    const int64_t D = c->dim[1], shards = c->dim[2], rows = c->dim[0] / shards;
    const real *mean = c->arg[4], *inverse = c->arg[5];
    for (int64_t s = 0; s < shards; s++)
        for (int64_t j = begin; j < end; j += VW) {
            const int full = j + VW <= end;
            const vmask m = v_tail(full ? VW : end - j);
            vreal dgamma = v_zero(), dbeta = v_zero();
            for (int64_t i = s * rows; i < (s + 1) * rows; i++) {
                const row_pass p = {.k = {v_set1(mean[i]), v_set1(inverse[i])}};
                const vreal dy = row_load((const real *)c->arg[2] + i * D + j, m, full);
                dgamma = v_fma(dy, ln_z(&p, (const real *)c->arg[3] + i * D, j, m, full), dgamma);
                dbeta = v_add(dbeta, dy);
            }
            row_store((real *)c->arg[0] + s * D + j, m, full, dgamma);
            row_store((real *)c->arg[1] + s * D + j, m, full, dbeta);
        }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(layer_norm_fwd, LAYER_NORM_FWD)
NN_DRIVE_ROWS(layer_norm_bwd, LAYER_NORM_BWD)
static void layer_norm_bwd_weight(const nn_call *c) { nn_drive_range(c, NN_OP_LAYER_NORM_BWD_WEIGHT, c->dim[1], 16); }
#endif
