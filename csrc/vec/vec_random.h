#pragma once
/* vec_random.h - sixteen lanes of float where every rounding is random: Monte Carlo arithmetic. Included by vec.h, which
 * documents every function.
 *
 * Each operation is done in double and rounded to one of the two neighbouring floats, to the nearer one with the greater
 * probability: up by the share of an ulp that is left over (stochastic rounding). A result that is a float already stays,
 * so that what the elementary functions do exactly stays exact. The spread of a result over several runs is that of all
 * rounding errors together: Parker, "Monte Carlo arithmetic", UCLA CSD-970002, 1997, random rounding at precision 24.
 *
 * A double holds 29 bits more than a float: adding a random number below 2^29 to its integer image and cutting them off
 * is the rounding. Products of floats are exact in double, so a product is added without an fma.
 *
 * The lanes are the compilers' own vectors (gcc and clang), two of eight floats, whatever the ISA: it compiles them to what it
 * has, and the same random numbers meet the same operations everywhere. */
#if NN_REAL_IS_DOUBLE
#error "Monte Carlo arithmetic is of floats"
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define VW 16
typedef float lanes_f __attribute__((vector_size(32)));
typedef int32_t lanes_i __attribute__((vector_size(32)));
typedef uint32_t lanes_w __attribute__((vector_size(32)));
typedef double lanes_d __attribute__((vector_size(64)));
typedef uint64_t lanes_u __attribute__((vector_size(64)));
typedef struct vreal { lanes_f a, b; } vreal;
typedef struct vint { lanes_i a, b; } vint;
typedef vint vmask; /* -1 or 0 */

/* ---- random roundings ------------------------------------------------------------------------------------------ */

/* What the next roundings draw from: eight generators of Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14),
 * 2003, each of which gives two lanes their bits. One set for the process: these kernels run on one thread. */
static lanes_u noise;

V_INLINE lanes_d r_wide(lanes_f v)
{
#if defined(__AVX512F__) /* gcc cuts these in halves and joins them again where one instruction does it */
    return (lanes_d)_mm512_cvtps_pd((__m256)v);
#else
    return __builtin_convertvector(v, lanes_d);
#endif
}
V_INLINE lanes_f r_narrow(lanes_d v)
{
#if defined(__AVX512F__)
    return (lanes_f)_mm512_cvtpd_ps((__m512d)v);
#else
    return __builtin_convertvector(v, lanes_f);
#endif
}

#define R_LOW ((uint64_t)(1023 - 126) << 52)
#define R_HIGH ((uint64_t)(1023 + 128) << 52)
#define R_SIZE (UINT64_MAX >> 1)

/* Lanes, as bits or as any that are not 0, that are no normal float and not 0. */
V_INLINE int r_rare(lanes_u bits)
{
    const lanes_u size = bits & R_SIZE, away = size - R_LOW;
#if defined(__AVX512F__)
    return _mm512_mask_cmpge_epu64_mask(_mm512_test_epi64_mask((__m512i)size, (__m512i)size), (__m512i)away,
                                        _mm512_set1_epi64((long long)(R_HIGH - R_LOW)));
#else
    const lanes_u rare = (lanes_u)(away >= R_HIGH - R_LOW) & (lanes_u)(size != 0);
    uint64_t lane[8], any = 0;
    memcpy(lane, &rare, sizeof lane);
    for (int i = 0; i < 8; i++)
        any |= lane[i];
    return any != 0;
#endif
}

/* |x| below the normal floats: in units of the smallest subnormal. Infinity, NaN and what overflows: to nearest. */
static float r_round_rare(double x, double part)
{
    const double size = x < 0 ? -x : x;
    if (!(size < 0x1p-126) || x == 0)
        return (float)x;
    const double whole = (double)(int64_t)(size * 0x1p149 + part) * 0x1p-149;
    return (float)(x < 0 ? -whole : whole);
}

