#pragma once
/* amx_conv.h - convolutions on tiles: y and dx. Included by amx.c alone; the weights are in amx_weight.h.
 *
 * An image becomes planes of bfloat16 with a border of zeros, [phase][row][column][channel]; with a stride each phase of it apart.
 * The places of the output, row after row at the pitch of that image, are then rows of A one pixel apart: where the inputs are
 * whole blocks of 32 channels, tiles are loaded straight from it, a tap being an offset. With other numbers of channels the
 * terms of 32 places are first laid side by side, which costs a copy of each in L1. Places between rows are computed and
 * dropped. Weights are packed once per call and rank. */
#include "ops/conv_shape.h"

enum {
    CONV_W_NBYTES = 1 << 20,     /* packed weights */
    CONV_IMAGE_NBYTES = 5 << 18, /* planes of (a band of rows of) an image */
    CONV_STRIP_NBYTES = 1 << 19, /* terms of 32 places */
    CONV_STEPS = 512             /* blocks of terms, at most */
};
_Static_assert(CONV_W_NBYTES + CONV_IMAGE_NBYTES + CONV_STRIP_NBYTES + CONV_STEPS * 8 + 4 * T_NBYTES <= NN_RANK_NBYTES,
               "the parts must fit the scratch");

typedef struct tile_conv {
    const nn_call *call;
    conv_shape v;
    int backward, relu;
    int64_t inputs, outputs, in_row, out_row, w_in, w_out;
    conv_axis h, w;
    int64_t terms, steps;          /* of an output: blocks of 32 */
    int64_t low_w, pitch;          /* the first column of the image with its border; columns of a phase */
    int64_t rows, phase_rows;      /* places of a band, rows of its phase */
    int64_t plane;                 /* bytes of a plane of the image */
    char *weights, *image, *strip;
    float *side;
    int64_t *at;
} tile_conv;

/* The first row (column) of the input that place j sees. */
static int64_t conv_low(const conv_axis *x, int64_t j)
{
    return x->in0 + j * x->in_step + (x->in_tap < 0 ? (x->taps - 1) * x->in_tap : 0);
}

/* How far tap t lies from the first column (row) of the image, counted in that. */
static int64_t conv_tap_offset(const conv_axis *x, int64_t t)
{
    return (x->in_tap < 0 ? t - x->taps + 1 : t) * x->in_tap;
}

/* Rows (columns) of a phase for so many places. */
static int64_t conv_phase_size(const conv_axis *x, int64_t places)
{
    const int64_t reach = (x->taps - 1) * (x->in_tap < 0 ? -x->in_tap : x->in_tap);
    return places + (x->taps > 0 ? reach / x->in_step : 0);
}

/* Bytes from the image's start to what tap t (of row r, column s) of the first place reads. */
static int64_t conv_tap_at(const tile_conv *x, int64_t t)
{
    const int64_t r = conv_tap_offset(&x->h, t / x->w.taps), s = conv_tap_offset(&x->w, t % x->w.taps);
    const int64_t phase = r % x->h.in_step * x->w.in_step + s % x->w.in_step;
    return ((phase * x->phase_rows + r / x->h.in_step) * x->pitch + s / x->w.in_step) * x->inputs * 2;
}

/* Floats to planes, as they lie. */
static void conv_planes_of(char *to, int64_t plane, int planes, const float *from, int64_t count)
{
    for (; count > 0; count -= 32, from += 32, to += 64) {
        const int64_t n = at_most(count, 32);
        const __mmask32 m = n < 32 ? (1u << n) - 1u : ~0u;
        __m512 v0 = v_load_m(from, (vmask)m), v1 = v_load_m(from + 16, (vmask)(m >> 16));
        __m512i part[3];
        split(part, planes, 0, v0, v1);
        for (int p = 0; p < planes; p++)
            _mm512_mask_storeu_epi16(to + p * plane, m, part[p]);
    }
}

static void conv_zeros(char *to, int64_t plane, int planes, int64_t nbytes)
{
    for (int p = 0; p < planes && nbytes > 0; p++)
        memset(to + p * plane, 0, (size_t)nbytes);
}

