/* instruments.c - what can be seen of values that a tape has made: figures of a tensor, of an update, of an error.
 *
 * Nothing here runs while nobody watches. All sums are in double: squares of float activations of size 1e-24 are 0 in
 * float (numerics.md, section 2). Values are read, never changed. */
#include <string.h>

#include "internal.h"

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

/* The exponent of |x| as frexp counts it less one: 2^e <= |x| < 2^(e + 1) for a normal x; -1023 below the normal numbers. */
static int64_t exponent_of(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    return (int64_t)(u >> 52 & 0x7ff) - 1023;
}

static int is_finite(double x) { return exponent_of(x) != 1024; }

static double power_of_two(int64_t e)
{
    uint64_t u = (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &u, 8);
    return x;
}

static double size_of(double x) { return x < 0 ? -x : x; }

void nn_describe(nn_statistics *s, const float *x, int64_t n, double low, double high)
{
    int64_t exponent[256] = {0};
    *s = (nn_statistics){.n = n};
    double sum = 0;
    uint32_t smallest = 0x7f800000, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t u = bits_of(x[i]) & 0x7fffffff;
        exponent[u >> 23]++;
        s->zeros += u == 0;
        s->saturated += (double)x[i] <= low || (double)x[i] >= high;
        if (u >= 0x7f800000) {
            s->nans += u > 0x7f800000;
            continue;
        }
        smallest = u && u < smallest ? u : smallest;
        largest = u > largest ? u : largest;
        sum += (double)x[i] * (double)x[i];
    }
    s->infinities = exponent[255] - s->nans;
    s->subnormals = exponent[0] - s->zeros;
    s->sum_squares = sum;
    float f;
    memcpy(&f, &smallest, 4);
    s->smallest = smallest == 0x7f800000 ? 0 : f;
    memcpy(&f, &largest, 4);
    s->largest = f;
    memcpy(s->exponent, exponent, sizeof exponent);
}

int64_t nn_count_dead(uint8_t *alive, const float *y, int64_t rows, int64_t columns)
{
    int64_t dead = columns;
    memset(alive, 0, (size_t)columns);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            alive[j] |= y[i * columns + j] != 0;
    for (int64_t j = 0; j < columns; j++)
        dead -= alive[j];
    return dead;
}

void nn_compare_update(nn_update *u, const float *before, const float *after, const float *g, int64_t n)
{
    *u = (nn_update){.n = n};
    for (int64_t i = 0; i < n; i++) {
        const double step = (double)after[i] - (double)before[i];
        u->asked += g[i] != 0;
        u->lost += g[i] != 0 && after[i] == before[i];
        u->moved += step * step;
        u->kept += (double)before[i] * (double)before[i];
    }
}

/* An ulp of float at a value: the spacing there, that of the subnormals below 2^-126. */
static double float_ulp(double x)
{
    int64_t e = exponent_of(x);
    return power_of_two((e < -126 ? -126 : e > 127 ? 127 : e) - 23);
}

void nn_compare_twin(nn_errors *e, const float *y, const double *truth, int64_t n)
{
    *e = (nn_errors){.n = n, .index = -1};
    for (int64_t i = 0; i < n; i++) {
        const double got = (double)y[i], want = truth[i];
        double ulps = 0;
        if (is_finite(got) && is_finite(want))
            ulps = size_of(got - want) / float_ulp(want);
        else if (got != want && (got == got || want == want))
            ulps = __builtin_inf();
        e->sum += ulps;
        if (ulps > e->worst) {
            e->worst = ulps;
            e->index = i;
        }
    }
}

void nn_compare_terms(nn_errors *e, const double *sum, const double *sizes, int64_t n)
{
    enum { FLOAT_BITS = 24 };
    *e = (nn_errors){.n = n, .index = -1};
    for (int64_t i = 0; i < n; i++) {
        if (!is_finite(sum[i]) || !is_finite(sizes[i]) || !(sizes[i] > 0))
            continue;
        int64_t bits = exponent_of(sizes[i]) - exponent_of(sum[i]);
        bits = bits > FLOAT_BITS ? FLOAT_BITS : bits < 0 ? 0 : bits;
        e->sum += (double)bits;
        if ((double)bits > e->worst) {
            e->worst = (double)bits;
            e->index = i;
        }
    }
}

void nn_widen(double *y, const float *x, int64_t n, int32_t sizes)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = sizes ? size_of((double)x[i]) : (double)x[i];
}
