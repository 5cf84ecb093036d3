/* augment_kernel.h - the KERNEL part of augment.c: samples [r, end) of the step. */

/* One row of a shifted, perhaps mirrored image: from[W][C] to to[W][C], what comes from outside is 0. */
static void warp_copy_row(real *to, const real *from, int64_t W, int64_t C, int64_t tx, int flip)
{
    int64_t first = tx < 0 ? 0 : tx, last = tx < 0 ? W + tx : W; /* pixels [first, last) have a source */
    if (last <= first) {
        memset(to, 0, (size_t)(W * C) * sizeof *to);
        return;
    }
    memset(to, 0, (size_t)(first * C) * sizeof *to);
    memset(to + last * C, 0, (size_t)((W - last) * C) * sizeof *to);
    if (!flip)
        memcpy(to + first * C, from + (first - tx) * C, (size_t)((last - first) * C) * sizeof *to);
    else if (C == 1)
        for (int64_t j = first; j < last; j++)
            to[j] = from[W - 1 - (j - tx)];
    else
        for (int64_t j = first; j < last; j++)
            memcpy(to + j * C, from + (W - 1 - (j - tx)) * C, (size_t)C * sizeof *to);
}

static void warp_copy(const nn_call *c, const warp_map *m, real *y, const real *x)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3];
    for (int64_t i = 0; i < H; i++) {
        int64_t from = i - m->ty;
        if (from < 0 || from >= H)
            memset(y + i * W * C, 0, (size_t)(W * C) * sizeof *y);
        else
            warp_copy_row(y + i * W * C, x + from * W * C, W, C, m->tx, m->flip);
    }
}

/* Up to 64 pixels of a row go through three stages, so that no vector load waits for the narrow stores of the stage before:
 * places and indices as vectors, the four neighbours fetched one by one, then interpolation as vectors. */
enum { WARP_CHUNK = 64 };
typedef struct warp_chunk {
    real sx[WARP_CHUNK], sy[WARP_CHUNK], near[4][WARP_CHUNK];
    lane_int index[4][WARP_CHUNK];
} warp_chunk;

V_INLINE vreal warp_floor(vreal s)
{
    vreal n = v_rint(s);
    return v_sub(n, v_select(v_gt(n, s), v_set1(1), v_zero()));
}

V_INLINE vreal warp_clamp(vreal s, real low, real high) { return v_min(v_max(s, v_set1(low)), v_set1(high)); }

/* Places of pixels [j, j + n) of row i, clamped to a pixel beyond the border, and whom to ask for their values. */
static void warp_places(warp_chunk *k, const nn_call *c, const warp_map *m, const real *d, int64_t i, int64_t j, int64_t n)
{
    static const real lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int64_t H = c->dim[1], W = c->dim[2];
    vreal width = v_set1((real)W), xi = v_fma(v_set1(m->xi), v_set1((real)i), v_set1(m->x0));
    vreal yi = v_fma(v_set1(m->yi), v_set1((real)i), v_set1(m->y0));
    for (int64_t l = 0; l < n; l += VW) {
        vmask tail = v_tail(n - l < VW ? n - l : VW);
        vreal column = v_add(v_load(lane), v_set1((real)(j + l)));
        vreal sx = v_fma(v_set1(m->xj), column, xi), sy = v_fma(v_set1(m->yj), column, yi);
        if (d) {
            sy = v_add(sy, v_load_m(d + i * W + j + l, tail));
            sx = v_add(sx, v_load_m(d + (H + i) * W + j + l, tail));
        }
        sx = warp_clamp(sx, -1, (real)W);
        sy = warp_clamp(sy, -1, (real)H);
        v_store(k->sx + l, sx);
        v_store(k->sy + l, sy);
        vreal left = warp_floor(sx), top = warp_floor(sy), one = v_set1(1);
        vreal x0 = warp_clamp(left, 0, (real)(W - 1)), x1 = warp_clamp(v_add(left, one), 0, (real)(W - 1));
        vreal y0 = warp_clamp(top, 0, (real)(H - 1)), y1 = warp_clamp(v_add(top, one), 0, (real)(H - 1));
        vint index[4] = {v_toint(v_fma(y0, width, x0)), v_toint(v_fma(y0, width, x1)), v_toint(v_fma(y1, width, x0)),
                         v_toint(v_fma(y1, width, x1))};
        for (int p = 0; p < 4; p++)
            memcpy(k->index[p] + l, &index[p], sizeof index[p]);
    }
}

