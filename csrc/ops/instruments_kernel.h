/* instruments_kernel.h - the loops of instruments.c over float values and their float64 shadows, compiled for every ISA.
 *
 * They mix float and double, for which vec.h has no words: eight lanes of each in the compilers' own vectors (gcc and clang)
 * instead, which every ISA cuts to its width. Element i goes to lane i mod 8, the lanes are added as a tree 4-2-1: the same
 * figures everywhere (numerics.md R3). What lies behind the last element is read as 0. */
typedef float look_f8 __attribute__((vector_size(32)));
typedef int32_t look_i8 __attribute__((vector_size(32)));
typedef uint32_t look_w8 __attribute__((vector_size(32)));
typedef double look_d8 __attribute__((vector_size(64)));
typedef int64_t look_l8 __attribute__((vector_size(64)));
typedef uint64_t look_u8 __attribute__((vector_size(64)));

enum { LOOK = 8, LOOK_BLOCK = 512, LOOK_INFINITE = 0x7f800000, LOOK_FLOAT_BITS = 24 };
#define LOOK_BLEND(type, m, a, b) ((type)(((look_l8)(m) & (look_l8)(a)) | (~(look_l8)(m) & (look_l8)(b))))
/* The exponent's bits where they stand; those of what is not finite. */
#define LOOK_NONE ((int64_t)0x7ff << 52)
#define LOOK_EXPONENT(v) ((look_l8)(v) & LOOK_NONE)