/* A row of one phase of the image, columns low_w + phase, + step ...; from: the input's row, NULL outside the image. */
static void conv_image_row(const tile_conv *x, char *to, const float *from, int64_t phase)
{
    const int planes = (int)x->v.planes;
    const int64_t C = x->inputs, step = x->w.in_step, size = x->w.in_size, first = x->low_w + phase;
    const int64_t begin = from ? at_most(x->pitch, first < 0 ? conv_ceil(-first, step) : 0) : x->pitch;
    const int64_t end = from ? conv_max(begin, at_most(x->pitch, conv_ceil(size - first, step))) : x->pitch;
    conv_zeros(to, x->plane, planes, begin * C * 2);
    if (step == 1 && begin < end)
        conv_planes_of(to + begin * C * 2, x->plane, planes, from + (first + begin) * C, (end - begin) * C);
    else
        for (int64_t j = begin; j < end; j++)
            conv_planes_of(to + j * C * 2, x->plane, planes, from + (first + j * step) * C, C);
    conv_zeros(to + end * C * 2, x->plane, planes, (x->pitch - end) * C * 2);
}

/* The image as the places [p, p + rows) see it. */
static void conv_image(const tile_conv *x, const float *in, int64_t p)
{
    const int64_t low = conv_low(&x->h, p), row = x->pitch * x->inputs * 2;
    char *to = x->image;
    for (int64_t a = 0; a < x->h.in_step; a++)
        for (int64_t b = 0; b < x->w.in_step; b++)
            for (int64_t i = 0; i < x->phase_rows; i++, to += row) {
                const int64_t at = low + a + i * x->h.in_step;
                conv_image_row(x, to, at >= 0 && at < x->h.in_size ? in + at * x->in_row : NULL, b);
            }
}

/* Where term k's weight for output 0 stands. */
static int64_t conv_term_at(const tile_conv *x, int64_t k)
{
    const int64_t t = k / x->inputs, r = x->h.tap0 + t / x->w.taps * x->h.tap_step;
    const int64_t s = x->w.tap0 + t % x->w.taps * x->w.tap_step;
    return (r * x->v.S + s) * x->v.C * x->v.K + k % x->inputs * x->w_in;
}

/* Weights of outputs [j, j + 32): [step][plane][tile]. Terms across taps go through a square of floats. */
static void conv_pack(const tile_conv *x, char *to, int64_t j)
{
    const float *w = (const float *)x->call->arg[2] + j * x->w_out;
    const int64_t width = at_most(x->outputs - j, T_SIDE);
    float square[T_SIDE * T_SIDE];
    for (int64_t s = 0; s < x->steps; s++, to += x->v.planes * T_STEP) {
        const int64_t k = s * BF16_BLOCK, count = at_most(x->terms - k, BF16_BLOCK);
        if (x->inputs % BF16_BLOCK == 0) {
            pack_b[x->v.planes](to, w + conv_term_at(x, k), x->w_out, x->w_in, width, count);
            continue;
        }
        for (int64_t i = 0; i < count; i++) {
            const float *from = w + conv_term_at(x, k + i);
            for (int64_t o = 0; o < width; o++)
                square[i * T_SIDE + o] = from[o * x->w_out];
        }
        pack_b[x->v.planes](to, square, 1, T_SIDE, width, count);
    }
}

/* The terms of places [f, f + 32) side by side: rows of `steps` blocks, plane by plane. Runs are copied 64 bytes at a time, the
 * excess overwritten by what follows. */
static void conv_strip(const tile_conv *x, int64_t f)
{
    const int64_t row = x->steps * T_ROW, taps = x->h.taps * x->w.taps, pixel = x->inputs * 2;
    const int joined = x->w.in_tap == 1 && x->w.in_step == 1;
    const int64_t runs = joined ? x->h.taps : taps, run = joined ? x->w.taps * pixel : pixel;
    for (int64_t p = 0; p < x->v.planes; p++)
        for (int64_t i = 0; i < T_SIDE; i++) {
            char *to = x->strip + (p * T_SIDE + i) * row;
            const char *from = x->image + p * x->plane + (f + i) * pixel;
            for (int64_t t = 0; t < runs; t++, to += run) {
                const char *at = from + x->at[joined ? t * x->w.taps : t];
                for (int64_t b = 0; b < run; b += 64)
                    _mm512_storeu_si512(to + b, _mm512_loadu_si512(at + b));
            }
            _mm512_storeu_si512(to, _mm512_setzero_si512());
        }
}

/* Where place (row, column) of a band has its outputs from j on. */
static float *conv_home(const tile_conv *x, float *out, int64_t row, int64_t column, int64_t j)
{
    return out + (x->h.out0 + row * x->h.out_step) * x->out_row +
           (x->w.out0 + (x->w.begin + column) * x->w.out_step) * x->outputs + j;
}