/* y[l stride] for n pixels from their neighbours; a neighbour outside the image is 0. */
static void warp_between(real *y, const warp_chunk *k, int64_t H, int64_t W, int64_t n, int64_t stride)
{
    vreal zero = v_zero(), right_end = v_set1((real)(W - 1)), bottom_end = v_set1((real)(H - 1));
    for (int64_t l = 0; l < n; l += VW) {
        vreal sx = v_load(k->sx + l), sy = v_load(k->sy + l), x0 = warp_floor(sx), y0 = warp_floor(sy);
        vmask left = m_and(v_ge(x0, zero), v_le(x0, right_end)), right = v_lt(x0, right_end);
        vmask up = m_and(v_ge(y0, zero), v_le(y0, bottom_end)), down = v_lt(y0, bottom_end);
        vreal a = v_select(m_and(up, left), v_load(k->near[0] + l), zero);
        vreal b = v_select(m_and(up, right), v_load(k->near[1] + l), zero);
        vreal p = v_select(m_and(down, left), v_load(k->near[2] + l), zero);
        vreal q = v_select(m_and(down, right), v_load(k->near[3] + l), zero);
        vreal fx = v_sub(sx, x0), fy = v_sub(sy, y0);
        vreal upper = v_fma(fx, v_sub(b, a), a), lower = v_fma(fx, v_sub(q, p), p);
        vreal value = v_fma(fy, v_sub(lower, upper), upper);
        if (stride == 1 && n - l >= VW) {
            v_store(y + l, value);
        } else if (stride == 1) {
            v_store_m(y + l, v_tail(n - l), value);
        } else {
            real out[VW];
            v_store(out, value);
            for (int64_t v = 0; v < VW && l + v < n; v++)
                y[(l + v) * stride] = out[v];
        }
    }
}

static void warp_resample(const nn_call *c, const warp_map *m, real *y, const real *x, const real *d)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3];
    warp_chunk k;
    for (int64_t i = 0; i < H; i++)
        for (int64_t j = 0; j < W; j += WARP_CHUNK) {
            int64_t n = W - j < WARP_CHUNK ? W - j : WARP_CHUNK;
            warp_places(&k, c, m, d, i, j, n);
            for (int64_t channel = 0; channel < C; channel++) {
                for (int p = 0; p < 4; p++) {
                    for (int64_t l = 0; l < n; l++)
                        k.near[p][l] = x[k.index[p][l] * C + channel];
                    for (int64_t l = n; l % VW; l++)
                        k.near[p][l] = 0;
                }
                warp_between(y + (i * W + j) * C + channel, &k, H, W, n, C);
            }
        }
}

static void warp(const nn_call *c, int64_t r, int64_t end)
{
    int64_t size = c->dim[1] * c->dim[2] * c->dim[3], pixels = c->dim[1] * c->dim[2];
    for (; r < end && size > 0; r++) {
        real *y = (real *)c->arg[0] + r * size;
        const real *x = (const real *)c->arg[1] + r * size, *d = c->arg[2];
        warp_map m;
        if (warp_copies(c)) {
            warp_shift(c, r, &m);
            warp_copy(c, &m, y, x);
        } else {
            warp_draw(c, r, &m, c->math->sin, c->math->cos);
            warp_resample(c, &m, y, x, d ? d + r * 2 * pixels : NULL);
        }
    }
}

/* ---- elastic_field --------------------------------------------------------------------------------------------- */

/* w[t], |t| <= reach, the Gaussian of sum 1, and zeros for as many more as a vector may reach. */
typedef struct bell {
    const real *w;
    int64_t reach;
} bell;

