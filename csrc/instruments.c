/* instruments.c - what can be seen of values that a tape has made: figures of a tensor, of an update, of an error.
 *
 * All sums are in double: squares of float activations of size 1e-24 are 0 in float (numerics.md, section 2). Values are
 * read, never changed. The loops are those of ops/instruments_kernel.h, at the level that needs nothing: watch.c, which has a
 * training to hold up, calls them at the training's own. */
#include "internal.h"

extern const nn_kernel_set nn_kernels_portable_f32;

void nn_describe(nn_statistics *s, const float *x, int64_t n, double low, double high)
{
    nn_kernels_portable_f32.look.describe(s, x, n, low, high);
}

/* Down each column to its first value that is not 0: most columns live, and are left after a few rows. */
int64_t nn_count_dead(const float *y, int64_t rows, int64_t columns)
{
    int64_t dead = 0;
    for (int64_t j = 0; j < columns; j++) {
        int64_t i = 0;
        while (i < rows && y[i * columns + j] == 0)
            i++;
        dead += i == rows;
    }
    return dead;
}

void nn_compare_update(nn_update *u, const float *before, const float *after, const float *g, int64_t n)
{
    nn_kernels_portable_f32.look.update(u, before, after, g, n);
}

void nn_compare_twin(nn_errors *e, const float *y, const double *truth, int64_t n)
{
    nn_kernels_portable_f32.look.twin(e, y, truth, n);
}

void nn_compare_terms(nn_errors *e, const double *sum, const float *sizes, int64_t n)
{
    nn_kernels_portable_f32.look.terms(e, sum, sizes, n);
}
