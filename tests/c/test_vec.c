/* test_vec.c - every function of vec.h against plain C, lane by lane, on the numbers that hurt; and the software fma.
 *
 * Compiled once per ISA and type. Prints a checksum of the 16-lane sums, the same number for all builds of one type. */
#include "vec/vec.h"
#include "vec/fma_soft.h"
#include "check.h"
#include <math.h>

#define SPLITMIX_SEED 7
#include "splitmix.h"

static real from_bits(lane_int b)
{
    real x;
    memcpy(&x, &b, sizeof x);
    return x;
}
static lane_int to_bits(real x)
{
    lane_int b;
    memcpy(&b, &x, sizeof b);
    return b;
}
static real power(int e) { return (real)ldexp(1, e); }

/* Zeros, ones, subnormals, the ends of the range, infinities, NaN, ties, and random bits of any kind. */
static real hard(void)
{
    const real v[] = {0, (real)-0.0, 1, -1, (real)0.5, (real)1.5, (real)-2.5, (real)INFINITY, (real)-INFINITY, (real)NAN,
                      from_bits(1), from_bits(3), power(2 - V_BIAS), power(V_BIAS), power(V_MANTISSA) - (real)0.5};
    uint64_t r = next_u64();
    if (r % 3 == 0) return v[r / 3 % (sizeof v / sizeof *v)];
    if (r % 3 == 1) return from_bits((lane_int)next_u64());
    return (real)((int64_t)(next_u64() >> 40) - (1 << 23)) / 64;
}

/* Same bits, or both NaN: a NaN's payload is the one thing ISAs may choose. */
static int same(real a, real b) { return (a != a && b != b) || to_bits(a) == to_bits(b); }

static real fused(real a, real b, real c)
{
#if NN_REAL_IS_DOUBLE
    return fma(a, b, c);
#else
    return fmaf(a, b, c);
#endif
}
static real root(real a) { return NN_REAL_IS_DOUBLE ? (real)sqrt((double)a) : (real)sqrtf((float)a); }
static real nearest(real a) { return (real)rint((double)a); }

