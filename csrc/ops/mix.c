/* mix.c - what is done to the values of a step rather than to the places they stand at.
 *
 *   standardise   y[r,j] = (x[r,j] - mean[j]) scale[j]       what gather.c does, for values augmented after it
 *
 * Shapes: x, y (N, D), mean and scale (D) or (1). y may alias x. Error: 2 u |y|, as gather_u8, and the same bits. */
#ifdef NN_PASS_LIST
NN_OP(standardise, STANDARDISE)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void standardise(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], *mean = c->arg[2], *scale = c->arg[3];
    int64_t d = c->dim[1], step = c->dim[2] == 1 ? 0 : 1;
    for (int64_t i = 0; i < c->dim[0] * d; i++)
        y[i] = (x[i] - mean[i % d * step]) * scale[i % d * step];
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
V_INLINE vreal mix_standard(vreal x, const vreal *k) { return v_mul(v_sub(x, k[0]), k[1]); }

static void standardise(const nn_call *c, int64_t r, int64_t end)
{
    const real *x = c->arg[1], *mean = c->arg[2], *scale = c->arg[3];
    real *y = c->arg[0];
    int64_t d = c->dim[1];
    if (d > 0 && c->dim[2] == 1) {
        const vreal k[2] = {v_set1(*mean), v_set1(*scale)};
        map1(y, x, r * d, end * d, mix_standard, k);
        return;
    }
    for (; r < end; r++)
        for (int64_t j = 0; j < d; j += VW) {
            vmask m = v_tail(d - j < VW ? d - j : VW);
            vreal k[2] = {v_load_m(mean + j, m), v_load_m(scale + j, m)};
            v_store_m(y + r * d + j, m, mix_standard(v_load_m(x + r * d + j, m), k));
        }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(standardise, STANDARDISE)
#endif
