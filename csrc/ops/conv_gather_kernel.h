/* conv_gather_kernel.h - the KERNEL part of conv.c, the two ops: rows of y and of dx, cut into what conv_kernel.h and
 * conv_image_kernel.h do. */

/* Rows [p, p_end) of images [n, end): all phases of a backward pass, then an activation that is not the tile's. */
static void conv_band(conv_job *x, const nn_call *c, const conv_part *part, int64_t n, int64_t end, int64_t p, int64_t p_end)
{
    const conv_shape v = conv_shape_of(c);
    for (int64_t i = 0; i < (x->backward ? v.sh : 1); i++)
        for (int64_t j = 0; j < (x->backward ? v.sw : 1); j++) {
            if (x->backward) {
                x->h = conv_axis_bwd(v.P, v.R, v.sh, v.pt, v.dh, i, p, p_end);
                x->w_axis = conv_axis_bwd(v.Q, v.S, v.sw, v.pl, v.dw, j, 0, v.W);
            } else {
                x->h = (conv_axis){0, 1, -v.pt, v.sh, v.dh, v.H, v.R, 0, 1, p, p_end};
                x->w_axis = (conv_axis){0, 1, -v.pl, v.sw, v.dw, v.W, v.S, 0, 1, 0, v.Q};
            }
            if (x->window)
                conv_window_images(x, n, end);
            else if (x->by_image)
                conv_image_images(x, c->team->scratch, n, end - n);
            else
                conv_images(x, part, n, end);
        }
    for (; n < end && part->last && v.last >= 0 && !x->relu; n++) {
        int64_t count = (p_end - p) * x->out_row;
        real *y = x->out + n * x->out_image + p * x->out_row;
        void *arg[2] = {y, y};
        nn_call call = {.arg = arg, .dim = &count, .scalar = c->scalar};
        nn_kernel_of(c, v.last)(&call, 0, count);
    }
}

/* Rows [u, end), counted through all images, with one part of the weights; many whole images at a time. */
static void conv_with(conv_job *x, const nn_call *c, const conv_part *part, int64_t rows, int64_t u, int64_t end)
{
    if (!x->by_image && !x->window)
        conv_pack(x, part, (real *)(void *)c->team->scratch);
    while (u < end) {
        int64_t n = u / rows, p = u % rows, images = at_most((end - u) / rows, x->by_image ? VW : MR);
        if (p == 0 && images > 0) {
            conv_band(x, c, part, n, n + images, 0, rows);
            u += images * rows;
        } else {
            int64_t p_end = at_most(rows, p + end - u);
            conv_band(x, c, part, n, n + 1, p, p_end);
            u += p_end - p;
        }
    }
}

/* As many panels of weights at a time as fit the scratch; a panel that does not, tap by tap. */
static void conv_gather(conv_job *x, const nn_call *c, int64_t rows, int64_t begin, int64_t end)
{
    x->few = x->in_image * (int64_t)sizeof(real) % ALIAS ? CONV_SHORT : 2; /* images ALIAS apart share sets of the cache */
    const int64_t room = NN_RANK_NBYTES / (int64_t)sizeof(real), size = conv_max(1, x->R * x->S * x->inputs * NR);
    conv_part part = {.r1 = x->R, .s1 = x->S, .k1 = x->inputs, .first = 1, .last = 1, .panel_size = size,
                      .packed = (const real *)(const void *)c->team->scratch};
    x->window = conv_window_suits(x);
    x->by_image = !x->window && conv_image_suits(x, c, conv_max(1, (end - begin) / conv_max(1, rows)));
    const int64_t fit = x->window || x->by_image ? x->panels : room / size;
    for (; fit > 0 && part.panel < x->panels; part.panel = part.panel_end) {
        part.panel_end = at_most(x->panels, part.panel + fit);
        conv_with(x, c, &part, rows, begin, end);
    }
    for (; part.panel < x->panels; part.panel++) /* nothing fits */
        for (int64_t tap = 0; tap < x->R * x->S; tap++)
            for (int64_t k = 0; k < x->inputs; k += room / NR) {
                conv_part one = {part.panel, part.panel + 1, tap / x->S, tap / x->S + 1, tap % x->S, tap % x->S + 1, k,
                                 at_most(x->inputs, k + room / NR), tap == 0 && k == 0,
                                 tap == x->R * x->S - 1 && k + room / NR >= x->inputs, part.packed, 0};
                conv_with(x, c, &one, rows, begin, end);
            }
}

/* Depthwise all channels are one group of outputs, each with an input of its own. */
static void conv_across(conv_job *x, const conv_shape *v)
{
    x->across = v->G == v->C && v->G == v->K && v->G > 1;
    if (x->across) {
        x->outputs = v->C;
        x->w_in = x->w_out = 1;
    }
    x->panels = (x->across ? 1 : v->G) * ((x->outputs + NR - 1) / NR);
}

/* Rows of y, counted through all images. */
static void conv_fwd(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    conv_job x = {.in = c->arg[1], .w = c->arg[2], .bias = c->arg[3], .out = c->arg[0], .in_image = v.H * v.W * v.C,
                  .in_row = v.W * v.C, .in_pixel = v.C, .out_image = v.P * v.Q * v.K, .out_row = v.Q * v.K, .out_pixel = v.K,
                  .inputs = v.C / v.G, .outputs = v.K / v.G, .R = v.R, .S = v.S, .w_tap = v.C / v.G * v.K,
                  .w_group = v.K / v.G, .w_in = v.K, .w_out = 1, .relu = v.last == NN_OP_RELU_FWD};
    conv_across(&x, &v);
    conv_gather(&x, c, v.P, begin, end);
}

/* Rows of dx, counted through all images. */
static void conv_bwd_data(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    conv_job x = {.in = c->arg[1], .w = c->arg[2], .bias = c->arg[3], .out = c->arg[0], .in_image = v.P * v.Q * v.K,
                  .in_row = v.Q * v.K, .in_pixel = v.K, .out_image = v.H * v.W * v.C, .out_row = v.W * v.C, .out_pixel = v.C,
                  .inputs = v.K / v.G, .outputs = v.C / v.G, .R = v.R, .S = v.S, .w_tap = v.C / v.G * v.K,
                  .w_group = v.K / v.G, .w_in = 1, .w_out = v.K, .relu = v.last == NN_OP_RELU_FWD, .backward = 1};
    conv_across(&x, &v);
    conv_gather(&x, c, v.H, begin, end);
}