/* Sixteen roundings of which some are rare, x by the random bits n as below. */
static __attribute__((noinline, cold)) void r_round_any(vreal *to, const lanes_d *a, const lanes_d *b, const lanes_u *n)
{
    enum { CUT = 29 };
    double x[VW];
    uint64_t drawn[8];
    float y[VW];
    memcpy(x, a, sizeof *a);
    memcpy(x + 8, b, sizeof *b);
    memcpy(drawn, n, sizeof drawn);
    for (int i = 0; i < VW; i++) {
        const uint64_t part = i < 8 ? drawn[i] >> (64 - CUT) : drawn[i - 8] & (((uint64_t)1 << CUT) - 1);
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        if ((bits & R_SIZE) != 0 && (bits & R_SIZE) - R_LOW >= R_HIGH - R_LOW) {
            y[i] = r_round_rare(x[i], (double)part * 0x1p-29);
            continue;
        }
        bits = (bits + part) >> CUT << CUT;
        memcpy(&x[i], &bits, sizeof bits);
        y[i] = (float)x[i];
    }
    memcpy(to, y, sizeof *to);
}

/* Exact, or infinite, once the bits are cut off. */
V_INLINE lanes_f r_cut(lanes_d x, lanes_u part)
{
    return r_narrow((lanes_d)(((lanes_u)x + part) & ~(uint64_t)0x1fffffff));
}

/* With few registers an operation is a hundred instructions, and a call is nothing beside them. By address: gcc 12 leaks stack
 * where it passes vectors wider than the ISA's by value in a loop. */
#if defined(__AVX2__)
#define R_CALL V_INLINE
#else
#define R_CALL static __attribute__((noinline, unused))
#endif

V_INLINE vreal r_round(lanes_d a, lanes_d b)
{
    lanes_u n = noise;
    n ^= n << 13;
    n ^= n >> 7;
    n ^= n << 17;
    noise = n;
    if (__builtin_expect(r_rare((lanes_u)a) | r_rare((lanes_u)b), 0)) {
        vreal y;
        const lanes_d of_a = a, of_b = b;
        const lanes_u of_n = n;
        r_round_any(&y, &of_a, &of_b, &of_n);
        return y;
    }
    return (vreal){r_cut(a, n >> 35), r_cut(b, n & 0x1fffffff)};
}

#define R_EACH(name, op)                                                                          \
    R_CALL void r_##name(vreal *z, const vreal *x, const vreal *y)                                \
    {                                                                                             \
        *z = r_round(r_wide(x->a) op r_wide(y->a), r_wide(x->b) op r_wide(y->b));                 \
    }                                                                                             \
    V_INLINE vreal v_##name(vreal x, vreal y)                                                     \
    {                                                                                             \
        vreal z;                                                                                  \
        r_##name(&z, &x, &y);                                                                     \
        return z;                                                                                 \
    }
R_EACH(add, +)
R_EACH(sub, -)
R_EACH(mul, *)
R_EACH(div, /)
R_CALL void r_fma(vreal *to, const vreal *x, const vreal *y, const vreal *z)
{
    *to = r_round(r_wide(x->a) * r_wide(y->a) + r_wide(z->a), r_wide(x->b) * r_wide(y->b) + r_wide(z->b));
}
V_INLINE vreal v_fma(vreal x, vreal y, vreal z)
{
    vreal to;
    r_fma(&to, &x, &y, &z);
    return to;
}
V_INLINE vreal v_fnma(vreal x, vreal y, vreal z) { return v_fma((vreal){-x.a, -x.b}, y, z); }
R_CALL void r_sqrt(vreal *y, const vreal *x)
{
    lanes_d a = r_wide(x->a), b = r_wide(x->b);
#if defined(__AVX512F__)
    a = (lanes_d)_mm512_sqrt_pd((__m512d)a);
    b = (lanes_d)_mm512_sqrt_pd((__m512d)b);
#else
    for (int i = 0; i < 8; i++) {
        a[i] = __builtin_sqrt(a[i]);
        b[i] = __builtin_sqrt(b[i]);
    }
#endif
    *y = r_round(a, b);
}
V_INLINE vreal v_sqrt(vreal x)
{
    vreal y;
    r_sqrt(&y, &x);
    return y;
}

