/* conv_weight_kernel.h - the KERNEL part of conv.c, weight gradient.
 *
 * dw of a tap is a product of pixels: x^T dy. The tile keeps MR rows of weights (channels of a tap, or of several taps side
 * by side) by NV vectors of output channels in registers and walks over pixels: NV loads of dy, MR broadcasts of x. What it
 * walks at a time is a band of pixels that stays in L2 for all tiles of a rank; between bands the sums wait in the scratch,
 * which changes no bit. Eight images make a chain; chains are combined as they come by the binary counter of tree_sum. */
enum {
    CONV_BAND = 256 << 10, /* bytes of x and dy */
    CONV_TILE_SIZE = MR * NR,
    CONV_UNITS = 320 /* tiles at a time: their sums, half a megabyte, stay in L2 */
};

/* Pixels of a tile: images x rows x columns, and of each row columns [full, full_end) without looking. */
typedef struct conv_walk {
    const real *x, *dy; /* of the first row's column 0 */
    real *sums;         /* mr x (nv vectors) */
    int64_t images, rows, begin, full, full_end, end;
    int64_t x_image, x_row, x_pixel, dy_image, dy_row, dy_pixel;
    int64_t tap;              /* between the taps of a depthwise row in x */
    int64_t low, high, slide; /* at column q only rows [low - q slide, high - q slide) see the image */
    vmask tail;
    int resume;
} conv_walk;

/* Columns [q, end) of a row. ragged: the last vector of dy is not whole. guarded: some rows do not see the image.
 * across: depthwise, x stands in the lanes as dy does. */
V_INLINE void conv_dw_columns(const int mr, const int nv, const int across, const int ragged, const int guarded, const conv_walk *o,
                              vreal acc[MR][NV], const real *x, const real *dy, int64_t q, int64_t end)
{
    const int64_t x_pixel = o->x_pixel, dy_pixel = o->dy_pixel, tap = o->tap;
    const vmask tail = o->tail;
    x += q * x_pixel;
    dy += q * dy_pixel;
    for (; q < end; q++, x += x_pixel, dy += dy_pixel) {
        vreal g[NV];
        V_UNROLL for (int j = 0; j < nv; j++)
            g[j] = ragged && j == nv - 1 ? v_load_m(dy + j * VW, tail) : v_load(dy + j * VW);
        V_UNROLL for (int i = 0; i < mr; i++) {
            if (guarded && (i < o->low - q * o->slide || i >= o->high - q * o->slide))
                continue;
            const real *at = x + (across ? i * tap : i);
            vreal xi = v_set1(*at);
            V_UNROLL for (int j = 0; j < nv; j++) {
                if (across)
                    xi = ragged && j == nv - 1 ? v_load_m(at + j * VW, tail) : v_load(at + j * VW);
                acc[i][j] = v_fma(xi, g[j], acc[i][j]);
            }
        }
    }
}