/* 32 places of one panel of outputs from the tiles' square: + bias, ReLU, to where they belong. */
static void conv_put(const tile_conv *x, float *out, int64_t p, int64_t f, int64_t j)
{
    const int64_t width = at_most(x->outputs - j, T_SIDE), places = x->w.end - x->w.begin;
    const vmask m0 = v_tail(at_most(width, 16)), m1 = v_tail(at_least_zero(width - 16));
    const float *bias = x->call->arg[3], *sum = x->side;
    const __m512 b0 = bias ? v_load_m(bias + j, m0) : v_zero(), b1 = bias ? v_load_m(bias + j + 16, m1) : v_zero();
    int64_t row = f / x->pitch, column = f % x->pitch;
    for (int64_t i = 0; i < T_SIDE; i++, sum += T_SIDE, column++) {
        if (column == x->pitch) {
            column = 0;
            row++;
        }
        if (row == x->rows)
            return;
        if (column >= places)
            continue;
        __m512 y0 = v_load(sum), y1 = v_load(sum + 16);
        if (bias) {
            y0 = v_add(y0, b0);
            y1 = v_add(y1, b1);
        }
        if (x->relu) { /* x < 0 ? 0 : x, which passes NaN on */
            y0 = v_select(v_lt(y0, v_zero()), v_zero(), y0);
            y1 = v_select(v_lt(y1, v_zero()), v_zero(), y1);
        }
        float *to = conv_home(x, out, p + row, column, j);
        v_store_m(to, m0, y0);
        v_store_m(to + 16, m1, y1);
    }
}

/* 32 places from f on by the outputs of one panel. */
static void conv_square(const tile_conv *x, tile_run *o, float *out, int64_t p, int64_t f, int64_t j)
{
    o->home = (const char *)conv_home(x, out, p + f / x->pitch, f % x->pitch, j); /* but for the places between rows */
    tile_products[x->v.planes](o);
    conv_put(x, out, p, f, j);
}

/* Places [p, p + rows) of an image by outputs [j0, j1), whose weights are packed. */
static void conv_band(const tile_conv *x, float *out, int64_t p, int64_t j0, int64_t j1)
{
    const int whole = x->inputs % BF16_BLOCK == 0;
    const int64_t places = (x->rows - 1) * x->pitch + x->w.end - x->w.begin, panel = x->steps * x->v.planes * T_STEP;
    const int64_t pixel = x->inputs * 2, row = x->steps * T_ROW;
    int64_t at[CONV_STEPS];
    for (int64_t s = 0; s < x->steps; s++)
        at[s] = whole ? x->at[s * BF16_BLOCK / x->inputs] + s * BF16_BLOCK % x->inputs * 2 : s * T_ROW;
    tile_run o = {.a = x->strip, .at = at, .steps = x->steps, .a_stride = whole ? pixel : row, .c = x->side,
                  .a_plane = whole ? x->plane : T_SIDE * row, .a_tile = 16 * (whole ? pixel : row), .c_stride = T_SIDE * 4,
                  .home_stride = x->w.out_step * x->outputs * (int64_t)sizeof(float)};
    for (int64_t j = j0; whole && j < j1; j += T_SIDE) { /* a panel of weights stays in L1 where it is small */
        o.b = x->weights + (j - j0) / T_SIDE * panel;
        for (int64_t f = 0; f < places; f += T_SIDE) {
            o.a = x->image + f * pixel;
            conv_square(x, &o, out, p, f, j);
        }
    }
    for (int64_t f = 0; !whole && f < places; f += T_SIDE) {
        if (x->steps)
            conv_strip(x, f);
        for (int64_t j = j0; j < j1; j += T_SIDE) {
            o.b = x->weights + (j - j0) / T_SIDE * panel;
            conv_square(x, &o, out, p, f, j);
        }
    }
}

/* Sizes for the places of x->h and x->w; 0 if the parts do not fit the scratch. */
static int conv_sizes(tile_conv *x)
{
    x->terms = x->h.taps * x->w.taps * x->inputs;
    x->steps = (x->terms + BF16_BLOCK - 1) / BF16_BLOCK;
    x->low_w = conv_low(&x->w, x->w.begin);
    x->pitch = conv_max(1, conv_phase_size(&x->w, x->w.end - x->w.begin));
    const int64_t phases = x->h.in_step * x->w.in_step, row = phases * x->pitch * x->inputs * 2 * x->v.planes;
    const int64_t more = conv_phase_size(&x->h, 0);
    x->rows = at_most(x->h.end - x->h.begin, (CONV_IMAGE_NBYTES / 2) / conv_max(1, row) - more);
    if (x->rows < 1 && row * (more + 1) <= CONV_IMAGE_NBYTES)
        x->rows = 1;
    return x->steps <= CONV_STEPS && x->steps * x->v.planes * T_STEP <= CONV_W_NBYTES && x->h.taps * x->w.taps <= CONV_STEPS &&
           x->rows >= 1 && (x->inputs % BF16_BLOCK == 0 || (x->steps + 1) * T_ROW * T_SIDE * x->v.planes <= CONV_STRIP_NBYTES) &&
           (T_SIDE * x->inputs + 32) * 2 <= CONV_STRIP_NBYTES; /* behind the image, which tiles of the last places read */
}