/* ---- what rounds nothing ---------------------------------------------------------------------------------------- */

V_INLINE vint v_bits(vreal x) { return (vint){(lanes_i)x.a, (lanes_i)x.b}; }
V_INLINE vreal v_frombits(vint x) { return (vreal){(lanes_f)x.a, (lanes_f)x.b}; }
V_INLINE vint vi_set1(lane_int x) { return (vint){(lanes_i){0} + x, (lanes_i){0} + x}; }
V_INLINE vreal v_set1(real x)
{
    const lanes_f all = {x, x, x, x, x, x, x, x}; /* 0 + x would lose the sign of a zero */
    return (vreal){all, all};
}
V_INLINE vreal v_load(const real *p)
{
    vreal v;
    memcpy(&v.a, p, sizeof v.a);
    memcpy(&v.b, p + 8, sizeof v.b);
    return v;
}
V_INLINE void v_store(real *p, vreal v)
{
    memcpy(p, &v.a, sizeof v.a);
    memcpy(p + 8, &v.b, sizeof v.b);
}

#define R_COMPARE(name, op) V_INLINE vmask name(vreal x, vreal y) { return (vmask){x.a op y.a, x.b op y.b}; }
R_COMPARE(v_lt, <)
R_COMPARE(v_le, <=)
R_COMPARE(v_gt, >)
R_COMPARE(v_ge, >=)
R_COMPARE(v_eq, ==)
#define R_INTEGERS(name, type, op) \
    V_INLINE vint name(vint x, vint y) { return (vint){(lanes_i)((type)x.a op (type)y.a), (lanes_i)((type)x.b op (type)y.b)}; }
R_INTEGERS(vi_add, lanes_w, +)
R_INTEGERS(vi_sub, lanes_w, -)
R_INTEGERS(vi_and, lanes_w, &)
R_INTEGERS(vi_or, lanes_w, |)
R_INTEGERS(vi_xor, lanes_w, ^)
R_INTEGERS(vi_gt, lanes_i, >)
R_INTEGERS(vi_eq, lanes_i, ==)
R_INTEGERS(m_and, lanes_i, &)
R_INTEGERS(m_or, lanes_i, |)
V_INLINE vint vi_sll(vint x, int n) { return (vint){(lanes_i)((lanes_w)x.a << n), (lanes_i)((lanes_w)x.b << n)}; }
V_INLINE vint vi_srl(vint x, int n) { return (vint){(lanes_i)((lanes_w)x.a >> n), (lanes_i)((lanes_w)x.b >> n)}; }
V_INLINE vint vi_sra(vint x, int n) { return (vint){x.a >> n, x.b >> n}; }
V_INLINE vmask m_not(vmask m) { return (vmask){~m.a, ~m.b}; }
V_INLINE int m_count(vmask m)
{
    int n = 0;
    const lanes_i both = m.a + m.b;
    for (int i = 0; i < 8; i++)
        n -= both[i];
    return n;
}
V_INLINE int m_any(vmask m)
{
    uint64_t lane[4];
    const lanes_i both = m.a | m.b;
    memcpy(lane, &both, sizeof both);
    return (lane[0] | lane[1] | lane[2] | lane[3]) != 0;
}
V_INLINE int m_all(vmask m) { return !m_any(m_not(m)); }
V_INLINE vint vi_select(vmask m, vint x, vint y)
{
    return (vint){(m.a & x.a) | (~m.a & y.a), (m.b & x.b) | (~m.b & y.b)};
}
V_INLINE vreal v_select(vmask m, vreal x, vreal y) { return v_frombits(vi_select(m, v_bits(x), v_bits(y))); }
V_INLINE vreal v_min(vreal x, vreal y) { return v_select(v_lt(x, y), x, y); }
V_INLINE vreal v_max(vreal x, vreal y) { return v_select(v_gt(x, y), x, y); }

