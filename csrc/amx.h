#pragma once
/* amx.h - tiles: the product of 32 x 32 outputs, and the packing of floats into planes. Included by amx.c alone.
 *
 * C stands in four tiles (0 to 3), two of A (4, 5) and two of B (6, 7) are loaded a step of 32 terms and plane. The walk over
 * the products of planes (bf16_pairs) changes one operand at a time, so that three planes take 14 loads for 24 products, two 8
 * for 12, one 4 for 4: the more planes, the fewer loads each (performance.md section 4.1).
 * A in memory: rows of 32 bfloat16, 64 bytes. B: rows of 16 pairs of terms (k, k + 1), 64 bytes, sixteen such rows a tile. */
#include <immintrin.h>

#include "bf16.h"
#include "vec/transpose.h"

enum { T_SIDE = 32, T_NBYTES = 1024, T_ROW = 64 /* bytes of a tile's row */, T_STEP = 2 * T_NBYTES /* a plane of a step */ };

/* All eight tiles with 16 rows of 64 bytes, palette 1. gcc 12 believes that _tile_loadconfig reads eight bytes and drops the
 * stores of the rest: hence the barrier. */
static void tiles_open(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_nbytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_nbytes[i] = T_ROW;
        config.rows[i] = 16;
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

/* c (32 x 32 floats) of `steps` steps. Step s of A: plane p of its tile t at a + at[s] + p a_plane + t a_tile, rows a_stride
 * apart; of B: planes and tiles one after the other. */
typedef struct tile_run {
    const char *a, *b;
    const int64_t *at;
    int64_t steps, a_stride, a_plane, a_tile;
    float *c;
    int64_t c_stride; /* bytes */
    int resume;
    const char *home; /* the rows, home_stride bytes apart, where c belongs: fetched, unless NULL */
    int64_t home_stride;
} tile_run;

V_INLINE void load_a(const char *a, int64_t stride, int64_t tile)
{
    _tile_loadd(4, a, stride);
    _tile_loadd(5, a + tile, stride);
}

V_INLINE void load_b(const char *b)
{
    _tile_loadd(6, b, T_ROW);
    _tile_loadd(7, b + T_NBYTES, T_ROW);
}

V_INLINE void multiply(const int turned)
{
    if (turned) { /* c turned: what `a` names are columns in pairs, `b` rows */
        _tile_dpbf16ps(0, 6, 4);
        _tile_dpbf16ps(1, 6, 5);
        _tile_dpbf16ps(2, 7, 4);
        _tile_dpbf16ps(3, 7, 5);
        return;
    }
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* In the last steps the lines are fetched that sums go to: stores wait for one another's lines (4 to 13 % of a product or a
 * convolution from L3), and fetched earlier they would have left L1 again. */
enum { FETCH_STEPS = 8, FETCH_ROWS = T_SIDE / FETCH_STEPS };
V_INLINE void fetch_home(const tile_run *o, int64_t row)
{
    const char *at = o->home + row * o->home_stride;
    V_UNROLL for (int i = 0; i < FETCH_ROWS; i++, at += o->home_stride) {
        __builtin_prefetch(at, 1);
        __builtin_prefetch(at + T_ROW, 1);
    }
}

/* A step of 32 terms: the products of planes in the order of bf16_pairs. */
V_INLINE void tile_step(const int planes, const int turned, const char *a, int64_t a_stride, int64_t a_plane, int64_t a_tile,
                        const char *b)
{
    load_a(a, a_stride, a_tile);
    load_b(b + (planes - 1) * T_STEP);
    multiply(turned);
    if (planes == 2) {
        load_b(b);
        multiply(turned);
        load_a(a + a_plane, a_stride, a_tile);
        multiply(turned);
    } else if (planes == 3) {
        load_b(b + T_STEP);
        multiply(turned);
        load_a(a + a_plane, a_stride, a_tile);
        multiply(turned);
        load_b(b);
        multiply(turned);
        load_a(a, a_stride, a_tile);
        multiply(turned);
        load_a(a + 2 * a_plane, a_stride, a_tile);
        multiply(turned);
    }
}

V_INLINE void tiles_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

V_INLINE void tiles_store(char *c, int64_t stride)
{
    char *below = c + 16 * stride;
    _tile_stored(0, c, stride);
    _tile_stored(1, c + T_ROW, stride);
    _tile_stored(2, below, stride);
    _tile_stored(3, below + T_ROW, stride);
}

V_INLINE void tile_product(const int planes, const int turned, const tile_run *o)
{
    const int64_t a_stride = o->a_stride, a_plane = o->a_plane, a_tile = o->a_tile;
    char *c = (char *)o->c, *below = c + 16 * o->c_stride;
    __asm__ volatile("" : : : "memory"); /* gcc 12 does not know that tile loads read memory */
    if (o->resume) {
        _tile_loadd(0, c, o->c_stride);
        _tile_loadd(1, c + T_ROW, o->c_stride);
        _tile_loadd(2, below, o->c_stride);
        _tile_loadd(3, below + T_ROW, o->c_stride);
    } else {
        tiles_zero();
    }
    const char *b = o->b;
    for (int64_t s = 0; s < o->steps; s++, b += planes * T_STEP) {
        if (o->home && s >= o->steps - FETCH_STEPS)
            fetch_home(o, (s - (o->steps - FETCH_STEPS)) * FETCH_ROWS);
        tile_step(planes, turned, o->a + o->at[s], a_stride, a_plane, a_tile, b);
    }
    tiles_store(c, o->c_stride);
}

typedef void tile_fn(const tile_run *o);
#define TILE_PRODUCTS(planes)                                                                      \
    static void tile_product_##planes(const tile_run *o) { tile_product(planes, 0, o); }           \
    static void tile_product_turned_##planes(const tile_run *o) { tile_product(planes, 1, o); }
TILE_PRODUCTS(1)
TILE_PRODUCTS(2)
TILE_PRODUCTS(3)
static tile_fn *const tile_products[4] = {NULL, tile_product_1, tile_product_2, tile_product_3};
static tile_fn *const tile_products_turned[4] = {NULL, tile_product_turned_1, tile_product_turned_2, tile_product_turned_3};

/* ---- planes ----------------------------------------------------------------------------------------------------- */

/* Element i of the low half beside element i of the high half: the pairs of B. */
V_INLINE __m512i zip_halves(__m512i p)
{
    const __m512i from = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                          20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(from, p);
}

/* Plane p of 32 floats by bf16_plane itself. */
static __attribute__((noinline)) __m512i slow_plane(__m512 v0, __m512 v1, int p)
{
    float v[32];
    uint16_t plane[32];
    _mm512_storeu_ps(v, v0);
    _mm512_storeu_ps(v + 16, v1);
    for (int i = 0; i < 32; i++) {
        float part = 0;
        for (int q = 0; q <= p; q++)
            part = bf16_plane(&v[i]);
        uint32_t u;
        memcpy(&u, &part, 4);
        plane[i] = (uint16_t)(u >> 16);
    }
    return _mm512_loadu_si512(plane);
}

/* The planes of 32 floats, those of v0 in the low half or, if `pairs`, each beside that of v1. VCVTNE2PS2BF16 is bf16_plane
 * except where it makes an infinity or a NaN. */
V_INLINE void planes_of(__m512i *plane, const int planes, const int pairs, __m512 v0, __m512 v1)
{
    __m512i p0 = (__m512i)_mm512_cvtne2ps_pbh(v1, v0);
    const __m512i size = _mm512_set1_epi16(0x7fff), odd = _mm512_set1_epi16(0x7f80);
    if (__builtin_expect(_mm512_cmpge_epu16_mask(_mm512_and_si512(p0, size), odd) != 0, 0)) {
        V_UNROLL for (int p = 0; p < planes; p++) {
            plane[p] = slow_plane(v0, v1, p);
            if (pairs)
                plane[p] = zip_halves(plane[p]);
        }
        return;
    }
    V_UNROLL for (int p = 0; p < planes; p++) {
        const __m512i zipped = zip_halves(p0);
        plane[p] = pairs ? zipped : p0;
        if (p + 1 < planes) {
            v0 = v_sub(v0, v_frombits(_mm512_slli_epi32(zipped, 16)));
            v1 = v_sub(v1, v_frombits(_mm512_and_si512(zipped, _mm512_set1_epi32((int)0xffff0000))));
            p0 = (__m512i)_mm512_cvtne2ps_pbh(v1, v0);
        }
    }
}

/* planes_of for a number of planes known at run time, or, inlined with a constant, at once. */
V_INLINE void split(__m512i *plane, int planes, const int pairs, __m512 v0, __m512 v1)
{
    if (planes == 1)
        planes_of(plane, 1, pairs, v0, v1);
    else if (planes == 2)
        planes_of(plane, 2, pairs, v0, v1);
    else
        planes_of(plane, 3, pairs, v0, v1);
}

/* 32 floats as one row of 64 bytes of each plane, `apart` bytes from plane to plane: v0 then v1 of one row of A, or `pairs` of
 * two rows of 16 terms of B, k and k + 1. */
V_INLINE void put_planes(char *to, int64_t apart, const int planes, const int pairs, __m512 v0, __m512 v1)
{
    __m512i plane[3];
    split(plane, planes, pairs, v0, v1);
    V_UNROLL for (int p = 0; p < planes; p++)
        _mm512_storeu_si512(to + p * apart, plane[p]);
}

/* Sixteen rows of sixteen 32-bit words turned, from a tile to the first `rows` rows, `stride` bytes apart. */
V_INLINE void turn(char *to, int64_t stride, const char *from, int64_t rows)
{
    const float *row[16];
    vreal block[16];
    V_UNROLL for (int i = 0; i < 16; i++)
        row[i] = (const float *)(const void *)(from + i * T_ROW);
    v_load_turned(block, row);
    V_UNROLL for (int i = 0; i < 16; i++)
        if (i < rows)
            _mm512_storeu_ps(to + i * stride, block[i]);
}

/* A matrix whose element (i, k) is from[i * rs + k * cs], one stride being 1, is packed for tiles: 16 of its i and 32 of its k
 * at a time. `pairs` asks for pairs along k (B), else for rows along k (A). What lies beyond `is` and `ks` is +0. */
V_INLINE void pack_tile(char *to, int64_t apart, const int planes, const int pairs, const float *from, int64_t rs, int64_t cs,
                        int64_t is, int64_t ks)
{
    char turned[3 * T_NBYTES];
    const int along_k = cs == 1 && !(pairs && rs == 1), straight = along_k != pairs; /* a vector has both strides 1 */
    char *put = straight ? to : turned;
    const int64_t put_apart = straight ? apart : T_NBYTES;
    if (along_k) {
        const vmask m0 = v_tail(at_most(ks, 16)), m1 = v_tail(ks > 16 ? ks - 16 : 0);
        for (int64_t i = 0; i < 16; i++) {
            const float *row = from + i * rs;
            if (i < is)
                put_planes(put + i * T_ROW, put_apart, planes, 0, v_load_m(row, m0), v_load_m(row + 16, m1));
            else
                for (int p = 0; p < planes; p++)
                    _mm512_storeu_si512(put + i * T_ROW + p * put_apart, _mm512_setzero_si512());
        }
    } else {
        const vmask m = v_tail(is);
        for (int64_t k = 0; k < 32; k += 2)
            put_planes(put + k / 2 * T_ROW, put_apart, planes, 1, v_load_m(from + k * cs, k < ks ? m : 0),
                      v_load_m(from + (k + 1) * cs, k + 1 < ks ? m : 0));
    }
    for (int p = 0; p < planes && !straight; p++)
        turn(to + p * apart, T_ROW, turned + p * T_NBYTES, 16);
}

/* Panels of 32 of a matrix's i by all its k: [step][plane][tile]. */
V_INLINE void pack_panel(char *to, const int planes, const int pairs, const float *from, int64_t rs, int64_t cs, int64_t is,
                         int64_t ks)
{
    for (int64_t k = 0; k < ks; k += BF16_BLOCK, to += planes * T_STEP)
        for (int64_t t = 0; t < 2; t++)
            pack_tile(to + t * T_NBYTES, T_STEP, planes, pairs, from + t * 16 * rs + k * cs, rs, cs,
                      at_least_zero(at_most(is - t * 16, 16)), at_most(ks - k, BF16_BLOCK));
}
