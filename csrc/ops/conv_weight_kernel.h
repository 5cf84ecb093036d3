/* conv_weight_kernel.h - the KERNEL part of conv.c, weight gradient.
 *
 * dw of a tap is a product of pixels: x^T dy. The tile keeps MR rows of weights (channels of a tap, or of several taps side
 * by side) by NV vectors of output channels in registers and walks over pixels: NV loads of dy, MR broadcasts of x. What it
 * walks at a time is a band of pixels that stays in L1 for all tiles of a panel and a row of taps, while the next band is
 * prefetched; between bands the sums wait in the scratch, which changes no bit. Eight images make a chain; chains are
 * combined as they come by the binary counter of tree_sum.
 * Few channels would leave most lanes empty. Then VW chains stand in the lanes: image after image of each is turned, x into
 * [row][column][channel][chain], dy into [panel][row][column][channel of the panel][chain], and both are vectors. */
enum {
    CONV_BAND = 45 << 10, /* bytes of x and of a panel of dy */
    CONV_UNITS = 320,     /* tiles at a time: their sums, half a megabyte, stay in L2 */
    CONV_WIDE = (int)MR > (int)CONV_CHAIN_ROWS ? 4 : NV, /* vectors of a tile's row, at most */
    CONV_CHAIN_SIZE = CONV_CHAIN_ROWS * CONV_WIDE * VW,
    CONV_TILE_SIZE = MR * NR > CONV_CHAIN_SIZE ? MR * NR : CONV_CHAIN_SIZE
};

/* How a tile walks over pixels: columns [begin, end) of a row, of which [full, full_end) without looking. */
typedef struct conv_walk {
    int64_t begin, full, full_end, end;
    int64_t x_image, x_row, x_pixel, dy_image, dy_row, dy_pixel;
    int64_t tap;              /* between the taps of a depthwise row in x */
    int64_t low, high, slide; /* at column q only rows [low - q slide, high - q slide) see the image */
    int64_t top, step, height, dilation, tap_row; /* of a window: row p's first taps see row top + p step of so many */
    vmask tail;
} conv_walk;

/* Where: images x rows of a band, x and dy at the first row's column 0, and what is prefetched a pixel. */
typedef struct conv_place {
    const real *x, *dy;
    real *sums; /* mr x (nv vectors) */
    int64_t images, first, rows; /* from output row `first` on */
    int resume;
    const char *next_x, *next_dy;
    int64_t x_step, dy_step; /* bytes */
} conv_place;

/* The compiler may not look through x: or it would load it once more for every use. */
#if defined(__aarch64__) && !defined(NN_ISA_RANDOM)
#define V_OPAQUE(x) __asm__("" : "+w"(x))
#elif defined(__x86_64__) && !defined(NN_ISA_RANDOM)
#define V_OPAQUE(x) __asm__("" : "+v"(x))
#else
#define V_OPAQUE(x) (void)(x)
#endif

/* What stands in the lanes: output channels, depthwise channels of x as of dy, or chains. */
enum { CONV_OUTPUTS, CONV_ACROSS, CONV_CHAINS };

/* Columns [q, end) of a row. ragged: the last vector of dy is not whole. guarded: some rows do not see the image. */
V_INLINE void conv_dw_columns(const int mr, const int nv, const int lanes, const int ragged, const int guarded,
                              const conv_walk *o, vreal acc[MR][CONV_WIDE], conv_place *at, const real *x, const real *dy,
                              int64_t q, int64_t end)
{
    const int64_t x_pixel = o->x_pixel, dy_pixel = o->dy_pixel, tap = o->tap;
    const vmask tail = o->tail;
    x += q * x_pixel;
    dy += q * dy_pixel;
    for (; q < end; q++, x += x_pixel, dy += dy_pixel, at->next_x += at->x_step, at->next_dy += at->dy_step) {
        vreal g[CONV_WIDE];
        if (lanes != CONV_CHAINS) { /* what was turned is in L2 */
            __builtin_prefetch(at->next_x, 0, 2);
            __builtin_prefetch(at->next_dy, 0, 2);
        }
        V_UNROLL for (int j = 0; j < nv; j++)
            g[j] = ragged && j == nv - 1 ? v_load_m(dy + j * VW, tail) : v_load(dy + j * VW);
        V_UNROLL for (int i = 0; i < mr; i++) {
            if (guarded && (i < o->low - q * o->slide || i >= o->high - q * o->slide))
                continue;
            const real *to = x + (lanes == CONV_ACROSS ? i * tap : lanes == CONV_CHAINS ? i * VW : i);
            vreal xi = lanes == CONV_CHAINS ? v_load(to) : v_set1(*to);
            if (lanes == CONV_CHAINS)
                V_OPAQUE(xi);
            V_UNROLL for (int j = 0; j < nv; j++) {
                if (lanes == CONV_ACROSS)
                    xi = ragged && j == nv - 1 ? v_load_m(to + j * VW, tail) : v_load(to + j * VW);
                acc[i][j] = v_fma(xi, g[j], acc[i][j]);
            }
        }
    }
}

