/* monte_carlo.c - float kernels whose every rounding is random (pass_random.c), and what their samples tell.
 *
 * How many digits of a result mean anything: compute it several times, each time with other rounding errors, and see how
 * far the results lie apart. Parker 1997; Sohier et al. 2021, "Confidence intervals for stochastic arithmetic". */
#include "internal.h"
#include "reference.h"

#define NN_DRAWN(level)                                                                                             \
    extern const nn_kernel_set nn_kernels_##level##_random, nn_kernels_##level##_f64;                              \
    extern nn_draw_fn *const nn_draw_##level;
#define NN_RANDOM(level)                                                                                            \
    {{#level, &nn_kernels_##level##_random, &nn_kernels_##level##_f64, NULL, &nn_kernels_##level##_random.bf16, {NULL, NULL}}, \
     &nn_draw_##level},
#if defined(NN_HAVE_AVX512)
NN_DRAWN(avx512)
#endif
NN_DRAWN(portable)

static const struct {
    nn_kernels kernels;
    nn_draw_fn *const *draw;
} sets[] = {
#if defined(NN_HAVE_AVX512)
    NN_RANDOM(avx512)
#endif
    NN_RANDOM(portable)
};
enum { SETS = sizeof sets / sizeof sets[0] };

/* A level without a set of its own shares its double kernels with one that has (amx), or gets the one that runs anywhere. Where a
 * double has no register of its own for each of eight lanes another set would gain little, and takes minutes to compile. */
const nn_kernels *nn_kernels_random(const nn_kernels *level)
{
    for (int i = 0; i < SETS; i++)
        if (sets[i].kernels.f64 == level->f64)
            return &sets[i].kernels;
    return &sets[SETS - 1].kernels;
}

void nn_random_seed(const nn_kernels *random, uint64_t seed)
{
    for (int i = 0; i < SETS; i++)
        if (&sets[i].kernels == random)
            (*sets[i].draw)(seed);
}

/* Welford 1962: mean and squared distances in one pass, without the cancellation of the textbook's formula. */
void nn_spread_add(nn_spread *s, const float *x, int64_t n)
{
    const double k = (double)++s->samples;
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i], far = v - s->mean[i];
        s->mean[i] += far / k;
        s->squares[i] += far * (v - s->mean[i]);
        s->zeros[i] += v == 0;
    }
}

void nn_spread_digits(const nn_spread *s, int64_t n, double *bits, nn_figures *f)
{
    enum { FLOAT_BITS = 24 };
    const double log2 = nn_log64(2);
    *f = (nn_figures){.n = n, .index = -1, .least = FLOAT_BITS};
    for (int64_t i = 0; i < n; i++) {
        const double size = s->mean[i] < 0 ? -s->mean[i] : s->mean[i];
        const double variance = s->squares[i] / (double)(s->samples - 1);
        double b = FLOAT_BITS;
        if (!(variance < __builtin_inf()) || (variance > 0 && size == 0))
            b = 0; /* infinite, NaN, or a mean of 0: nothing is known */
        else if (variance > 0)
            b = nn_log64(size * size / variance) / (2 * log2);
        b = b < 0 ? 0 : b > FLOAT_BITS ? FLOAT_BITS : b;
        f->sum += b;
        f->none += b == 0;
        f->flips += s->zeros[i] > 0 && s->zeros[i] < s->samples;
        if (b < f->least || f->index < 0) {
            f->least = b;
            f->index = i;
        }
        if (bits)
            bits[i] = b;
    }
}