/* `name`: the block of values from `from` on, of which there are n; a short one is copied, with zeros up to whole vectors. */
#define LOOK_AT(type, name, from, n)                                                  \
    type name##_rest[LOOK_BLOCK + LOOK];                                              \
    const type *name = (from);                                                        \
    if ((n) < LOOK_BLOCK) {                                                           \
        memcpy(name##_rest, name, (size_t)(n) * sizeof *name);                        \
        memset(name##_rest + (n), 0, LOOK * sizeof *name);                            \
        name = name##_rest;                                                           \
    }
#define LOOK_LOAD(v, p) memcpy(&(v), (p), sizeof(v))

/* Eight floats as doubles: gcc cuts them in halves and joins these again where one instruction does it. */
#if defined(NN_ISA_AVX512)
#define LOOK_WIDE(v) ((look_d8)_mm512_cvtps_pd((__m256)(v)))
#else
#define LOOK_WIDE(v) __builtin_convertvector(v, look_d8)
#endif

/* The lanes of a sum as a tree. */
#define LOOK_TOTAL(v) ((((v)[0] + (v)[4]) + ((v)[2] + (v)[6])) + (((v)[1] + (v)[5]) + ((v)[3] + (v)[7])))

/* Exponents in tables by turns: neighbours are often equal, and a counter that is still being written must be waited for. The
 * tables are small, for they are cleared and added up as often as the loop is called. */
static void look_exponents(int64_t *exponent, const float *x, int64_t n)
{
    enum { TABLES = 8, AT_ONCE = 1 << 15 };
    for (int64_t at = 0; at < n; at += AT_ONCE) {
        uint16_t count[TABLES][256] = {{0}};
        const int64_t end = n - at < AT_ONCE ? n : at + AT_ONCE;
        int64_t i = at;
        for (; i + TABLES <= end; i += TABLES) {
            uint32_t u[TABLES];
            memcpy(u, x + i, sizeof u);
#pragma GCC unroll 8
            for (int t = 0; t < TABLES; t++)
                count[t][u[t] >> 23 & 255]++;
        }
        for (; i < end; i++) {
            uint32_t u;
            memcpy(&u, x + i, 4);
            count[0][u >> 23 & 255]++;
        }
        for (int t = 1; t < TABLES; t++)
            for (int e = 0; e < 256; e++)
                count[0][e] += count[t][e];
        for (int e = 0; e < 256; e++)
            exponent[e] += count[0][e];
    }
}

/* What a block shows, by lanes. */
typedef struct look_seen {
    look_d8 sum;
    look_i8 smallest, largest, zeros, nans;
    look_l8 beyond;
} look_seen;

/* A block of whatever values. */
static void look_any(look_seen *s, const float *x, int64_t n, double low, double high)
{
    for (int64_t i = 0; i < n; i += LOOK) {
        look_f8 v;
        LOOK_LOAD(v, x + i);
        const look_i8 u = (look_i8)v & 0x7fffffff, finite = u < LOOK_INFINITE, size = u & finite;
        const look_i8 fits = (u != 0) & finite & (u < s->smallest), more = size > s->largest;
        const look_d8 all = LOOK_WIDE(v), f = LOOK_WIDE((look_f8)size);
        s->zeros -= u == 0;
        s->nans -= u > LOOK_INFINITE;
        s->beyond -= (all <= low) | (all >= high);
        s->smallest = (fits & u) | (~fits & s->smallest);
        s->largest = (more & size) | (~more & s->largest);
        s->sum += f * f;
    }
}

/* The same of a block of finite values that are not counted against limits: 0 and nothing done if it is none. */
static int look_finite(look_seen *s, const float *x, int64_t n)
{
    look_d8 sum = s->sum;
    look_i8 most = s->largest, zeros = s->zeros, least = s->smallest - 1;
    for (int64_t i = 0; i < n; i += LOOK) {
        look_f8 v;
        LOOK_LOAD(v, x + i);
        const look_i8 u = (look_i8)v & 0x7fffffff, more = u > most;
        const look_w8 below = (look_w8)(u - 1), fits = (look_w8)(below < (look_w8)least); /* 0 wraps to the largest */
        const look_d8 f = LOOK_WIDE(v);
        zeros -= u == 0;
        least = (look_i8)((fits & below) | (~fits & (look_w8)least));
        most = (more & u) | (~more & most);
        sum += f * f;
    }
    for (int k = 0; k < LOOK; k++)
        if (most[k] >= LOOK_INFINITE)
            return 0;
    *s = (look_seen){sum, least + 1, most, zeros, s->nans, s->beyond};
    return 1;
}

static void look_describe(nn_statistics *s, const float *x, int64_t n, double low, double high)
{
    const int limits = low > -__builtin_inf() || high < __builtin_inf();
    *s = (nn_statistics){.n = n};
    look_exponents(s->exponent, x, n);
    look_seen seen = {0};
    seen.smallest += LOOK_INFINITE;
    for (int64_t at = 0; at < n; at += LOOK_BLOCK) {
        const int64_t m = n - at < LOOK_BLOCK ? n - at : LOOK_BLOCK;
        LOOK_AT(float, block, x + at, m)
        seen.zeros = seen.nans = (look_i8){0};
        if (limits || !look_finite(&seen, block, m))
            look_any(&seen, block, m, low, high);
        for (int k = 0; k < LOOK; k++) {
            s->zeros += seen.zeros[k];
            s->nans += seen.nans[k];
        }
    }
    const int64_t behind = -n & (LOOK - 1); /* lanes that held no element, but 0 */
    s->zeros -= behind;
    for (int k = 0; k < LOOK; k++)
        s->saturated += seen.beyond[k];
    s->saturated -= 0 <= low || 0 >= high ? behind : 0;
    s->infinities = s->exponent[255] - s->nans;
    s->subnormals = s->exponent[0] - s->zeros;
    s->sum_squares = LOOK_TOTAL(seen.sum);
    int32_t least = LOOK_INFINITE, most = 0;
    for (int k = 0; k < LOOK; k++) {
        least = seen.smallest[k] < least ? seen.smallest[k] : least;
        most = seen.largest[k] > most ? seen.largest[k] : most;
    }
    float f;
    memcpy(&f, &least, 4);
    s->smallest = least == LOOK_INFINITE ? 0 : (double)f;
    memcpy(&f, &most, 4);
    s->largest = (double)f;
}

static void look_update(nn_update *u, const float *before, const float *after, const float *g, int64_t n)
{
    look_d8 moved = {0}, kept = {0};
    *u = (nn_update){.n = n};
    for (int64_t at = 0; at < n; at += LOOK_BLOCK) {
        const int64_t m = n - at < LOOK_BLOCK ? n - at : LOOK_BLOCK;
        LOOK_AT(float, old, before + at, m)
        LOOK_AT(float, new, after + at, m)
        LOOK_AT(float, gradient, g + at, m)
        look_i8 asked = {0}, lost = {0};
        for (int64_t i = 0; i < m; i += LOOK) {
            look_f8 a, b, slope;
            LOOK_LOAD(b, old + i);
            LOOK_LOAD(a, new + i);
            LOOK_LOAD(slope, gradient + i);
            const look_d8 w = LOOK_WIDE(b), step = LOOK_WIDE(a) - w;
            asked -= slope != 0;
            lost -= (slope != 0) & (a == b);
            moved += step * step;
            kept += w * w;
        }
        for (int k = 0; k < LOOK; k++) {
            u->asked += asked[k];
            u->lost += lost[k];
        }
    }
    u->moved = LOOK_TOTAL(moved);
    u->kept = LOOK_TOTAL(kept);
}

/* A block's figures into e: most values are not the worst so far, so where it stands is looked for only when one is. */
static void look_worst(nn_errors *e, const look_d8 *most, const double *figure, int64_t at, int64_t n)
{
    double worst = e->worst;
    for (int k = 0; k < LOOK; k++)
        worst = (*most)[k] > worst ? (*most)[k] : worst;
    for (int64_t i = 0; i < n && worst > e->worst; i++)
        if (figure[i] == worst) {
            e->worst = worst;
            e->index = at + i;
        }
}

/* Exponents of the least and the largest float; 1 / ulp of float at a double whose exponent is x is the double 2^-(x - 23),
 * whose bits are LOOK_INVERSE - x, modulo 2^64. */
#define LOOK_LEAST ((int64_t)(1023 - 126) << 52)
#define LOOK_MOST ((int64_t)(1023 + 127) << 52)
#define LOOK_INVERSE ((uint64_t)(2 * 1023 + 23) << 52)

/* |got - want| in ulps of float at `want`: not to be used where either is no finite number. */
V_INLINE void look_ulps(look_d8 *ulps, const look_d8 *got, const look_d8 *want)
{
    const look_l8 none = {0};
    look_l8 x = LOOK_EXPONENT(*want);
    x = LOOK_BLEND(look_l8, x < LOOK_LEAST, none + LOOK_LEAST, x);
    x = LOOK_BLEND(look_l8, x > LOOK_MOST, none + LOOK_MOST, x);
    *ulps = (look_d8)((look_l8)(*got - *want) & INT64_MAX) * (look_d8)(LOOK_INVERSE - (look_u8)x);
}

/* A block of whatever values, each figure told as well. */
static void look_twin_any(look_d8 *sum, look_d8 *worst, double *figure, const float *y, const double *truth, int64_t n)
{
    look_d8 infinite = {0};
    infinite += __builtin_inf();
    for (int64_t i = 0; i < n; i += LOOK) {
        look_f8 narrow;
        look_d8 want;
        LOOK_LOAD(narrow, y + i);
        LOOK_LOAD(want, truth + i);
        const look_d8 got = LOOK_WIDE(narrow);
        look_d8 ulps;
        look_ulps(&ulps, &got, &want);
        const look_l8 finite = (LOOK_EXPONENT(want) < LOOK_NONE) & (LOOK_EXPONENT(got) < LOOK_NONE);
        const look_l8 differ = (got != want) & ((got == got) | (want == want));
        const look_d8 found = LOOK_BLEND(look_d8, finite, ulps, differ & (look_l8)infinite);
        *sum += found;
        *worst = LOOK_BLEND(look_d8, found > *worst, found, *worst);
        memcpy(figure + i, &found, sizeof found);
    }
}

/* The same of finite values, without the figures: 0 and nothing done if one is not finite, or the sum was not before. */
static int look_twin_finite(look_d8 *sum, look_d8 *worst, const float *y, const double *truth, int64_t n)
{
    look_d8 total = *sum, most = {0};
    for (int64_t i = 0; i < n; i += LOOK) {
        look_f8 narrow;
        look_d8 want;
        LOOK_LOAD(narrow, y + i);
        LOOK_LOAD(want, truth + i);
        const look_d8 got = LOOK_WIDE(narrow);
        look_d8 found;
        look_ulps(&found, &got, &want);
        total += found;
        most = LOOK_BLEND(look_d8, found > most, found, most);
    }
    for (int k = 0; k < LOOK; k++)
        if (!(total[k] < __builtin_inf()))
            return 0;
    *sum = total;
    *worst = most;
    return 1;
}

/* |y - truth| in ulps of float at the truth, 2^(e - 23) with the e of the subnormals below 2^-126: times an exact power of 2,
 * whose exponent comes out of the truth's by a subtraction where it stands. In which place of its block the worst stands is
 * looked for once, at the end. */
static void look_twin(nn_errors *e, const float *y, const double *truth, int64_t n)
{
    double figure[LOOK_BLOCK + LOOK];
    look_d8 sum = {0}, most = {0}, unused = {0};
    int64_t where = -1;
    *e = (nn_errors){.n = n, .index = -1};
    for (int64_t at = 0; at < n; at += LOOK_BLOCK) {
        const int64_t m = n - at < LOOK_BLOCK ? n - at : LOOK_BLOCK;
        LOOK_AT(float, float32, y + at, m)
        LOOK_AT(double, float64, truth + at, m)
        look_d8 worst = {0};
        if (!look_twin_finite(&sum, &worst, float32, float64, m))
            look_twin_any(&sum, &worst, figure, float32, float64, m);
        for (int k = 0; k < LOOK; k++)
            if (worst[k] > e->worst) {
                e->worst = worst[k];
                where = at;
                most = worst;
            }
    }
    e->sum = LOOK_TOTAL(sum);
    if (where < 0)
        return;
    const int64_t m = n - where < LOOK_BLOCK ? n - where : LOOK_BLOCK;
    LOOK_AT(float, float32, y + where, m)
    LOOK_AT(double, float64, truth + where, m)
    look_d8 again = {0};
    look_twin_any(&unused, &again, figure, float32, float64, m);
    e->worst = 0;
    look_worst(e, &most, figure, where, m);
}

static void look_terms(nn_errors *e, const double *sum, const float *sizes, int64_t n)
{
    const look_l8 none = {0};
    look_d8 total = {0};
    *e = (nn_errors){.n = n, .index = -1};
    for (int64_t at = 0; at < n; at += LOOK_BLOCK) {
        const int64_t m = n - at < LOOK_BLOCK ? n - at : LOOK_BLOCK;
        LOOK_AT(float, float32, sizes + at, m)
        LOOK_AT(double, float64, sum + at, m)
        double figure[LOOK_BLOCK + LOOK];
        look_d8 worst = {0};
        for (int64_t i = 0; i < m; i += LOOK) {
            look_f8 narrow;
            look_d8 s;
            LOOK_LOAD(narrow, float32 + i);
            LOOK_LOAD(s, float64 + i);
            const look_d8 size = LOOK_WIDE(narrow);
            const look_l8 above = LOOK_EXPONENT(size), below = LOOK_EXPONENT(s);
            look_l8 bits = (above - below) & (above < LOOK_NONE) & (below < LOOK_NONE) & (size > 0);
            bits = (bits & (bits > 0)) >> 52;
            bits = LOOK_BLEND(look_l8, bits > LOOK_FLOAT_BITS, none + LOOK_FLOAT_BITS, bits);
            const look_d8 found = __builtin_convertvector(bits, look_d8);
            total += found;
            worst = LOOK_BLEND(look_d8, found > worst, found, worst);
            memcpy(figure + i, &found, sizeof found);
        }
        look_worst(e, &worst, figure, at, m);
    }
    e->sum = LOOK_TOTAL(total);
}

static void look_widen(double *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LOOK <= n; i += LOOK) {
        look_f8 v;
        LOOK_LOAD(v, x + i);
        const look_d8 wide = LOOK_WIDE(v);
        memcpy(y + i, &wide, sizeof wide);
    }
    for (; i < n; i++)
        y[i] = (double)x[i];
}

static void look_sizes(float *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LOOK <= n; i += LOOK) {
        look_i8 v;
        LOOK_LOAD(v, x + i);
        v &= 0x7fffffff;
        memcpy(y + i, &v, sizeof v);
    }
    for (; i < n; i++)
        y[i] = x[i] < 0 ? -x[i] : x[i];
}