#define LANES(expression, want) \
    do { \
        real got_[VW]; \
        v_store(got_, expression); \
        for (int i = 0; i < VW; i++) \
            CHECK(same(got_[i], want), #expression " of %a %a %a is %a", (double)a[i], (double)b[i], (double)c[i], (double)got_[i]); \
    } while (0)
#define TRUTHS(expression, want) LANES(v_select(expression, v_set1(1), v_zero()), (want) ? 1 : (real)0)

static void arithmetic(void)
{
    real a[VW], b[VW], c[VW];
    for (int i = 0; i < VW; i++) a[i] = hard(), b[i] = hard(), c[i] = hard();
    vreal va = v_load(a), vb = v_load(b), vc = v_load(c);
    LANES(v_add(va, vb), a[i] + b[i]);
    LANES(v_sub(va, vb), a[i] - b[i]);
    LANES(v_mul(va, vb), a[i] * b[i]);
    LANES(v_div(va, vb), a[i] / b[i]);
    LANES(v_sqrt(va), root(a[i]));
    LANES(v_fma(va, vb, vc), fused(a[i], b[i], c[i]));
    LANES(v_fma_from(b, va, vc), fused(b[0], a[i], c[i]));
    LANES(v_fnma(va, vb, vc), fused(-a[i], b[i], c[i]));
    LANES(v_min(va, vb), a[i] < b[i] ? a[i] : b[i]);
    LANES(v_max(va, vb), a[i] > b[i] ? a[i] : b[i]);
    LANES(v_neg(va), from_bits(to_bits(a[i]) ^ V_SIGN));
    LANES(v_abs(va), from_bits(to_bits(a[i]) & ~V_SIGN));
    LANES(v_copysign(va, vb), from_bits((to_bits(a[i]) & ~V_SIGN) | (to_bits(b[i]) & V_SIGN)));
    LANES(v_rint(va), nearest(a[i]));
    TRUTHS(v_lt(va, vb), a[i] < b[i]);
    TRUTHS(v_le(va, vb), a[i] <= b[i]);
    TRUTHS(v_gt(va, vb), a[i] > b[i]);
    TRUTHS(v_ge(va, vb), a[i] >= b[i]);
    TRUTHS(v_eq(va, vb), a[i] == b[i]);
    TRUTHS(v_isnan(va), a[i] != a[i]);
    TRUTHS(m_and(v_lt(va, vb), v_lt(vb, vc)), a[i] < b[i] && b[i] < c[i]);
    TRUTHS(m_or(v_lt(va, vb), v_lt(vb, vc)), a[i] < b[i] || b[i] < c[i]);
    TRUTHS(m_not(v_lt(va, vb)), !(a[i] < b[i]));
    int count = 0;
    for (int i = 0; i < VW; i++) count += a[i] < b[i];
    vmask less = v_lt(va, vb);
    CHECK(m_count(less) == count && !m_any(less) == !count && m_all(less) == (count == VW), "count %d", count);
}

static void integers(void)
{
    enum { WIDTH = 8 * sizeof(real) };
    real a[VW], b[VW], c[VW];
    for (int i = 0; i < VW; i++) a[i] = from_bits((lane_int)next_u64()), b[i] = i % 2 ? a[i] : hard(), c[i] = 0;
    vint ia = v_bits(v_load(a)), ib = v_bits(v_load(b));
    LANES(v_frombits(ia), a[i]);
    LANES(v_frombits(vi_add(ia, ib)), from_bits((lane_int)((uint64_t)to_bits(a[i]) + (uint64_t)to_bits(b[i]))));
    LANES(v_frombits(vi_sub(ia, ib)), from_bits((lane_int)((uint64_t)to_bits(a[i]) - (uint64_t)to_bits(b[i]))));
    LANES(v_frombits(vi_and(ia, ib)), from_bits(to_bits(a[i]) & to_bits(b[i])));
    LANES(v_frombits(vi_or(ia, ib)), from_bits(to_bits(a[i]) | to_bits(b[i])));
    LANES(v_frombits(vi_xor(ia, ib)), from_bits(to_bits(a[i]) ^ to_bits(b[i])));
    LANES(v_frombits(vi_sll(ia, 5)), from_bits((lane_int)((uint64_t)to_bits(a[i]) << 5)));
    LANES(v_frombits(vi_sra(ia, 7)), from_bits(to_bits(a[i]) >> 7));
    LANES(v_frombits(vi_sra(ia, 0)), a[i]);
    LANES(v_frombits(vi_srl(ia, 9)), from_bits((lane_int)(((uint64_t)to_bits(a[i]) << (64 - WIDTH)) >> (64 - WIDTH + 9))));
    LANES(v_frombits(vi_select(vi_gt(ia, ib), ia, ib)), to_bits(a[i]) > to_bits(b[i]) ? a[i] : b[i]);
    TRUTHS(vi_gt(ia, ib), to_bits(a[i]) > to_bits(b[i]));
    TRUTHS(vi_eq(ia, ib), to_bits(a[i]) == to_bits(b[i]));
    for (int i = 0; i < VW; i++) a[i] = (real)((int64_t)(next_u64() >> 42) - (1 << 21)), b[i] = c[i] = 0;
    LANES(v_fromint(v_toint(v_load(a))), a[i] == 0 ? 0 : a[i]);
    LANES(v_frombits(v_toint(v_load(a))), from_bits((lane_int)a[i]));
}

#if defined(V_PICKS)
static void picks(void)
{
    real a[VW], b[VW], c[VW];
    lane_int index[VW];
    for (int i = 0; i < VW; i++) a[i] = hard(), b[i] = hard(), c[i] = 0, index[i] = (lane_int)(next_u64() % (2 * VW));
    vint places;
    memcpy(&places, index, sizeof places);
    LANES(v_pick(v_load(a), v_load(b), places), index[i] < VW ? a[index[i]] : b[index[i] - VW]);
}
#endif

/* v_ldexp is exact powers of two, rounded once: ldexp in double shows it for float, scaling in two steps for double. */
static void scaling(void)
{
    enum { MOST = 2 * V_BIAS - 4 };
    real a[VW], b[VW], c[VW];
    for (int i = 0; i < VW; i++) {
        a[i] = i % 7 == 6 ? (real)NAN : (real)((double)(next_u64() >> 11) * 0x1p-53 + 0.5) * (i % 2 ? -1 : 1);
        b[i] = (real)((int)(next_u64() % (2 * MOST + 1)) - MOST);
        c[i] = 0;
    }
    LANES(v_ldexp(v_load(a), v_load(b)), (real)ldexp((double)a[i], (int)b[i]));
    for (int i = 0; i < VW; i++) b[i] = (real)((int)(next_u64() % (2 * V_BIAS - 1)) + 1 - V_BIAS);
    LANES(v_exp2i(v_toint(v_load(b))), power((int)b[i]));
}

/* Masked accesses reach neither behind the tail nor before it. */
static void memory(void)
{
    real in[VW + 2], out[VW + 2];
    float narrow[VW + 2], narrow_out[VW + 2];
    uint8_t bytes[VW], bytes_out[VW + 2];
    for (int i = 0; i < VW + 2; i++) in[i] = hard(), narrow[i] = (float)(next_u64() >> 40) / 3;
    for (int i = 0; i < VW; i++) bytes[i] = (uint8_t)next_u64();
    for (int n = 0; n <= VW; n++) {
        vmask m = v_tail(n);
        CHECK(m_count(m) == n, "tail of %d", n);
        real wide[VW], pixels[VW], pixels_all[VW];
        for (int i = 0; i < VW + 2; i++) out[i] = 77, narrow_out[i] = 77;
        v_store_m(out + 1, m, v_load_m(in + 1, m));
        v_store(wide, v_load_f32_m(narrow + 1, m));
        v_store_f32_m(narrow_out + 1, m, v_load_f32(narrow + 1));
        v_store(pixels, v_load_u8_m(bytes, n));
        v_store(pixels_all, v_load_u8(bytes));
        memset(bytes_out, 77, sizeof bytes_out);
        v_store_u8_m(bytes_out + 1, n, v_toint(v_load_u8(bytes)));
        for (int i = -1; i <= VW; i++) {
            int inside = i >= 0 && i < n;
            CHECK(same(out[i + 1], inside ? in[i + 1] : 77), "store of %d at %d", n, i);
            CHECK(narrow_out[i + 1] == (inside ? narrow[i + 1] : 77), "narrow store of %d at %d", n, i);
            CHECK(bytes_out[i + 1] == (inside ? bytes[i] : 77), "bytes store of %d at %d", n, i);
            if (i < 0 || i == VW) continue;
            CHECK(same(wide[i], inside ? (real)narrow[i + 1] : 0), "narrow load of %d at %d", n, i);
            CHECK(same(pixels[i], inside ? (real)bytes[i] : 0), "bytes of %d at %d", n, i);
            CHECK(same(pixels_all[i], (real)bytes[i]), "byte %d", i);
        }
        v_store(out + 1, v_load_m(in + 1, m));
        for (int i = n; i < VW; i++) CHECK(same(out[i + 1], 0), "masked lane %d of %d", i, n);
    }
    v_store_f32(narrow_out + 1, v_load_f32(narrow + 1));
    v_store_u8(bytes_out, v_toint(v_load_u8(bytes)));
    for (int i = 0; i < VW; i++) CHECK(narrow_out[i + 1] == narrow[i + 1], "narrow %d", i);
    for (int i = 0; i < VW; i++) CHECK(bytes_out[i] == bytes[i], "byte out %d", i);
}

/* R3's definition in sixteen scalars. */
static real plain_sum(const real *p, const real *q, int n)
{
    real lane[16] = {0};
    for (int i = 0; i < n; i++) lane[i % 16] = q ? fused(p[i], q[i], lane[i % 16]) : lane[i % 16] + p[i];
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

static uint64_t sums(void)
{
    real p[100], q[100];
    uint64_t digest = 0;
    state = 11; /* whatever VW consumed before */
    for (int n = 0; n <= 100; n++) {
        for (int i = 0; i < 100; i++)
            p[i] = (real)(int32_t)next_u64() * (real)1e-9, q[i] = (real)(int32_t)next_u64() * (real)1e-9;
        vsum16 s = s16_zero(), f = s16_zero();
        int i = 0;
        for (; i + 16 <= n; i += 16) s16_add(&s, p + i), s16_fma(&f, p + i, q + i);
        s16_add_n(&s, p + i, n - i);
        s16_fma_n(&f, p + i, q + i, n - i);
        CHECK(same(s16_total(&s), plain_sum(p, NULL, n)), "sum of %d", n);
        CHECK(same(s16_total(&f), plain_sum(p, q, n)), "dot of %d", n);
        digest = digest * 31 + (uint64_t)to_bits(s16_total(&s)) + 7 * (uint64_t)to_bits(s16_total(&f));
    }
    vsum16 s = s16_zero();
    for (int b = 0; b < V_BLOCKS; b++) s.v[b] = v_set1((real)-0.0);
    s16_add_n(&s, p, 0);
    CHECK(same(s16_total(&s), (real)-0.0), "a missing lane must not add +0");
    return digest;
}

/* 1 <= it < 2, with few bits now and then, so that ties and exact results occur. */
static double significand(void)
{
    uint64_t bits = next_u64();
    return 1 + (double)(bits >> 12 >> (bits & 63)) * 0x1p-52;
}

/* Operands of an fma in a format whose least positive number is 2^least: any bits at all; c cancelling all or nearly
 * all of a b; a b and c both among the subnormals; a b just below or above what can still be seen next to c. */
static void operands(int kind, int least, int digits, double *a, double *b, double *c)
{
    int sign = (int)(next_u64() & 1) * 2 - 1, e = (int)(next_u64() % 40) - 20;
    *a = significand() * ldexp(1, e);
    *b = significand() * sign;
    *c = -*a * *b * (1 + (double)((int)(next_u64() % 7) - 3) * ldexp(1, 1 - digits));
    if (kind == 1) {
        *b = ldexp(*b, least - e - 2 + (int)(next_u64() % 60));
        *c = ldexp((double)(next_u64() % 16), least);
    } else if (kind == 2) {
        *c = ldexp(significand(), e + (int)(next_u64() % 240) - 120);
    }
}

/* The software fma against libm's, which is exact: in tests only. */
static void software_fma(int rounds)
{
    for (int k = 0; k < rounds; k++) {
        double a, b, c;
        uint64_t bits[3] = {next_u64(), next_u64(), next_u64()};
        operands(k % 4, -1074, 53, &a, &b, &c);
        if (k % 4 == 3) memcpy(&a, &bits[0], 8), memcpy(&b, &bits[1], 8), memcpy(&c, &bits[2], 8);
        double want = fma(a, b, c), got = nn_fma_soft(a, b, c);
        CHECK(!memcmp(&want, &got, 8) || (want != want && got != got), "fma(%a, %a, %a) = %a, not %a", a, b, c, got, want);

        operands(k % 4, -149, 24, &a, &b, &c);
        float x = (float)a, y = (float)b, z = (float)c;
        if (k % 4 == 3) memcpy(&x, &bits[0], 4), memcpy(&y, &bits[1], 4), memcpy(&z, &bits[2], 4);
        float want_f = fmaf(x, y, z), got_f = nn_fmaf_soft(x, y, z);
        CHECK(!memcmp(&want_f, &got_f, 4) || (want_f != want_f && got_f != got_f), "fmaf(%a, %a, %a) = %a, not %a",
              (double)x, (double)y, (double)z, (double)got_f, (double)want_f);
    }
}

/* Where products and sums meet in the corners: zeros of both signs, infinities, NaN, the least and the largest. */
static void software_fma_corners(void)
{
    static const double v[] = {0, 1, 3, 0x1p-1074, 0x1p-1022, 0x1p-600, 0x1p600, 0x1.fffffffffffffp1023, INFINITY, NAN};
    enum { N = 2 * sizeof v / sizeof *v };
    for (int k = 0; k < N * N * N; k++) {
        double p[3] = {v[k % N / 2], v[k / N % N / 2], v[k / N / N / 2]};
        if (k % N % 2) p[0] = -p[0];
        if (k / N % N % 2) p[1] = -p[1];
        if (k / N / N % 2) p[2] = -p[2];
        double want = fma(p[0], p[1], p[2]), got = nn_fma_soft(p[0], p[1], p[2]);
        CHECK(!memcmp(&want, &got, 8) || (want != want && got != got), "fma(%a, %a, %a) = %a", p[0], p[1], p[2], got);
        float x = (float)p[0], y = (float)p[1], z = (float)p[2], want_f = fmaf(x, y, z), got_f = nn_fmaf_soft(x, y, z);
        CHECK(!memcmp(&want_f, &got_f, 4) || (want_f != want_f && got_f != got_f), "fmaf(%a, %a, %a) = %a", (double)x,
              (double)y, (double)z, (double)got_f);
    }
}

/* A product one part in 2^78 (float: 2^33) beside half a unit of c: only the last lost bit decides the rounding.
 * 2^78 + 1 = (2^26 + 1)(2^52 - 2^26 + 1), 2^78 - 1 = (2^39 + 1)(2^39 - 1), and the same with 33 = 3 * 11. */
static void software_fma_ties(void)
{
    for (int k = 0; k < 8; k++) {
        int above = k & 1, sign = k & 2 ? -1 : 1, odd = k >> 2;
        double a = (above ? 0x1p26 : 0x1p39) + 1, b = above ? 0x1p52 - 0x1p26 + 1 : 0x1p39 - 1, c = 0x1p131 + odd * 0x1p79;
        CHECK(nn_fma_soft(a, b * sign, c * sign) == sign * (above ? c + 0x1p79 : c), "tie %d", k);
        float x = above ? 0x1p11f + 1 : 0x1p11f - 1, y = above ? 0x1p22f - 0x1p11f + 1 : 0x1p22f + 0x1p11f + 1;
        float z = 0x1p57f + (float)odd * 0x1p34f, f = (float)sign;
        CHECK(nn_fmaf_soft(x, y * f, z * f) == f * (above ? z + 0x1p34f : z), "float tie %d", k);
    }
}

int main(void)
{
    for (int k = 0; k < 20000; k++) {
        arithmetic();
        integers();
        scaling();
#if defined(V_PICKS)
        picks();
#endif
    }
    for (int k = 0; k < 50; k++) memory();
    printf("  checksum %016llx\n", (unsigned long long)sums());
    software_fma(400000);
    software_fma_corners();
    software_fma_ties();
    return check_summary(NN_REAL_IS_DOUBLE ? "test_vec f64" : "test_vec f32");
}
