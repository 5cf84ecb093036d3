/* kernels.c - the inner loops, in C. network.py calls them through cffi. */
#include <stdint.h>

/* y (rows) = the class of each row of x (rows, columns): not learned yet, always 0. */
void predict(int32_t *y, const uint8_t *x, int64_t rows, int64_t columns)
{
    (void)x;
    (void)columns;
    for (int64_t i = 0; i < rows; i++)
        y[i] = 0;
}
