/* gather.c - the first instruction of a tape: fetch the samples of a step and make reals of them.
 *
 *   gather_u8       x[r,j] = (images[row,j] - mean[j]) scale[j]      bytes stay bytes until here
 *   gather_f32      the same from float features
 *   gather_labels   t[r] = labels[row], an i32 in [0, C)
 *   gather_targets  t[r,j] = targets[row,j], float to real, unchanged
 *
 * Row r of the step is sample p = cursor + r of the epoch; shuffled by the keyed bijection of rng.c if the run asks for it,
 * then looked up in `rows` (i64) if given: row = rows[shuffle(p)].
 * Shapes: x (N, D), images, data, targets (any, D), labels (any) of 1 byte or, by dim[2] = 4, of i32; mean, scale (D) or
 * (1), real. Nothing aliases.
 * Rounding: x is one subtraction, rounded, times scale, rounded: |error| <= u |x| + u |mean - byte| |scale|, 2 u |x| in
 * all. Bytes are exact in float; so are the floats on the twin. NaN in the data propagates.
 * Hazard: rows and data come from outside the tape, so each index is checked against the bytes really there: a fault
 * NN_ERR_RANGE names the position in the epoch and the row it asked for (-1: the list of rows is too short), or for a
 * label the row and the label. */
#ifdef NN_PASS_LIST
NN_OP(gather_u8, GATHER_U8)
NN_OP(gather_f32, GATHER_F32)
NN_OP_HOST(gather_labels, GATHER_LABELS)
NN_OP(gather_targets, GATHER_TARGETS)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL) || defined(NN_PASS_DRIVER)
/* The data row of row r of the step, checked; -1 after raising a fault. */
static inline int64_t gather_row(const nn_call *c, int64_t r, int64_t row_nbytes)
{
    const nn_run *run = c->run;
    const int64_t *rows = c->arg[2];
    int64_t position = run->cursor + r, row = -1;
    /* The shuffle may send this position to any sample of the epoch. */
    int64_t reach = run->flags & NN_RUN_SHUFFLE ? run->n_samples - 1 : position;
    if (position >= 0 && (!rows || reach < c->nbytes[2] / (int64_t)sizeof *rows))
        row = nn_sample_row(run, rows, position);
    if (row >= 0 && row < c->nbytes[1] / row_nbytes)
        return row;
    nn_raise(c, NN_ERR_RANGE, position, (double)row);
    return -1;
}
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void gather_u8(const nn_call *c)
{
    real *x = c->arg[0];
    const uint8_t *images = c->arg[1];
    const real *mean = c->arg[3], *scale = c->arg[4];
    int64_t d = c->dim[1], step = c->dim[2] == 1 ? 0 : 1;
    for (int64_t r = 0; r < c->dim[0] && d > 0; r++) {
        int64_t row = gather_row(c, r, d);
        for (int64_t j = 0; j < d && row >= 0; j++)
            x[r * d + j] = ((real)images[row * d + j] - mean[j * step]) * scale[j * step];
    }
}

static void gather_f32(const nn_call *c)
{
    real *x = c->arg[0];
    const float *data = c->arg[1];
    const real *mean = c->arg[3], *scale = c->arg[4];
    int64_t d = c->dim[1], step = c->dim[2] == 1 ? 0 : 1;
    for (int64_t r = 0; r < c->dim[0] && d > 0; r++) {
        int64_t row = gather_row(c, r, d * 4);
        for (int64_t j = 0; j < d && row >= 0; j++)
            x[r * d + j] = ((real)data[row * d + j] - mean[j * step]) * scale[j * step];
    }
}

