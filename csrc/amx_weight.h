#pragma once
/* amx_weight.h - convolutions on tiles: the gradient of the weights. Included by amx.c alone.
 *
 * A is x turned: a row of places for every phase and channel, so that 16 channels are the rows of a tile and a tap is an offset,
 * at any alignment. B is dy, places in pairs. Both are made for a band of an image's blocks of places; the sums wait in squares
 * of 32 x 32 (conv_shape.h). Where the channels are not whole tiles, the 32 rows (r, s, c) of a strip are copied side by side. */

enum {
    WEIGHT_X_NBYTES = 1 << 20,
    WEIGHT_DY_NBYTES = 3 << 18,
    WEIGHT_STRIP_STEPS = 32, /* blocks of a copied strip at a time */
    WEIGHT_STRIP_NBYTES = WEIGHT_STRIP_STEPS * 3 * T_STEP,
    WEIGHT_SUMS_NBYTES = NN_RANK_NBYTES - WEIGHT_X_NBYTES - WEIGHT_DY_NBYTES - WEIGHT_STRIP_NBYTES
};

typedef struct tile_weight {
    const conv_shape *v;
    int64_t steps, length; /* blocks of a band; bytes of a row of x */
    int64_t tap_plane;     /* bytes of a plane of x */
    int64_t panel, panels; /* of dy: the first, how many */
    char *x, *dy, *strip;
} tile_weight;

/* Where a unit's outputs' panel and its strip of rows stand. */
static int64_t weight_panel(const conv_shape *v, int64_t unit) { return unit / conv_strips(v); }

static int64_t weight_row_at(const tile_weight *o, int64_t m, int64_t *reach)
{
    const conv_shape *v = o->v;
    const int64_t r = m / v->C / v->S, s = m / v->C % v->S, phase = r * v->dh % v->sh * v->sw + s * v->dw % v->sw;
    *reach = conv_reach(v, r, s) * 2;
    return (phase * v->C + m % v->C) * o->length;
}

/* The furthest tap, in places, and the places behind a band that tiles read. */
static int64_t weight_reach(const conv_shape *v) { return conv_reach(v, v->R - 1, v->S - 1); }

/* Bytes of a row of x for so many blocks: whole lines, and not a multiple of 4096, for rows that share sets of L1 are slow. */
static int64_t weight_length(const conv_shape *v, int64_t steps)
{
    const int64_t nbytes = (steps * BF16_BLOCK + weight_reach(v) + BF16_BLOCK - 1) / BF16_BLOCK * 64;
    return nbytes + (nbytes % 1024 ? 0 : 64);
}

/* x of one image turned: places [f, f + length) of every phase. */
static void weight_x(const tile_weight *o, const float *x, int64_t f)
{
    const conv_shape *v = o->v;
    const int planes = (int)v->planes;
    const int64_t pitch = conv_pitch(v);
    char turned[3 * T_NBYTES];
    for (int64_t phase = 0; phase < v->sh * v->sw; phase++) {
        int64_t row = f / pitch, column = f % pitch;
        for (int64_t b = 0; b < o->length; b += 64) {
            const float *pixel[BF16_BLOCK];
            for (int64_t i = 0; i < BF16_BLOCK; i++) {
                const int64_t h = row * v->sh + phase / v->sw - v->pt, w = column * v->sw + phase % v->sw - v->pl;
                pixel[i] = h >= 0 && h < v->H && w >= 0 && w < v->W ? x + (h * v->W + w) * v->C : NULL;
                row += ++column == pitch;
                column = column == pitch ? 0 : column;
            }
            for (int64_t c = 0; c < v->C; c += 16) {
                const int64_t rows = at_most(v->C - c, 16);
                const vmask m = v_tail(rows);
                for (int64_t i = 0; i < BF16_BLOCK; i += 2)
                    put_pairs_of(turned + i / 2 * T_ROW, T_NBYTES, planes, pixel[i] ? v_load_m(pixel[i] + c, m) : v_zero(),
                                 pixel[i + 1] ? v_load_m(pixel[i + 1] + c, m) : v_zero());
                for (int p = 0; p < planes; p++)
                    turn(o->x + p * o->tap_plane + (phase * v->C + c) * o->length + b, o->length, turned + p * T_NBYTES, rows);
            }
        }
    }
}

/* dy of one image in pairs of places, [panel][step][plane][tile], blocks from place f on. */
static void weight_dy(const tile_weight *o, const float *dy, int64_t f)
{
    const conv_shape *v = o->v;
    const int64_t pitch = conv_pitch(v);
    int64_t row = f / pitch, column = f % pitch;
    for (int64_t s = 0; s < o->steps; s++) {
        const float *place[BF16_BLOCK]; /* conv_place_at of each, counted on */
        for (int64_t i = 0; i < BF16_BLOCK; i++) {
            place[i] = row < v->P && column < v->Q ? dy + (row * v->Q + column) * v->K : NULL;
            row += ++column == pitch;
            column = column == pitch ? 0 : column;
        }
        for (int64_t q = 0; q < o->panels; q++)
            for (int64_t t = 0; t < 2; t++) {
                const int64_t k = (o->panel + q) * T_SIDE + t * 16;
                const vmask m = v_tail(at_least_zero(at_most(v->K - k, 16)));
                char *to = o->dy + ((q * o->steps + s) * v->planes * 2 + t) * T_NBYTES;
                for (int64_t i = 0; i < BF16_BLOCK; i += 2)
                    put_pairs_of(to + i / 2 * T_ROW, T_STEP, (int)v->planes, place[i] && m ? v_load_m(place[i] + k, m) : v_zero(),
                                 place[i + 1] && m ? v_load_m(place[i + 1] + k, m) : v_zero());
            }
    }
}