V_INLINE vmask v_tail(int64_t n)
{
    const lanes_i first = {0, 1, 2, 3, 4, 5, 6, 7};
    return (vmask){first < (int32_t)n, first + 8 < (int32_t)n};
}
R_CALL void r_load_m(vreal *v, const real *p, const vmask *m)
{
#if defined(__AVX2__)
    *v = (vreal){(lanes_f)_mm256_maskload_ps(p, (__m256i)m->a), (lanes_f)_mm256_maskload_ps(p + 8, (__m256i)m->b)};
#else
    int32_t on[VW];
    float lane[VW];
    memcpy(on, m, sizeof on);
    for (int i = 0; i < VW; i++)
        lane[i] = on[i] ? p[i] : 0;
    memcpy(v, lane, sizeof lane);
#endif
}
V_INLINE vreal v_load_m(const real *p, vmask m)
{
    vreal v;
    r_load_m(&v, p, &m);
    return v;
}
R_CALL void r_store_m(real *p, const vmask *m, const vreal *v)
{
#if defined(__AVX2__)
    _mm256_maskstore_ps(p, (__m256i)m->a, (__m256)v->a);
    _mm256_maskstore_ps(p + 8, (__m256i)m->b, (__m256)v->b);
#else
    int32_t on[VW];
    float lane[VW];
    memcpy(on, m, sizeof on);
    memcpy(lane, v, sizeof lane);
    for (int i = 0; i < VW; i++)
        if (on[i])
            p[i] = lane[i];
#endif
}
V_INLINE void v_store_m(real *p, vmask m, vreal v) { r_store_m(p, &m, &v); }

V_INLINE vreal v_fromint(vint x) { return (vreal){__builtin_convertvector(x.a, lanes_f), __builtin_convertvector(x.b, lanes_f)}; }
/* With V_MAGIC added, the nearest integer stands in the low bits of the significand. */
V_INLINE vint v_toint(vreal x) { return vi_sub(v_bits((vreal){x.a + V_MAGIC, x.b + V_MAGIC}), vi_set1(0x4b400000)); }
/* Adding and taking away 2^V_MANTISSA rounds to an integer; from there on every real is one. */
V_INLINE vreal v_rint(vreal x)
{
    const vint sign = vi_and(v_bits(x), vi_set1(V_SIGN));
    const vreal size = v_frombits(vi_and(v_bits(x), vi_set1(~V_SIGN))), whole = v_set1(0x1p23f);
    const vreal near = {(size.a + whole.a) - whole.a, (size.b + whole.b) - whole.b};
    return v_select(v_lt(size, whole), v_frombits(vi_or(v_bits(near), sign)), x);
}

V_INLINE vreal v_load_u8_m(const uint8_t *p, int64_t n)
{
    float lane[VW] = {0};
    for (int64_t i = 0; i < n; i++)
        lane[i] = (float)p[i];
    return v_load(lane);
}
V_INLINE vreal v_load_u8(const uint8_t *p) { return v_load_u8_m(p, VW); }
V_INLINE void v_store_u8_m(uint8_t *p, int64_t n, vint x)
{
    int32_t lane[VW];
    memcpy(lane, &x.a, sizeof x.a);
    memcpy(lane + 8, &x.b, sizeof x.b);
    for (int64_t i = 0; i < n; i++)
        p[i] = (uint8_t)lane[i];
}
V_INLINE void v_store_u8(uint8_t *p, vint x) { v_store_u8_m(p, VW, x); }
V_INLINE vreal v_load_f32(const float *p) { return v_load(p); }
V_INLINE vreal v_load_f32_m(const float *p, vmask m) { return v_load_m(p, m); }
V_INLINE void v_store_f32(float *p, vreal v) { v_store(p, v); }
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v) { v_store_m(p, m, v); }