V_INLINE void conv_dw_tile(const int mr, const int nv, const int lanes, const int ragged, const int guarded, const conv_walk *o,
                           const conv_place *place)
{
    vreal acc[MR][CONV_WIDE];
    conv_place at = *place;
    V_UNROLL for (int i = 0; i < mr; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = at.resume ? v_load(at.sums + (i * nv + j) * VW) : v_zero();
    for (int64_t n = 0; n < at.images; n++) {
        const real *x = at.x + n * o->x_image, *dy = at.dy + n * o->dy_image;
        for (int64_t p = 0; p < at.rows; p++, x += o->x_row, dy += o->dy_row) {
            if (guarded)
                conv_dw_columns(mr, nv, lanes, ragged, 1, o, acc, &at, x, dy, o->begin, o->full);
            conv_dw_columns(mr, nv, lanes, ragged, 0, o, acc, &at, x, dy, o->full, o->full_end);
            if (guarded)
                conv_dw_columns(mr, nv, lanes, ragged, 1, o, acc, &at, x, dy, o->full_end, o->end);
        }
    }
    V_UNROLL for (int i = 0; i < mr; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            v_store(at.sums + (i * nv + j) * VW, acc[i][j]);
}

typedef void conv_dw_fn(const conv_walk *o, const conv_place *at);
#define CONV_DW_FN(name, mr, nv, lanes, ragged, guarded)                              \
    static void conv_dw_ukr_##name##mr##x##nv(const conv_walk *o, const conv_place *at) \
    {                                                                                 \
        conv_dw_tile(mr, nv, lanes, ragged, guarded, o, at);                          \
    }
#define CONV_DW_TILE(mr, nv) CONV_DW_FN(, mr, nv, CONV_OUTPUTS, 0, 0) CONV_DW_FN(ragged_, mr, nv, CONV_OUTPUTS, 1, 0)
#define CONV_DW_LOW(mr, nv)                               \
    CONV_DW_FN(guarded_, mr, nv, CONV_OUTPUTS, 1, 1)      \
    CONV_DW_FN(across_, mr, nv, CONV_ACROSS, 1, 1)
#define CONV_DW_CHAINS(mr, nv) CONV_DW_FN(chains_, mr, nv, CONV_CHAINS, 0, 1)
#define CONV_DW_NAMES(mr, nv) {conv_dw_ukr_##mr##x##nv, conv_dw_ukr_ragged_##mr##x##nv},
#define CONV_DW_LOW_NAMES(mr, nv) {conv_dw_ukr_guarded_##mr##x##nv, conv_dw_ukr_across_##mr##x##nv},
#define CONV_DW_CHAIN_NAMES(mr, nv) conv_dw_ukr_chains_##mr##x##nv,
TILES(CONV_DW_TILE, 1)
TILES(CONV_DW_TILE, 2)
TILES_LOW(CONV_DW_LOW, 1)
TILES_LOW(CONV_DW_LOW, 2)

static conv_dw_fn *const conv_dw_tiles[NV][MR][2] = {{TILES(CONV_DW_NAMES, 1)}, {TILES(CONV_DW_NAMES, 2)}};
static conv_dw_fn *const conv_dw_low_tiles[NV][MR][2] = {{TILES_LOW(CONV_DW_LOW_NAMES, 1)},
                                                         {TILES_LOW(CONV_DW_LOW_NAMES, 2)}};
#if VW > 1
TILES_6(CONV_DW_CHAINS, 1)
TILES_6(CONV_DW_CHAINS, 2)
#if defined(NN_ISA_AVX512) || defined(NN_ISA_NEON)
TILES_6(CONV_DW_CHAINS, 3)
TILES_6(CONV_DW_CHAINS, 4)
#endif
static conv_dw_fn *const conv_dw_chain_tiles[CONV_WIDE][CONV_CHAIN_ROWS] = {
    {TILES_6(CONV_DW_CHAIN_NAMES, 1)},
    {TILES_6(CONV_DW_CHAIN_NAMES, 2)},
#if defined(NN_ISA_AVX512) || defined(NN_ISA_NEON)
    {TILES_6(CONV_DW_CHAIN_NAMES, 3)},
    {TILES_6(CONV_DW_CHAIN_NAMES, 4)},
#endif
};
#endif
#include "conv_window_weight_kernel.h"

/* Places p of n with 0 <= p stride + at < size. */
static void conv_seen(int64_t at, int64_t stride, int64_t size, int64_t n, int64_t *begin, int64_t *end)
{
    *begin = at_most(n, at < 0 ? conv_ceil(-at, stride) : 0);
    *end = conv_max(*begin, at_most(n, conv_ceil(size - at, stride)));
}

/* One tile of dw: rows [m, m + mr) of a strip by `width` channels from `column`. Found once, walked many times. */
typedef struct conv_unit {
    conv_walk walk;
    int64_t x, dy; /* where image 0, output row 0 begins */
    conv_dw_fn *tile;
    int64_t mr, nv, width, first, last; /* output rows [first, last) have the tap */
    int64_t to;                         /* where it stands in dw */
} conv_unit;

static conv_unit conv_unit_of(const conv_shape *v, const conv_weight_plan *plan, int64_t index, int64_t panels)
{
    const int64_t lane = plan->lanes ? VW : 1;
    int64_t block = index % plan->blocks, strip = index / plan->blocks % plan->strips;
    int64_t panel = index / plan->blocks / plan->strips, g = panel / plan->panels, j = panel % plan->panels * plan->nr;
    int64_t r = plan->flat ? strip : strip / v->S, s = plan->flat ? 0 : strip % v->S, inputs = v->C / v->G;
    int64_t m = part_begin(plan->rows, plan->blocks, block), row = r * v->dh - v->pt, column = s * v->dw - v->pl;
    int64_t outputs = v->K / plan->groups, k = g * outputs + j, per_tap = plan->across ? 1 : v->C; /* rows of a tap, if flat */
    conv_unit u = {.mr = part_begin(plan->rows, plan->blocks, block + 1) - m, .dy = k};
    u.width = at_most(outputs - j, panels * plan->nr);
    u.nv = (u.width + VW - 1) / VW;
    if (plan->lanes) {
        k = j = part_begin(outputs, plan->panels, panel);
        u.nv = u.width = part_begin(outputs, plan->panels, panel + 1) - j;
        u.dy = j * v->P * v->Q * VW;
    }
    u.to = ((r * v->S + s) * inputs + m) * v->K + k;
    u.x = ((row * v->W + column) * v->C + (plan->across ? k + m * v->C : g * inputs + m)) * lane;
    conv_walk *o = &u.walk;
    *o = (conv_walk){.x_image = v->H * v->W * v->C, .x_row = v->sh * v->W * v->C * lane, .x_pixel = v->sw * v->C * lane,
                     .tap = v->C, .dy_image = v->P * v->Q * v->K, .dy_pixel = plan->lanes ? u.width * VW : v->K,
                     .slide = v->sw * per_tap, .tail = v_tail(plan->lanes ? VW : u.width - (u.nv - 1) * VW)};
    o->dy_row = v->Q * o->dy_pixel;
    conv_seen(row, v->sh, v->H, v->P, &u.first, &u.last);
    conv_seen(column + (plan->flat ? m / per_tap : 0), v->sw, v->W, v->Q, &o->full, &o->end); /* the leftmost tap */
    conv_seen(column + (plan->window ? WINDOW - 1 : plan->flat ? (m + u.mr - 1) / per_tap : 0), v->sw, v->W, v->Q, &o->begin,
              &o->full_end);
    if (o->full >= o->full_end)
        o->full = o->full_end = o->end;
    o->low = -column * per_tap - m;
    o->high = (v->W - column) * per_tap - m;
    int guarded = o->begin < o->full || o->full_end < o->end;
    if (plan->window) {
        o->top = -v->pt, o->step = v->sh, o->height = v->H, o->dilation = v->dh, o->tap_row = v->dh * v->W;
        u.first = 0, u.last = v->P, u.tile = conv_dw_window_tiles[u.nv - 1];
        return u;
    }
#if VW > 1
    if (plan->lanes)
        u.tile = conv_dw_chain_tiles[u.nv - 1][u.mr - 1];
    else
#endif
    if (guarded || plan->across)
        u.tile = conv_dw_low_tiles[u.nv - 1][u.mr - 1][plan->across];
    else
        u.tile = conv_dw_tiles[u.nv - 1][u.mr - 1][u.width % VW != 0];
    return u;
}

typedef struct conv_weight_job { /* what a rank works on */
    const conv_shape *v;
    const conv_unit *u;
    int64_t units, bands; /* bands of an image, */
    int64_t images;       /*   or images of a band */
    const real *x, *dy;
    real *turned_x, *turned_dy, *lanes; /* with chains in the lanes: an image of each, and their sums */
} conv_weight_job;

/* sums of the units over images [n, end), rows [p, p_end) of the output; what lies behind them is prefetched. */
static void conv_band_weights(const conv_weight_job *w, const real *x, const real *dy, real *sums, int resume, int64_t n,
                              int64_t end, int64_t p, int64_t p_end)
{
    const conv_shape *v = w->v;
    const conv_unit *u = w->u;
    const int64_t pixels = (end - n) * (p_end - p) * v->Q, x_row = v->sh * v->W * v->C, dy_row = v->Q * v->K;
    const int64_t x_image = v->H * v->W * v->C, last = conv_max(0, end - 1);
    conv_place at = {.images = end - n, .resume = resume, .next_x = (const char *)(x + last * x_image + p_end * x_row),
                     .next_dy = (const char *)(dy + (last * v->P + p_end) * dy_row),
                     .x_step = v->sh * v->sw * v->C * (int64_t)sizeof(real) / w->units + 1,
                     .dy_step = v->K * (int64_t)sizeof(real) / w->units + 1};
    for (int64_t i = 0; i < w->units; i++, u++) {
        const conv_walk *o = &u->walk;
        int64_t first = conv_max(u->first, p);
        at.first = first;
        at.rows = at_most(u->last, p_end) - first;
        at.x = x + u->x + n * o->x_image + first * o->x_row;
        at.dy = dy + u->dy + n * o->dy_image + first * o->dy_row;
        at.sums = sums + i * CONV_TILE_SIZE;
        u->tile(o, &at);
        at.next_x += pixels * at.x_step;
        at.next_dy += pixels * at.dy_step;
    }
}

/* sums of the units over images [n, end), at most CONV_GROUP of them, band by band. */
static void conv_chain(const conv_weight_job *w, real *sums, int64_t n, int64_t end)
{
    const int64_t P = w->v->P;
    int resume = 0;
    if (n == end || P == 0)
        conv_band_weights(w, w->x, w->dy, sums, 0, n, n, 0, 0);
    for (; n < end; n += w->images)
        for (int64_t b = 0; b < w->bands; b++, resume = 1)
            conv_band_weights(w, w->x, w->dy, sums, resume, n, at_most(end, n + w->images), part_begin(P, w->bands, b),
                              part_begin(P, w->bands, b + 1));
}

/* The lanes of a tile's sums, of which `chains` count, in tree_sum's order: neighbours, then pairs, then fours. */
static void conv_lanes_total(const conv_unit *u, const real *lanes, int64_t chains, real *total)
{
    for (int64_t e = 0; e < u->mr * u->nv; e += VW) {
        vreal block[VW];
        V_UNROLL for (int i = 0; i < VW; i++)
            block[i] = e + i < u->mr * u->nv ? v_load(lanes + (e + i) * VW) : v_zero();
        v_transpose(block);
        for (int64_t step = 1; step < chains; step *= 2)
            for (int64_t i = 0; i + step < chains; i += 2 * step)
                block[i] = v_add(block[i], block[i + step]);
        v_store(total + e, block[0]);
    }
}

/* dy of `chains` images, `image` apart, turned: of the panels that these units need, for each rank turns its own. */
static void conv_turn_dy(const conv_weight_job *w, const conv_weight_plan *plan, const real *from, int64_t image, int64_t chains)
{
    const conv_shape *v = w->v;
    const int64_t pixels = v->P * v->Q, size = pixels * v->K, first = w->u->dy, last = w->u[w->units - 1].dy;
    real *place[4 * VW]; /* of each channel, pixel 0; or NULL */
    int64_t step[4 * VW];
    for (int64_t j = 0; j < plan->panels; j++) {
        const int64_t begin = part_begin(v->K, plan->panels, j), end = part_begin(v->K, plan->panels, j + 1);
        for (int64_t k = begin; k < end; k++) {
            const int64_t at = begin * pixels * VW;
            place[k] = at < first || at > last ? NULL : w->turned_dy + at + (k - begin) * VW;
            step[k] = (end - begin) * VW;
        }
    }
    for (int64_t e = 0, k = 0; e < size; e += VW) {
        const int64_t n = at_most(VW, size - e);
        const vmask m = v_tail(n);
        vreal block[VW];
        V_UNROLL for (int q = 0; q < VW; q++)
            block[q] = v_load_m(from + at_most(q, chains - 1) * image + e, m);
        v_transpose(block);
        V_UNROLL for (int q = 0; q < VW; q++)
            if (q < n) {
                if (place[k])
                    v_store(place[k], block[q]), place[k] += step[k];
                k = k + 1 == v->K ? 0 : k + 1;
            }
    }
}

/* sums of the units over images [n, end), at most VW chains of CONV_GROUP: image i of every chain at a time. */
static void conv_chains(const conv_weight_job *w, const conv_weight_plan *plan, real *sums, int64_t n, int64_t end)
{
    const conv_shape *v = w->v;
    const int64_t x_image = v->H * v->W * v->C, dy_image = v->P * v->Q * v->K, chains = (end - n) / CONV_GROUP;
    for (int64_t i = n; i < n + CONV_GROUP; i++) {
        pack(w->turned_x, w->x + i * x_image, CONV_GROUP * x_image, 1, chains, x_image);
        conv_turn_dy(w, plan, w->dy + i * dy_image, CONV_GROUP * dy_image, chains);
        for (int64_t b = 0; b < w->bands; b++)
            conv_band_weights(w, w->turned_x, w->turned_dy, w->lanes, i > n || b > 0, 0, 1, part_begin(v->P, w->bands, b),
                              part_begin(v->P, w->bands, b + 1));
    }
    for (int64_t i = 0; i < w->units; i++)
        conv_lanes_total(w->u + i, w->lanes + i * CONV_TILE_SIZE, chains, sums + i * CONV_TILE_SIZE);
}

/* a += b, tile by tile. */
static void conv_combine(const conv_weight_job *w, const conv_weight_plan *plan, real *a, const real *b)
{
    for (int64_t t = 0; t < w->units; t++, a += CONV_TILE_SIZE, b += CONV_TILE_SIZE)
        for (int64_t i = 0; i < w->u[t].mr * w->u[t].nv * (plan->lanes ? 1 : VW); i += VW)
            v_store(a + i, v_add(v_load(a + i), v_load(b + i)));
}

static void conv_write(const conv_weight_job *w, const conv_weight_plan *plan, const real *sums, real *dw)
{
    for (int64_t t = 0; t < w->units; t++, sums += CONV_TILE_SIZE) {
        const conv_unit *u = w->u + t;
        for (int64_t i = 0; i < u->mr; i++)
            for (int64_t j = 0; j < u->nv; j++) {
                real *to = dw + u->to + i * w->v->K;
                if (plan->lanes)
                    to[j] = sums[i * u->nv + j];
                else
                    v_store_m(to + j * VW, j == u->nv - 1 ? u->walk.tail : v_tail(VW), v_load(sums + (i * u->nv + j) * VW));
            }
    }
}

/* Bands that stay in L1 for all tiles of a panel and a strip. */
static void conv_plan_bands(conv_weight_job *w, const conv_weight_plan *plan)
{
    const conv_shape *v = w->v;
    const int64_t lane = (int64_t)sizeof(real) * (plan->lanes ? VW : 1), x_row = v->sh * v->W * v->C;
    const int64_t row = ((plan->across ? at_most(x_row, v->sh * v->W * NR) : x_row) + v->Q * at_most(v->K, plan->nr)) * lane;
    const int64_t rows = conv_max(1, CONV_BAND / conv_max(1, row));
    w->bands = (v->P + rows - 1) / rows;
    w->images = conv_max(1, rows / conv_max(1, v->P));
}

/* One shard's weights, images [n, end), to dw: groups of `group` images combined as they come, with as many levels of sums as
 * the counter has bits. */
static void conv_shard_weights(const conv_weight_job *w, const conv_weight_plan *plan, real *sums, int64_t n, int64_t end,
                               real *dw)
{
    const int64_t level = w->units * CONV_TILE_SIZE, group = plan->lanes ? CONV_GROUP * VW : CONV_GROUP;
    int64_t depth = 0;
    for (int64_t g = 0; g == 0 || n < end; g++, n += group, depth++) {
        if (plan->lanes)
            conv_chains(w, plan, sums + depth * level, n, at_most(end, n + group));
        else
            conv_chain(w, sums + depth * level, n, at_most(end, n + group));
        for (int64_t bit = 1; g & bit; bit *= 2, depth--)
            conv_combine(w, plan, sums + (depth - 1) * level, sums + depth * level);
    }
    for (; depth > 1; depth--)
        conv_combine(w, plan, sums + (depth - 2) * level, sums + (depth - 1) * level);
    conv_write(w, plan, sums, dw);
}

/* Units, panel by panel, strip by strip, for all shards: as many at a time as the scratch holds with all levels of sums. */
static void conv_bwd_weight(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    const conv_weight_plan plan = conv_plan_weight(&v, MR, NR);
    const int64_t images = v.N / v.last, group = plan.lanes ? CONV_GROUP * VW : CONV_GROUP;
    const int64_t x_turned = plan.lanes ? v.H * v.W * v.C * VW : 0, dy_turned = plan.lanes ? v.P * v.Q * v.K * VW : 0;
    int64_t levels = 1;
    while ((images + group - 1) / group >> levels)
        levels++;
    conv_unit *u = (conv_unit *)(void *)c->team->scratch;
    real *turned = (real *)(void *)(c->team->scratch + sizeof(conv_unit) * CONV_UNITS), *lanes = turned + x_turned + dy_turned;
    const int64_t room = (c->team->scratch + NN_RANK_NBYTES - (char *)lanes) / (int64_t)(sizeof(real) * CONV_TILE_SIZE);
    const int64_t fit = at_most(CONV_UNITS, room / (levels + (plan.lanes ? 1 : 0)));
    conv_weight_job w = {.v = &v, .u = u, .x = c->arg[1], .dy = c->arg[2], .turned_x = turned, .turned_dy = turned + x_turned,
                         .lanes = lanes};
    conv_plan_bands(&w, &plan);
    for (const int64_t panels = plan.window ? WINDOW_PANELS : 1; begin < end; begin += w.units * panels) {
        w.units = at_most((end - begin + panels - 1) / panels, fit);
        for (int64_t i = 0; i < w.units; i++)
            u[i] = conv_unit_of(&v, &plan, begin + i * panels, at_most(panels, end - begin - i * panels));
        for (int64_t z = 0; z < v.last; z++)
            conv_shard_weights(&w, &plan, plan.lanes ? lanes + w.units * CONV_TILE_SIZE : lanes, z * images, (z + 1) * images,
                               (real *)c->arg[0] + z * v.R * v.S * (v.C / v.G) * v.K);
    }
}
