/* accumulate_kernel.h - matrix products whose sums are emulated (accumulate.h, to nearest), outputs in the lanes.
 *
 * Rounding in four operations: with 2^e the exponent of x and s = 24 - precision bits to go, M = 1.5 2^(e + s) has the spacing
 * that the format has at x, so (x + M) - M is x rounded to it, to nearest even; e is at least emin, which makes the subnormals
 * right too. The sign of a zero is put back. s must be at least 2, or x + M leaves M's binade. Lanes too large for M, or for the
 * format, are rare and go one by one, as do all of a format of 23 bits or more. */
#include "../accumulate.h"

/* Rows of a tile; terms of a panel of b, which serves all rows if it holds them all. */
enum { ACC_ROWS = 8, ACC_TERMS = 1 << 14 };
_Static_assert(sizeof(real) * ACC_TERMS * (ACC_ROWS + VW) <= NN_RANK_NBYTES, "must fit the scratch");

typedef struct acc_lanes {
    nn_accumulation a;
    float lift, tiny, limit;
    int flushes;
} acc_lanes;

static acc_lanes acc_begin(const nn_accumulation *in)
{
    acc_lanes f = {.a = *in};
    const nn_format *format = &f.a.m.a.format;
    f.lift = (float)(1.5 * nn_power_of_two(24 - format->precision));
    f.tiny = (float)nn_power_of_two(format->emin);
    f.flushes = !format->subnormals;
    f.limit = format->precision > 22 ? -1 : (float)(f.a.m.largest < 0x1p100 ? f.a.m.largest : 0x1p100);
    return f;
}

static vreal acc_one_by_one(const acc_lanes *f, vreal x)
{
    float lane[VW];
    v_store(lane, x);
    for (int i = 0; i < VW; i++)
        lane[i] = (float)nn_round_double(&f->a.m, (double)lane[i], 0);
    return v_load(lane);
}

V_INLINE vreal acc_round(const acc_lanes *f, vreal x, int whole)
{
    if (whole)
        return x;
    const vreal size = v_abs(x);
    if (m_any(v_gt(size, v_set1(f->limit))))
        return acc_one_by_one(f, x);
    vreal power = v_frombits(vi_and(v_bits(x), vi_set1(0x7f800000)));
    if (!f->flushes)
        power = v_max(power, v_set1(f->tiny));
    const vreal lift = v_mul(power, v_set1(f->lift)), sign = v_frombits(vi_and(v_bits(x), vi_set1(V_SIGN)));
    vreal y = v_sub(v_add(x, lift), lift);
    if (f->flushes)
        y = v_select(v_lt(v_abs(y), v_set1(f->tiny)), v_zero(), y);
    return v_frombits(vi_or(v_bits(y), v_bits(sign)));
}

#define NUM vreal
#define ZERO v_zero()
#define GIVEN const acc_lanes *f, const int whole
#define GIVE f, whole
#define PLUS(a, b) acc_round(f, v_add(a, b), whole)
#define MINUS(a, b) acc_round(f, v_sub(a, b), whole)
#define TIMES(a, b) acc_round(f, v_mul(a, b), whole)
#define FUSED(a, b, c) acc_round(f, v_fma(a, b, c), whole)
#define SORT(s, x, large, small) acc_sort(s, x, &large, &small)

V_INLINE void acc_sort(vreal s, vreal x, vreal *large, vreal *small)
{
    const vmask first = v_ge(v_abs(s), v_abs(x));
    *large = v_select(first, s, x);
    *small = v_select(first, x, s);
}

#include "../summing.h"

/* Where term k of ACC_ROWS rows lies, and how far apart terms do: a matrix is read in place, patches are fetched, [k, k + n) of
 * them. Where there are fewer rows the last one stands for them: what is repeated raises no flag of its own. */
V_INLINE int64_t acc_rows(const nn_emulated *e, const float *row[ACC_ROWS], float *to, int64_t i, int64_t rows, int64_t k,
                          int64_t n)
{
    V_UNROLL for (int64_t r = 0; r < ACC_ROWS; r++) {
        const int64_t at = i + (r < rows ? r : rows - 1);
        row[r] = e->shape ? to + r : e->a + at * e->rsa + k * e->csa;
        if (e->shape)
            e->fetch(e, to + r, ACC_ROWS, at, k, n);
    }
    return e->shape ? ACC_ROWS : e->csa;
}

/* Terms [k, k + n) of VW columns, the last again where there are fewer. */
static void acc_fetch_columns(const nn_emulated *e, float *to, int64_t j, int64_t k, int64_t n)
{
    const int64_t last = at_most(e->j_end - j, VW) - 1;
    for (int64_t t = k; t < k + n; t++, to += VW) {
        const float *row = nn_emulated_row(e, t) + j * e->csb;
        for (int64_t q = 0; q < VW; q++)
            to[q] = row[(q < last ? q : last) * e->csb];
    }
}