V_INLINE void conv_dw_tile(const int mr, const int nv, const int across, const int ragged, const int guarded, const conv_walk *o)
{
    vreal acc[MR][NV];
    V_UNROLL for (int i = 0; i < mr; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            acc[i][j] = o->resume ? v_load(o->sums + (i * nv + j) * VW) : v_zero();
    for (int64_t n = 0; n < o->images; n++) {
        const real *x = o->x + n * o->x_image, *dy = o->dy + n * o->dy_image;
        for (int64_t p = 0; p < o->rows; p++, x += o->x_row, dy += o->dy_row) {
            if (guarded)
                conv_dw_columns(mr, nv, across, 1, 1, o, acc, x, dy, o->begin, o->full);
            conv_dw_columns(mr, nv, across, ragged, 0, o, acc, x, dy, o->full, o->full_end);
            if (guarded)
                conv_dw_columns(mr, nv, across, 1, 1, o, acc, x, dy, o->full_end, o->end);
        }
    }
    V_UNROLL for (int i = 0; i < mr; i++)
        V_UNROLL for (int j = 0; j < nv; j++)
            v_store(o->sums + (i * nv + j) * VW, acc[i][j]);
}

typedef void conv_dw_fn(const conv_walk *o);
#define CONV_DW_TILE(mr, nv)                                                                               \
    static void conv_dw_ukr_##mr##x##nv(const conv_walk *o) { conv_dw_tile(mr, nv, 0, 0, 0, o); }          \
    static void conv_dw_ukr_ragged_##mr##x##nv(const conv_walk *o) { conv_dw_tile(mr, nv, 0, 1, 0, o); }
#define CONV_DW_GUARDED(mr, nv)                                                                            \
    static void conv_dw_ukr_guarded_##mr##x##nv(const conv_walk *o) { conv_dw_tile(mr, nv, 0, 1, 1, o); }  \
    static void conv_dw_ukr_across_##mr##x##nv(const conv_walk *o) { conv_dw_tile(mr, nv, 1, 1, 1, o); }
#define CONV_DW_NAMES(mr, nv) {conv_dw_ukr_##mr##x##nv, conv_dw_ukr_ragged_##mr##x##nv},
#define CONV_DW_GUARDED_NAMES(mr, nv) {conv_dw_ukr_guarded_##mr##x##nv, conv_dw_ukr_across_##mr##x##nv},
TILES(CONV_DW_TILE, 1)
TILES(CONV_DW_TILE, 2)
TILES_LOW(CONV_DW_GUARDED, 1)
TILES_LOW(CONV_DW_GUARDED, 2)

static conv_dw_fn *const conv_dw_tiles[NV][MR][2] = {{TILES(CONV_DW_NAMES, 1)}, {TILES(CONV_DW_NAMES, 2)}};
static conv_dw_fn *const conv_dw_guarded[NV][MR][2] = {{TILES_LOW(CONV_DW_GUARDED_NAMES, 1)},
                                                       {TILES_LOW(CONV_DW_GUARDED_NAMES, 2)}};

/* Places p of n with 0 <= p stride + at < size. */
static void conv_seen(int64_t at, int64_t stride, int64_t size, int64_t n, int64_t *begin, int64_t *end)
{
    *begin = at_most(n, at < 0 ? conv_ceil(-at, stride) : 0);
    *end = conv_max(*begin, at_most(n, conv_ceil(size - at, stride)));
}

/* One tile of dw: rows [m, m + mr) of a strip by `width` channels from `column`. Found once, walked many times. */
typedef struct conv_unit {
    conv_walk walk; /* x and dy: those of image 0, output row 0 */
    conv_dw_fn *tile;
    int64_t mr, nv, width, first, last; /* output rows [first, last) have the tap */
    int64_t to;                         /* where it stands in dw */
} conv_unit;

static conv_unit conv_unit_of(const nn_call *c, const conv_shape *v, const conv_weight_plan *plan, int64_t index)
{
    int64_t block = index % plan->blocks, strip = index / plan->blocks % plan->strips;
    int64_t panel = index / plan->blocks / plan->strips, g = panel / plan->panels, j = panel % plan->panels * NR;
    int64_t r = plan->flat ? strip : strip / v->S, s = plan->flat ? 0 : strip % v->S, inputs = v->C / v->G;
    int64_t m = part_begin(plan->rows, plan->blocks, block), row = r * v->dh - v->pt, column = s * v->dw - v->pl;
    int64_t outputs = v->K / plan->groups, k = g * outputs + j, per_tap = plan->across ? 1 : v->C; /* rows of a tap, if flat */
    conv_unit u = {.mr = part_begin(plan->rows, plan->blocks, block + 1) - m, .width = at_most(outputs - j, NR),
                   .to = ((r * v->S + s) * inputs + m) * v->K + k};
    u.nv = (u.width + VW - 1) / VW;
    conv_walk *o = &u.walk;
    *o = (conv_walk){.x_image = v->H * v->W * v->C, .x_row = v->sh * v->W * v->C, .x_pixel = v->sw * v->C, .tap = v->C,
                     .dy_image = v->P * v->Q * v->K, .dy_row = v->Q * v->K, .dy_pixel = v->K, .slide = v->sw * per_tap,
                     .tail = v_tail(u.width - (u.nv - 1) * VW)};
    o->x = (const real *)c->arg[1] + (row * v->W + column) * v->C + (plan->across ? k + m * v->C : g * inputs + m);
    o->dy = (const real *)c->arg[2] + k;
    conv_seen(row, v->sh, v->H, v->P, &u.first, &u.last);
    conv_seen(column + (plan->flat ? m / per_tap : 0), v->sw, v->W, v->Q, &o->full, &o->end); /* the leftmost tap */
    conv_seen(column + (plan->flat ? (m + u.mr - 1) / per_tap : 0), v->sw, v->W, v->Q, &o->begin, &o->full_end);
    if (o->full >= o->full_end)
        o->full = o->full_end = o->end;
    o->low = -column * per_tap - m;
    o->high = (v->W - column) * per_tap - m;
    int guarded = o->begin < o->full || o->full_end < o->end;
    u.tile = guarded || plan->across ? conv_dw_guarded[u.nv - 1][u.mr - 1][plan->across] : conv_dw_tiles[u.nv - 1][u.mr - 1][u.width % VW != 0];
    return u;
}

/* sums of the units over images [n, end), rows [p, p_end) of the output. */
static void conv_band_weights(const conv_unit *u, int64_t units, real *sums, int resume, int64_t n, int64_t end, int64_t p,
                              int64_t p_end)
{
    for (int64_t i = 0; i < units; i++, u++, sums += CONV_TILE_SIZE) {
        conv_walk o = u->walk;
        int64_t first = conv_max(u->first, p);
        o.images = end - n;
        o.rows = at_most(u->last, p_end) - first;
        o.x += n * o.x_image + first * o.x_row;
        o.dy += n * o.dy_image + first * o.dy_row;
        o.sums = sums;
        o.resume = resume;
        u->tile(&o);
    }
}

/* sums of the units over images [n, end), at most CONV_GROUP of them, band by band. */
static void conv_chain(const conv_shape *v, const conv_unit *u, int64_t units, real *sums, int64_t n, int64_t end)
{
    const int64_t size = conv_max(1, (v->H * v->W * v->C + v->P * v->Q * v->K) * (int64_t)sizeof(real));
    const int64_t images = conv_max(1, CONV_BAND / size);
    const int64_t rows = size <= CONV_BAND ? v->P : conv_max(1, v->P * CONV_BAND / size);
    int resume = 0;
    if (n == end || v->P == 0)
        conv_band_weights(u, units, sums, 0, n, n, 0, 0);
    for (; n < end; n += images)
        for (int64_t p = 0; p < v->P; p += rows, resume = 1)
            conv_band_weights(u, units, sums, resume, n, at_most(end, n + images), p, at_most(v->P, p + rows));
}

/* a += b, tile by tile. */
static void conv_combine(const conv_unit *u, int64_t units, real *a, const real *b)
{
    for (; units > 0; units--, u++, a += CONV_TILE_SIZE, b += CONV_TILE_SIZE)
        for (int64_t i = 0; i < u->mr * u->nv * VW; i += VW)
            v_store(a + i, v_add(v_load(a + i), v_load(b + i)));
}

static void conv_write(const conv_shape *v, const conv_unit *u, int64_t units, const real *sums, real *dw)
{
    for (; units > 0; units--, u++, sums += CONV_TILE_SIZE)
        for (int64_t i = 0; i < u->mr; i++)
            for (int64_t j = 0; j < u->nv; j++) {
                vmask m = j == u->nv - 1 ? u->walk.tail : v_tail(VW);
                v_store_m(dw + u->to + i * v->K + j * VW, m, v_load(sums + (i * u->nv + j) * VW));
            }
}

/* Units, panel by panel, strip by strip, for all shards: as many at a time as the scratch holds with all levels of sums. */
static void conv_bwd_weight(const nn_call *c, int64_t begin, int64_t end)
{
    const conv_shape v = conv_shape_of(c);
    const conv_weight_plan plan = conv_plan_weight(&v, MR, NR);
    const int64_t images = v.N / v.last, chains = conv_max(1, (images + CONV_GROUP - 1) / CONV_GROUP);
    int64_t levels = 1, units;
    while (chains >> levels)
        levels++;
    const int64_t room = (NN_RANK_NBYTES - (int64_t)sizeof(conv_unit) * CONV_UNITS) / (int64_t)sizeof(real) / CONV_TILE_SIZE;
    const int64_t fit = at_most(CONV_UNITS, room / levels);
    conv_unit *u = (conv_unit *)(void *)c->team->scratch;
    real *sums = (real *)(void *)(c->team->scratch + sizeof(conv_unit) * CONV_UNITS);
    for (; begin < end; begin += units) {
        units = at_most(end - begin, fit);
        for (int64_t i = 0; i < units; i++)
            u[i] = conv_unit_of(c, &v, &plan, begin + i);
        const int64_t level = units * CONV_TILE_SIZE;
        for (int64_t z = 0; z < v.last; z++) {
            int64_t depth = 0, last = (z + 1) * images;
            for (int64_t g = 0; g < chains; g++, depth++) {
                int64_t n = z * images + g * CONV_GROUP;
                conv_chain(&v, u, units, sums + depth * level, n, at_most(last, n + CONV_GROUP));
                for (int64_t bit = 1; g & bit; bit *= 2, depth--)
                    conv_combine(u, units, sums + (depth - 1) * level, sums + depth * level);
            }
            for (; depth > 1; depth--)
                conv_combine(u, units, sums + (depth - 2) * level, sums + (depth - 1) * level);
            conv_write(&v, u, units, sums, (real *)c->arg[0] + z * v.R * v.S * (v.C / v.G) * v.K);
        }
    }
}
