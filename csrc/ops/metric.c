/* metric.c - what a training wants to know of a step, and the watch over its values.
 *
 *   metrics       sums += (N loss, rows whose first maximum is their label, N, 0); sums f64 (4), loss real (1), the mean
 *                 of the step; z (N, C) and labels i32 (N) may be absent. Rank 0: the sums have one order.
 *   check_finite  faults with NN_ERR_NONFINITE, the index of the first NaN or infinity of x and its value
 *   argmax        y[i] = first index of the largest of row i of z (N, C); y i32 (N). C = 0 gives 0
 *   top_k         hits += rows whose label is among the k largest; hits f64 (1). Rank 0
 *
 * Ties: the first index wins; the label is among the k largest if fewer than k entries stand before it, those larger and
 * those equal with a smaller index. -0 and +0 are equal. NaN (numerics.md R9): the first NaN of a row is its maximum, so
 * argmax points at it; a row that holds a NaN counts neither as correct nor as a hit, whatever its label.
 * Hazard: a label outside [0, C) faults with NN_ERR_RANGE (row, label); z is not read there.
 * Exact, except N loss and its sum in double: 2 u per step. */
#ifdef NN_PASS_LIST
NN_OP(metrics, METRICS)
NN_OP(check_finite, CHECK_FINITE)
NN_OP(argmax, ARGMAX)
NN_OP(top_k, TOP_K)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static int32_t argmax_row(const real *z, int64_t n)
{
    int64_t best = 0;
    for (int64_t j = 1; j < n; j++) {
        if (z[best] != z[best])
            break;
        if (z[j] > z[best] || z[j] != z[j])
            best = j;
    }
    return (int32_t)best;
}

static void argmax(const nn_call *c)
{
    int32_t *y = c->arg[0];
    const real *z = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = argmax_row(z + i * c->dim[1], c->dim[1]);
}

static void metrics(const nn_call *c)
{
    double *sums = c->arg[0];
    const real *loss = c->arg[1], *z = c->arg[2];
    const int32_t *labels = c->arg[3];
    int64_t n = c->dim[0], classes = c->dim[1], correct = 0;
    for (int64_t i = 0; i < n && z && labels; i++) {
        if (labels[i] < 0 || labels[i] >= classes) {
            nn_raise(c, NN_ERR_RANGE, i, labels[i]);
            return;
        }
        int32_t best = argmax_row(z + i * classes, classes);
        if (best == labels[i] && z[i * classes + best] == z[i * classes + best])
            correct++;
    }
    sums[0] += (double)n * (double)*loss;
    sums[1] += (double)correct;
    sums[2] += (double)n;
}