/* ACC_ROWS rows of VW outputs. `rows_at` and `panel`: scratch, ACC_TERMS of each; the panel is there if it holds all terms. */
V_INLINE void acc_tile(const nn_emulated *e, const acc_lanes *f, const int method, const int whole, int64_t i, int64_t rows,
                       int64_t j, float *rows_at, float *panel, vreal out[ACC_ROWS])
{
    vreal s[ACC_ROWS], c[ACC_ROWS], part[ACC_ROWS][SUM_PARTS];
    sum_walk at = {.width = sum_width(method, e->k, 0)};
    V_UNROLL for (int r = 0; r < ACC_ROWS; r++) {
        s[r] = c[r] = v_zero();
        for (int q = 0; method == NN_SUM_LANES && q < SUM_LANES; q++)
            part[r][q] = v_zero();
    }
    for (int64_t k = 0; k < e->k; k += ACC_TERMS) {
        const int64_t n = at_most(e->k - k, ACC_TERMS);
        const float *row[ACC_ROWS];
        const int64_t step = acc_rows(e, row, rows_at, i, rows, k, n);
        if (e->k > ACC_TERMS)
            acc_fetch_columns(e, panel, j, k, n);
        for (int64_t t = 0; t < n; t++, at.i++, at.inside++) {
            if (sum_is_full(method, &at)) {
                for (int r = 0; r < ACC_ROWS; r++)
                    sum_close(GIVE, method, at.blocks, &s[r], &c[r], part[r]);
                at.blocks++, at.inside = 0;
            }
            const vreal b = v_load(panel + t * VW);
            V_UNROLL for (int r = 0; r < ACC_ROWS; r++)
                sum_term(GIVE, method, 1, &at, v_set1(row[r][t * step]), b, &s[r], &c[r], part[r]);
        }
    }
    for (int r = 0; r < ACC_ROWS; r++) {
        sum_walk end = at;
        out[r] = sum_total(GIVE, method, &end, &s[r], &c[r], part[r]);
    }
}

/* One out-of-line tile for each method, of float32 itself and of other formats; float32's own chain is another kernel's. */
typedef void acc_tile_fn(const nn_emulated *e, const acc_lanes *f, int64_t i, int64_t rows, int64_t j, float *rows_at,
                         float *panel, vreal out[ACC_ROWS]);
#define ACC_TILE(name, method, whole)                                                                                       \
    static void acc_tile_##name(const nn_emulated *e, const acc_lanes *f, int64_t i, int64_t rows, int64_t j, float *rows_at, \
                                float *panel, vreal out[ACC_ROWS])                                                          \
    {                                                                                                                        \
        acc_tile(e, f, method, whole, i, rows, j, rows_at, panel, out);                                                      \
    }
#define ACC_TILES(name, method) ACC_TILE(name, method, 0) ACC_TILE(name##_f32, method, 1)
ACC_TILES(naive, NN_SUM_NAIVE)
ACC_TILES(kahan, NN_SUM_KAHAN)
ACC_TILES(neumaier, NN_SUM_NEUMAIER)
ACC_TILES(pairwise, NN_SUM_PAIRWISE)
ACC_TILES(blocked, NN_SUM_BLOCKED)
ACC_TILES(lanes, NN_SUM_LANES)
ACC_TILES(dot2, NN_SUM_DOT2)

static acc_tile_fn *const acc_tiles[][2] = {
    [NN_SUM_NAIVE] = {acc_tile_naive, acc_tile_naive_f32},          [NN_SUM_KAHAN] = {acc_tile_kahan, acc_tile_kahan_f32},
    [NN_SUM_NEUMAIER] = {acc_tile_neumaier, acc_tile_neumaier_f32}, [NN_SUM_PAIRWISE] = {acc_tile_pairwise, acc_tile_pairwise_f32},
    [NN_SUM_BLOCKED] = {acc_tile_blocked, acc_tile_blocked_f32},    [NN_SUM_LANES] = {acc_tile_lanes, acc_tile_lanes_f32},
    [NN_SUM_DOT2] = {acc_tile_dot2, acc_tile_dot2_f32},
};

/* This rank's part of a product. */
static void acc_product(const nn_emulated *e, void *scratch)
{
    const acc_lanes f = acc_begin(&e->in);
    float *rows_at = scratch, *panel = rows_at + ACC_TERMS * ACC_ROWS;
    for (int64_t j = e->j; j < e->j_end; j += VW) {
        if (e->k <= ACC_TERMS)
            acc_fetch_columns(e, panel, j, 0, e->k);
        for (int64_t i = e->i; i < e->i_end; i += ACC_ROWS) {
            vreal out[ACC_ROWS];
            const int64_t rows = at_most(e->i_end - i, ACC_ROWS);
            acc_tiles[f.a.method][f.a.whole](e, &f, i, rows, j, rows_at, panel, out);
            for (int64_t r = 0; r < rows; r++)
                v_store_m(e->c + (i + r) * e->rsc + j, v_tail(at_most(e->j_end - j, VW)), out[r]);
        }
    }
}
