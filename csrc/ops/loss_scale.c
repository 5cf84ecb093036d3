/* loss_scale.c - a loss multiplied by a power of two so that small gradients survive a narrow format, found while training.
 *
 *   all_finite   y = [no x is NaN or infinite] and before       x (n); before, y one element; before may be absent
 *   loss_scale   finite: g = g + 1, at g = interval s = 2 s and g = 0;  else s = s / 2, g = 0, skipped = skipped + 1
 *
 * s (1) is what the gradients were multiplied by; counts (3): g, skipped, and whether this step is to end here. Where it is, the
 * executor leaves out what stands behind on the tape (tape.c): neither weights nor states of the optimizer move. s stays within
 * 2^-120 and 2^120, so that 1 / s is a normal number; interval 0: s stays as it is. Source: Micikevicius et al. 2018, arXiv
 * 1710.03740, section 3.2. Rank 0 does it: reading gradients once is little beside making them. */
#ifdef NN_PASS_LIST
NN_OP_HOST(all_finite, ALL_FINITE)
NN_OP_HOST(loss_scale, LOSS_SCALE)
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static double read_one(const nn_call *c, int32_t arg)
{
    return c->is_double ? *(const double *)c->arg[arg] : (double)*(const float *)c->arg[arg];
}

static void write_one(const nn_call *c, double x)
{
    if (c->is_double)
        *(double *)c->arg[0] = x;
    else
        *(float *)c->arg[0] = (float)x;
}

/* x 0 is 0 unless x is NaN or infinite; but that would raise a flag. So the bits are looked at. */
static int holds_nonfinite(const nn_call *c, int64_t n)
{
    int found = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t wide = 0;
        uint32_t bits = 0;
        if (c->is_double)
            memcpy(&wide, (const double *)c->arg[1] + i, sizeof wide);
        else
            memcpy(&bits, (const float *)c->arg[1] + i, sizeof bits);
        found |= (wide >> 52 & 0x7ff) == 0x7ff || (bits >> 23 & 0xff) == 0xff;
    }
    return found;
}

static void all_finite(const nn_call *c)
{
    if (c->team->rank == 0)
        write_one(c, !holds_nonfinite(c, c->dim[0]) && (!c->arg[2] || read_one(c, 2) != 0));
}

static void loss_scale(const nn_call *c)
{
    int64_t *counts = c->arg[1];
    const int64_t interval = c->dim[0];
    if (c->team->rank != 0)
        return;
    double s = read_one(c, 0);
    counts[2] = read_one(c, 2) == 0;
    counts[1] += counts[2];
    counts[0] = counts[2] ? 0 : counts[0] + 1;
    if (interval && counts[2])
        s = s > 0x1p-120 ? s / 2 : s;
    else if (interval && counts[0] >= interval) {
        s = s < 0x1p120 ? 2 * s : s;
        counts[0] = 0;
    }
    write_one(c, s);
}
#endif
