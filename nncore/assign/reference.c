/* reference.c - a fixed piece of the work that projects do: dense layers, and a walk over more memory than caches hold.
 * Prints the seconds of its median pass. Plain C without -march: the same instructions everywhere. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PASSES = 5, N = 128, LARGE = 1 << 19 };

static float a[N][N], b[N][N], c[N][N], large[LARGE];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pass(void)
{
    for (int r = 0; r < 2; r++) {
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++)
                    c[i][j] += a[i][k] * b[k][j];
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                c[i][j] = c[i][j] > 1.0f ? 1.0f : 0.5f * c[i][j];
    }
    for (int i = 0; i < LARGE; i++)
        large[i] = 0.999f * large[i] + c[i % N][i / N % N];
}

static int by_value(const void *x, const void *y)
{
    double p = *(const double *)x, q = *(const double *)y;
    return (p > q) - (p < q);
}

int main(void)
{
    double took[PASSES];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (float)((i * 7 + j * 3) % 11) / 16.0f;
            b[i][j] = (float)((i * 5 + j) % 13) / 16.0f - 0.3f;
        }
    pass();
    for (int i = 0; i < PASSES; i++) {
        double start = now();
        pass();
        took[i] = now() - start;
    }
    qsort(took, PASSES, sizeof *took, by_value);
    FILE *file = fopen("seconds.txt", "w");
    if (!file)
        return 1;
    fprintf(file, "%.9f %g\n", took[PASSES / 2], (double)(large[7] + c[3][5]));
    return fclose(file) != 0;
}
