/* monte_carlo.c - float kernels whose every rounding is random (vec/vec_random.h), and what their samples tell.
 *
 * How many digits of a result mean anything: compute it several times, each time with other rounding errors, and see how
 * far the results lie apart. Parker 1997; Sohier et al. 2021, "Confidence intervals for stochastic arithmetic". */
#define NN_ISA_RANDOM
#define NN_REAL_IS_DOUBLE 0
#define NN_SET nn_kernels_random_f32
#include "pass_kernel.c"
#include "reference.h"

extern const nn_kernel_set nn_kernels_portable_f32, nn_kernels_portable_f64;

static const nn_kernels random_kernels = {
    "random", &nn_kernels_random_f32, &nn_kernels_portable_f64, NULL, &nn_kernels_random_f32.bf16, {NULL, NULL}};

const nn_kernels *nn_kernels_random(void) { return &random_kernels; }

void nn_random_seed(uint64_t seed)
{
    uint32_t block[4];
    philox_block(block, seed, NN_STREAM_MONTE_CARLO, 0, 0);
    nn_noise = (uint64_t)block[0] << 32 | block[1];
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