/* In the rank's scratch: the bell, then 16 columns or one row of the image. The caller checked that they fit. */
static bell bell_make(const nn_call *c, int64_t reach, double sigma)
{
    real *w = (real *)(void *)c->team->scratch + reach + VW;
    double all = 1;
    for (int64_t t = 1; t <= reach; t++)
        all += 2 * c->math->exp(-0.5 * (double)(t * t) / (sigma * sigma));
    for (int64_t t = 0; t <= reach + VW; t++)
        w[t] = w[-t] = t > reach ? 0 : (real)(c->math->exp(-0.5 * (double)(t * t) / (sigma * sigma)) / all);
    return (bell){w, reach};
}

static void field_draw(const nn_call *c, int64_t r, real *d, int64_t n)
{
    const philox_keys keys = philox_schedule(c->run->seed);
    uint64_t words[PHILOX_PAIRS];
    for (int64_t base = 0; base < n; base += PHILOX_CHUNK) {
        philox_words(words, &keys, augment_stream(AUGMENT_FIELD), augment_index(c, r), (uint32_t)(base / 4));
        int64_t count = n - base < PHILOX_CHUNK ? n - base : PHILOX_CHUNK;
        for (int64_t l = 0; l < count; l++)
            d[base + l] = (real)(2 * (int32_t)(philox_word(words, l) >> 9) + 1 - (1 << 23)) * (real)0x1p-23;
    }
}

/* row[j] = sum_l w[j - l] row[l], l ascending; a copy of it in f. Weights of 0 beyond the reach change no bit. */
static void field_smooth_row(real *row, real *f, int64_t W, bell b)
{
    memcpy(f, row, (size_t)W * sizeof *f);
    for (int64_t j = 0; j < W; j += VW) {
        int64_t l = j - b.reach < 0 ? 0 : j - b.reach, end = j + VW + b.reach < W ? j + VW + b.reach : W;
        vreal sum = v_zero();
        for (; l < end; l++)
            sum = v_fma(v_load(b.w + j - l), v_set1(f[l]), sum);
        v_store_m(row + j, v_tail(W - j < VW ? W - j : VW), sum);
    }
}

/* The columns [j, j + VW) of an image, n of them there, the same way, times alpha. f: H vectors. */
static void field_smooth_columns(real *d, real *f, int64_t H, int64_t W, int64_t n, bell b, vreal alpha)
{
    vmask m = v_tail(n < VW ? n : VW);
    for (int64_t i = 0; i < H; i++)
        v_store(f + i * VW, v_load_m(d + i * W, m));
    for (int64_t i = 0; i < H; i++) {
        int64_t p = i - b.reach < 0 ? 0 : i - b.reach, end = i + b.reach + 1 < H ? i + b.reach + 1 : H;
        vreal sum = v_zero();
        for (; p < end; p++)
            sum = v_fma(v_set1(b.w[i - p]), v_load(f + p * VW), sum);
        v_store_m(d + i * W, m, v_mul(alpha, sum));
    }
}

static void elastic_field(const nn_call *c, int64_t r, int64_t end)
{
    int64_t H = c->dim[1], W = c->dim[2], reach = (int64_t)(3 * c->scalar[1]) + 1;
    vreal alpha = v_set1((real)c->scalar[0]);
    bell b = bell_make(c, reach, c->scalar[1]);
    real *f = (real *)(void *)c->team->scratch + 2 * (reach + VW) + 16;
    for (; r < end; r++) {
        real *d = (real *)c->arg[0] + r * 2 * H * W;
        field_draw(c, r, d, 2 * H * W);
        for (int64_t i = 0; i < 2 * H; i++)
            field_smooth_row(d + i * W, f, W, b);
        for (int plane = 0; plane < 2; plane++)
            for (int64_t j = 0; j < W; j += VW)
                field_smooth_columns(d + plane * H * W + j, f, H, W, W - j, b, alpha);
    }
}