/* Rows [m, m + 32) over blocks [s, s + steps) copied to the strip: [step][plane][row]. */
static void weight_strip(const tile_weight *o, int64_t m, int64_t s, int64_t steps)
{
    const conv_shape *v = o->v;
    const int64_t rows = v->R * v->S * v->C;
    for (int64_t i = 0; i < T_SIDE; i++) {
        int64_t reach = 0;
        const char *from = m + i < rows ? o->x + weight_row_at(o, m + i, &reach) : NULL;
        for (int64_t b = 0; b < steps; b++)
            for (int64_t p = 0; p < v->planes; p++)
                _mm512_storeu_si512(o->strip + (b * v->planes + p) * T_STEP + i * T_ROW,
                                    from ? _mm512_loadu_si512(from + p * o->tap_plane + reach + (s + b) * T_ROW)
                                         : _mm512_setzero_si512());
    }
}

/* One unit's square of sums by a band of an image. */
static void weight_unit(const tile_weight *o, int64_t unit, float *sums, int resume)
{
    const conv_shape *v = o->v;
    const int64_t m = unit % conv_strips(v) * T_SIDE, whole = v->C % T_SIDE == 0, size = v->planes * T_STEP;
    const int64_t part = whole ? o->steps : WEIGHT_STRIP_STEPS;
    int64_t at[CONV_STEPS], reach;
    for (int64_t s = 0; s < o->steps; s++)
        at[s] = whole ? s * T_ROW : s % part * size;
    tile_run run = {.at = at, .a_stride = whole ? o->length : T_ROW, .a_plane = whole ? o->tap_plane : T_STEP,
                    .a_tile = 16 * (whole ? o->length : T_ROW), .c = sums, .c_stride = T_SIDE * 4};
    for (int64_t s = 0; s < o->steps; s += part) {
        run.steps = at_most(part, o->steps - s);
        run.b = o->dy + ((weight_panel(v, unit) - o->panel) * o->steps + s) * size;
        run.resume = resume || s;
        if (whole) {
            run.a = o->x + weight_row_at(o, m, &reach);
            run.a += reach;
        } else {
            weight_strip(o, m, s, run.steps);
            run.a = o->strip;
        }
        tile_products[v->planes](&run);
    }
}

/* Blocks of a band and whether anything fits. */
static int64_t weight_band(const conv_shape *v, int64_t panels)
{
    const int64_t phases = v->sh * v->sw, C = (v->C + 15) / 16 * 16;
    int64_t steps = at_most(conv_blocks(v), CONV_STEPS);
    while (steps > 0 && (phases * C * v->planes * weight_length(v, steps) > WEIGHT_X_NBYTES ||
                         panels * steps * v->planes * T_STEP > WEIGHT_DY_NBYTES))
        steps = steps > 8 ? steps * 3 / 4 : steps - 1;
    return steps;
}

static void weight_chain(const nn_call *c, const conv_shape *v, float *sums, int64_t unit, int64_t units, int64_t n, int64_t end)
{
    tile_weight o = {.v = v, .panel = weight_panel(v, unit), .x = c->team->scratch + WEIGHT_SUMS_NBYTES};
    o.panels = weight_panel(v, unit + units - 1) - o.panel + 1;
    o.dy = o.x + WEIGHT_X_NBYTES;
    o.strip = o.dy + WEIGHT_DY_NBYTES;
    const int64_t blocks = conv_blocks(v), band = weight_band(v, o.panels);
    int resume = 0;
    if (n >= end || blocks == 0)
        memset(sums, 0, (size_t)(units * T_SIDE * T_SIDE) * sizeof(float));
    for (; n < end; n++)
        for (int64_t s = 0; s < blocks; s += band, resume = 1) {
            o.steps = at_most(band, blocks - s);
            o.length = weight_length(v, o.steps);
            o.tap_plane = v->sh * v->sw * v->C * o.length;
            weight_x(&o, (const float *)c->arg[1] + n * v->H * v->W * v->C, s * BF16_BLOCK);
            weight_dy(&o, (const float *)c->arg[2] + n * v->P * v->Q * v->K, s * BF16_BLOCK);
            for (int64_t u = 0; u < units; u++)
                weight_unit(&o, unit + u, sums + u * T_SIDE * T_SIDE, resume);
        }
}

static void tile_conv_bwd_weight(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    const int64_t fit = WEIGHT_SUMS_NBYTES / (conv_levels(&v) * T_SIDE * T_SIDE * (int64_t)sizeof(float));
    const int64_t panels = at_most(conv_panels(&v), fit / conv_strips(&v) + 2);
    if (fit < 1 || weight_band(&v, panels) < 1) { /* too large for the scratch: the same bits, slowly */
        c->set->bf16.conv_bwd_weight(c, begin, end);
        return;
    }
    tiles_open();
    for (int64_t units; begin < end; begin += units) {
        units = at_most(end - begin, fit);
        conv_units(c, &v, weight_chain, (float *)(void *)c->team->scratch, begin, units);
    }
    _tile_release();
}