static void check_finite(const nn_call *c)
{
    const real *x = c->arg[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        if (x[i] - x[i] != 0) {
            nn_raise(c, NN_ERR_NONFINITE, i, x[i]);
            return;
        }
}

static void top_k(const nn_call *c)
{
    double *hits = c->arg[0];
    const real *z = c->arg[1];
    const int32_t *labels = c->arg[2];
    int64_t classes = c->dim[1], count = 0;
    for (int64_t i = 0; i < c->dim[0]; i++, z += classes) {
        int64_t t = labels[i], before = 0, nans = 0;
        if (t < 0 || t >= classes) {
            nn_raise(c, NN_ERR_RANGE, i, (double)t);
            return;
        }
        for (int64_t j = 0; j < classes; j++) {
            before += z[j] > z[t] || (z[j] == z[t] && j < t);
            nans += z[j] != z[j];
        }
        count += before < c->dim[2] && nans == 0;
    }
    *hits += (double)count;
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
/* VW rows at once, a row to a lane: no branch that the data decide. n <= VW rows, those missing are taken for the first;
 * best (the index, exact in float below 2^24 classes) and top (its value) for VW lanes. */
static void argmax_block(real *best, real *top, const real *z, int64_t n, int64_t classes)
{
    vreal index = v_zero(), value = v_zero();
    for (int64_t from = 0; from < classes; from += VW) {
        const vmask m = v_tail(classes - from < VW ? classes - from : VW);
        vreal column[VW];
        V_UNROLL for (int l = 0; l < VW; l++)
            column[l] = v_load_m(z + (l < n ? l : 0) * classes + from, m);
        v_transpose(column);
        if (from == 0)
            value = column[0];
        for (int64_t k = 0; k < VW && from + k < classes; k++) {
            const vmask take = m_and(m_not(v_le(column[k], value)), v_eq(value, value));
            index = v_select(take, v_set1((real)(from + k)), index);
            value = v_select(take, column[k], value);
        }
    }
    v_store(best, index);
    v_store(top, value);
}

static void argmax(const nn_call *c, int64_t i, int64_t end)
{
    int32_t *y = c->arg[0];
    const real *z = c->arg[1];
    for (; i < end; i += VW) {
        int64_t n = end - i < VW ? end - i : VW;
        real best[VW], top[VW];
        argmax_block(best, top, z + i * c->dim[1], n, c->dim[1]);
        for (int64_t l = 0; l < n; l++)
            y[i + l] = (int32_t)best[l];
    }
}

static int metric_label_ok(const nn_call *c, int64_t row, int64_t label)
{
    if (label >= 0 && label < c->dim[1])
        return 1;
    nn_raise(c, NN_ERR_RANGE, row, (double)label);
    return 0;
}

static void metrics(const nn_call *c, int64_t begin, int64_t end)
{
    double *sums = c->arg[0], n = (double)(end - begin);
    const real *loss = c->arg[1], *z = c->arg[2];
    const int32_t *labels = c->arg[3];
    int64_t correct = 0;
    for (int64_t i = begin; i < end && z && labels; i += VW) {
        int64_t rows = end - i < VW ? end - i : VW;
        real best[VW], top[VW];
        argmax_block(best, top, z + i * c->dim[1], rows, c->dim[1]);
        for (int64_t l = 0; l < rows; l++) {
            if (!metric_label_ok(c, i + l, labels[i + l]))
                return;
            correct += (int32_t)best[l] == labels[i + l] && top[l] == top[l];
        }
    }
    sums[0] += n * (double)*loss;
    sums[1] += (double)correct;
    sums[2] += n;
}

/* On a fault look again from the very first element, so that the index told does not depend on how ranks share x. */
static void check_finite(const nn_call *c, int64_t i, int64_t end)
{
    const real *x = c->arg[0];
    const vreal infinity = v_set1((real)__builtin_inf());
    vmask good = m_not(v_lt(v_zero(), v_zero()));
    for (; i + VW <= end; i += VW)
        good = m_and(good, v_lt(v_abs(v_load(x + i)), infinity));
    if (i < end)
        good = m_and(good, v_lt(v_abs(v_load_m(x + i, v_tail(end - i))), infinity));
    if (m_all(good))
        return;
    for (i = 0; i < end; i++)
        if (!(x[i] - x[i] == 0)) {
            nn_raise(c, NN_ERR_NONFINITE, i, x[i]);
            return;
        }
}

static void top_k(const nn_call *c, int64_t i, int64_t end)
{
    double *hits = c->arg[0];
    const int32_t *labels = c->arg[2];
    int64_t classes = c->dim[1], count = 0;
    for (; i < end; i++) {
        const real *z = (const real *)c->arg[1] + i * classes;
        if (!metric_label_ok(c, i, labels[i]))
            return;
        real own = z[labels[i]];
        int64_t before = 0; /* a NaN, here or there, stands before everything */
        for (int64_t j = 0; j < classes; j++)
            before += z[j] != z[j] ? c->dim[2] : (z[j] > own) | ((z[j] == own) & (j < labels[i]));
        count += before < c->dim[2];
    }
    *hits += (double)count;
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(argmax, ARGMAX)

/* A few elements, as one loss, are not worth a barrier: rank 0 made them. */
static void check_finite(const nn_call *c)
{
    if (c->dim[0] > NN_CHUNK)
        nn_drive_range(c, NN_OP_CHECK_FINITE, c->dim[0], NN_GRAIN);
    else if (c->team->rank == 0)
        c->set->range[NN_OP_CHECK_FINITE](c, 0, c->dim[0]);
}

static void metrics(const nn_call *c)
{
    if (c->team->rank == 0)
        c->set->range[NN_OP_METRICS](c, 0, c->dim[0]);
}

static void top_k(const nn_call *c)
{
    if (c->team->rank == 0)
        c->set->range[NN_OP_TOP_K](c, 0, c->dim[0]);
}
#endif
