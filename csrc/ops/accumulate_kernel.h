/* accumulate_kernel.h - matrix products in an emulated accumulator (accumulate.h), outputs in the lanes.
 *
 * Rounding in four operations: with 2^e the exponent of x and s = 24 - precision bits to go, M = 1.5 2^(e + s) has the spacing
 * that the format has at x, so (x + M) - M is x rounded to it, to nearest even; e is at least emin, which makes the subnormals
 * right too. The sign of a zero is put back. s must be at least 2, or x + M leaves M's binade. Lanes too large for M, or for the
 * format, are rare and go one by one, as do all of a format of 23 bits or more. */
#include "../accumulate.h"

enum { ACC_ROWS = 4, ACC_WIDE = 2 };

typedef struct acc_lanes {
    nn_accumulation a;
    float lift, tiny, limit;
    int flushes;
} acc_lanes;

static acc_lanes acc_begin(int64_t code)
{
    acc_lanes f = {.a = acc_open(code)};
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
        lane[i] = acc_fl(&f->a, lane[i]);
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

/* One term of a sum s with correction c. */
V_INLINE void acc_term(const acc_lanes *f, int method, int whole, vreal a, vreal b, vreal *s, vreal *c)
{
    if (method == NN_SUM_NAIVE) {
        *s = acc_round(f, v_fma(a, b, *s), whole);
        return;
    }
    const vreal p = acc_round(f, v_mul(a, b), whole);
    if (method == NN_SUM_KAHAN) {
        const vreal y = acc_round(f, v_sub(p, *c), whole), t = acc_round(f, v_add(*s, y), whole);
        *c = acc_round(f, v_sub(acc_round(f, v_sub(t, *s), whole), y), whole);
        *s = t;
        return;
    }
    const vreal t = acc_round(f, v_add(*s, p), whole);
    const vmask first = v_ge(v_abs(*s), v_abs(p));
    const vreal large = v_select(first, *s, p), small = v_select(first, p, *s);
    const vreal lost = acc_round(f, v_add(acc_round(f, v_sub(large, t), whole), small), whole);
    *c = acc_round(f, v_add(*c, lost), whole);
    *s = t;
}

/* ACC_ROWS rows, as far as there are `rows`, of ACC_WIDE vectors of outputs. b: [term][vector]. */
V_INLINE void acc_tile(const nn_gemm_args *g, const acc_lanes *f, int method, int whole, int64_t i, int64_t rows, const float *b,
                       vreal out[ACC_ROWS][ACC_WIDE])
{
    vreal c[ACC_ROWS][ACC_WIDE];
    for (int r = 0; r < ACC_ROWS; r++)
        for (int w = 0; w < ACC_WIDE; w++)
            out[r][w] = c[r][w] = v_zero();
    for (int64_t k = 0; k < g->k; k++, b += ACC_WIDE * VW)
        for (int r = 0; r < ACC_ROWS; r++) {
            const vreal a = v_set1(((const float *)g->a)[(i + (r < rows ? r : 0)) * g->rsa + k * g->csa]);
            for (int w = 0; w < ACC_WIDE; w++)
                acc_term(f, method, whole, a, v_load(b + w * VW), &out[r][w], &c[r][w]);
        }
    for (int r = 0; method == NN_SUM_NEUMAIER && r < ACC_ROWS; r++)
        for (int w = 0; w < ACC_WIDE; w++)
            out[r][w] = acc_round(f, v_add(out[r][w], c[r][w]), whole);
}

static void acc_rows(const nn_gemm_args *g, const acc_lanes *f, int64_t i, int64_t rows, const float *b,
                     vreal out[ACC_ROWS][ACC_WIDE])
{
    const int method = f->a.method, whole = f->a.whole;
    if (method == NN_SUM_NAIVE) /* of float32 itself it is another kernel's */
        acc_tile(g, f, NN_SUM_NAIVE, 0, i, rows, b, out);
    else if (method == NN_SUM_KAHAN && whole)
        acc_tile(g, f, NN_SUM_KAHAN, 1, i, rows, b, out);
    else if (method == NN_SUM_KAHAN)
        acc_tile(g, f, NN_SUM_KAHAN, 0, i, rows, b, out);
    else if (whole)
        acc_tile(g, f, NN_SUM_NEUMAIER, 1, i, rows, b, out);
    else
        acc_tile(g, f, NN_SUM_NEUMAIER, 0, i, rows, b, out);
}

/* Columns [j, j + count) of all rows, their terms copied side by side. */
static void acc_columns(const nn_gemm_args *g, const acc_lanes *f, int64_t j, int64_t count, float *panel)
{
    for (int64_t k = 0; k < g->k; k++)
        for (int64_t q = 0; q < ACC_WIDE * VW; q++)
            panel[k * ACC_WIDE * VW + q] = q < count ? ((const float *)g->b)[k * g->rsb + (j + q) * g->csb] : 0;
    for (int64_t i = 0; i < g->m; i += ACC_ROWS) {
        vreal out[ACC_ROWS][ACC_WIDE];
        const int64_t rows = at_most(g->m - i, ACC_ROWS);
        acc_rows(g, f, i, rows, panel, out);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t w = 0; w < ACC_WIDE && w * VW < count; w++)
                v_store_m((float *)g->c + (i + r) * g->rsc + j + w * VW, v_tail(at_most(count - w * VW, VW)), out[r][w]);
    }
}

static void acc_gemm(const nn_gemm_args *g, void *scratch)
{
    const acc_lanes f = acc_begin(g->planes);
    for (int64_t j = 0; j < g->n; j += ACC_WIDE * VW)
        acc_columns(g, &f, j, at_most(g->n - j, ACC_WIDE * VW), scratch);
    for (int64_t i = 0; i < g->m && (g->bias || g->act); i += MR)
        epilogue(g, i, at_most(g->m - i, MR), 0, g->n);
}