/* One phase of images [begin, end). */
static void conv_phase(tile_conv *x, int64_t begin, int64_t end)
{
    const int64_t panel = conv_max(1, x->steps * x->v.planes * T_STEP), fit = conv_max(1, CONV_W_NBYTES / panel) * T_SIDE;
    const int64_t in_image = x->h.in_size * x->in_row, out_image = (x->backward ? x->v.H : x->v.P) * x->out_row, rows = x->rows;
    for (int64_t j0 = 0; j0 < x->outputs; j0 += fit) {
        const int64_t j1 = at_most(x->outputs, j0 + fit);
        for (int64_t j = j0; j < j1; j += T_SIDE)
            conv_pack(x, x->weights + (j - j0) / T_SIDE * panel, j);
        for (int64_t n = begin; n < end; n++)
            for (int64_t p = x->h.begin; p < x->h.end; p += rows) {
                x->rows = at_most(rows, x->h.end - p);
                x->phase_rows = conv_phase_size(&x->h, x->rows);
                x->plane = x->h.in_step * x->w.in_step * x->phase_rows * x->pitch * x->inputs * 2;
                for (int64_t t = 0; t < x->h.taps * x->w.taps; t++)
                    x->at[t] = conv_tap_at(x, t);
                if (x->steps)
                    conv_image(x, (const float *)x->call->arg[1] + n * in_image, p);
                conv_band(x, (float *)x->call->arg[0] + n * out_image, p, j0, j1);
            }
    }
}

static void tile_conv_images(const nn_call *c, int64_t begin, int64_t end, int backward)
{
    const conv_shape v = conv_shape_of(c);
    tile_conv x = {.call = c, .v = v, .backward = backward, .relu = v.last == NN_OP_RELU_FWD, .inputs = backward ? v.K : v.C,
                   .outputs = backward ? v.C : v.K, .w_in = backward ? 1 : v.K, .w_out = backward ? v.K : 1};
    x.in_row = (backward ? v.Q : v.W) * x.inputs;
    x.out_row = (backward ? v.W : v.Q) * x.outputs;
    x.weights = c->team->scratch;
    x.image = x.weights + CONV_W_NBYTES;
    x.strip = x.image + CONV_IMAGE_NBYTES;
    x.side = (float *)(void *)(x.strip + CONV_STRIP_NBYTES);
    x.at = (int64_t *)(void *)(x.side + T_SIDE * T_SIDE);
    const int64_t rows = backward ? v.H : v.P, phases_h = backward ? v.sh : 1, phases_w = backward ? v.sw : 1;
    for (int64_t i = 0; i < phases_h * phases_w; i++) {
        conv_axes(&v, backward, i / phases_w, i % phases_w, 0, rows, &x.h, &x.w);
        if (!conv_sizes(&x)) { /* too large for the scratch: the same bits, slowly */
            (backward ? c->set->bf16.conv_bwd_data : c->set->bf16.conv_fwd)(c, begin, end);
            return;
        }
    }
    tiles_open();
    for (int64_t i = 0; i < phases_h * phases_w; i++) {
        conv_axes(&v, backward, i / phases_w, i % phases_w, 0, rows, &x.h, &x.w);
        conv_sizes(&x);
        if (x.h.begin < x.h.end && x.w.begin < x.w.end)
            conv_phase(&x, begin, end);
    }
    _tile_release();
    if (v.last >= 0 && !x.relu) {
        const int64_t count = (end - begin) * rows * x.out_row;
        float *y = (float *)c->arg[0] + begin * rows * x.out_row;
        void *arg[2] = {y, y};
        nn_call call = {.arg = arg, .dim = &count, .scalar = c->scalar};
        nn_kernel_of(c, v.last)(&call, 0, count);
    }
}

static void tile_conv_fwd(const nn_call *c, int64_t begin, int64_t end) { tile_conv_images(c, begin, end, 0); }
static void tile_conv_bwd_data(const nn_call *c, int64_t begin, int64_t end) { tile_conv_images(c, begin, end, 1); }