static void gather_targets(const nn_call *c)
{
    real *t = c->arg[0];
    const float *targets = c->arg[1];
    int64_t d = c->dim[1];
    for (int64_t r = 0; r < c->dim[0] && d > 0; r++) {
        int64_t row = gather_row(c, r, d * 4);
        for (int64_t j = 0; j < d && row >= 0; j++)
            t[r * d + j] = targets[row * d + j];
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
typedef enum gather_kind { GATHER_BYTES, GATHER_FLOATS, GATHER_AS_IS } gather_kind;

/* n < VW elements, 0 meaning a whole vector. */
V_INLINE vreal gather_load(const char *p, int64_t n, gather_kind kind)
{
    if (kind == GATHER_BYTES)
        return n ? v_load_u8_m((const uint8_t *)p, n) : v_load_u8((const uint8_t *)p);
    return n ? v_load_f32_m((const float *)p, v_tail(n)) : v_load_f32((const float *)p);
}

/* One row. `single`: one mean and one scale for all features. */
V_INLINE void gather_convert(const nn_call *c, real *x, const char *p, int single, gather_kind kind)
{
    const real *mean = c->arg[3], *scale = c->arg[4];
    int64_t d = c->dim[1], j = 0, size = kind == GATHER_BYTES ? 1 : 4;
    vreal mu = single ? v_set1(*mean) : v_zero(), factor = single ? v_set1(*scale) : v_zero();
    for (; j + VW <= d; j += VW) {
        vreal v = gather_load(p + j * size, 0, kind);
        if (kind != GATHER_AS_IS)
            v = v_mul(v_sub(v, single ? mu : v_load(mean + j)), single ? factor : v_load(scale + j));
        map_ahead(x + j);
        v_store(x + j, v);
    }
    if (j < d) {
        vmask m = v_tail(d - j);
        vreal v = gather_load(p + j * size, d - j, kind);
        if (kind != GATHER_AS_IS)
            v = v_mul(v_sub(v, single ? mu : v_load_m(mean + j, m)), single ? factor : v_load_m(scale + j, m));
        v_store_m(x + j, m, v);
    }
}

/* Rows [r, end) of the step. Shuffled rows are cache misses, so the next one is asked for before this one is used. */
V_INLINE void gather_rows(const nn_call *c, int64_t r, int64_t end, gather_kind kind)
{
    int64_t d = c->dim[1], nbytes = d * (kind == GATHER_BYTES ? 1 : 4);
    int single = kind != GATHER_AS_IS && c->dim[2] == 1;
    real *x = c->arg[0];
    const char *data = c->arg[1];
    if (d <= 0)
        return;
    int64_t row = gather_row(c, r, nbytes);
    for (; r < end && row >= 0; r++) {
        const char *p = data + row * nbytes;
        row = r + 1 < end ? gather_row(c, r + 1, nbytes) : 0;
        for (int64_t b = 0; row > 0 && b < nbytes; b += 64)
            __builtin_prefetch(data + row * nbytes + b);
        if (single)
            gather_convert(c, x + r * d, p, 1, kind);
        else
            gather_convert(c, x + r * d, p, 0, kind);
    }
}

static void gather_u8(const nn_call *c, int64_t r, int64_t end) { gather_rows(c, r, end, GATHER_BYTES); }
static void gather_f32(const nn_call *c, int64_t r, int64_t end) { gather_rows(c, r, end, GATHER_FLOATS); }
static void gather_targets(const nn_call *c, int64_t r, int64_t end) { gather_rows(c, r, end, GATHER_AS_IS); }
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ROWS(gather_u8, GATHER_U8)
NN_DRIVE_ROWS(gather_f32, GATHER_F32)
NN_DRIVE_ROWS(gather_targets, GATHER_TARGETS)

static void gather_labels(const nn_call *c)
{
    int32_t *t = c->arg[0];
    int64_t begin, end, size = c->dim[2] == 4 ? 4 : 1;
    nn_team_split(c->team, c->dim[0], 1, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t row = gather_row(c, r, size);
        if (row < 0)
            return;
        int64_t label = size == 4 ? ((const int32_t *)c->arg[1])[row] : ((const uint8_t *)c->arg[1])[row];
        if (label < 0 || label >= c->dim[1]) {
            nn_raise(c, NN_ERR_RANGE, row, (double)label);
            return;
        }
        t[r] = (int32_t)label;
    }
}
#endif
