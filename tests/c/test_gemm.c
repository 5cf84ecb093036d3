/* test_gemm.c - nn_gemm against its definition, to the bit: every level and type, ragged shapes, any strides, threads.
 *
 * Operands are allocated to the element, so that the address sanitizer sees any access outside; C is filled with a
 * canary, and what lies between its rows must stay. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nncore.h"
#include "check.h"

enum { CANARY = 0x5a, LAYOUTS = 4 };

typedef struct matrix {
    void *memory, *first; /* element (0, 0) */
    int64_t rs, cs, nbytes;
} matrix;

typedef struct problem {
    int32_t real;
    int64_t m, n, k, rsc;
    matrix a, b;
    void *bias, *want, *c;
    int64_t c_nbytes;
} problem;

#define SPLITMIX_SEED 1
#include "splitmix.h"

static double get(int32_t real, const void *p, int64_t i)
{
    return real == NN_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void set(int32_t real, void *p, int64_t i, double x)
{
    if (real == NN_F64)
        ((double *)p)[i] = x;
    else
        ((float *)p)[i] = (float)x;
}

/* Signs, magnitudes over 2^+-10, now and then a zero: enough for every rounding to matter. */
static double draw(void)
{
    uint64_t r = next_u64();
    if (r % 17 == 0)
        return r & 32 ? -0.0 : 0.0;
    return ldexp((double)((int64_t)(r >> 11) - ((int64_t)1 << 52)), -52 + (int)(r % 21) - 10);
}

/* Row-major; transposed; both strides wide; rows and columns backwards. One element off every alignment but its own. */
static matrix make_matrix(int32_t real, int64_t rows, int64_t columns, int layout)
{
    int64_t size = real == NN_F64 ? 8 : 4, rs = columns, cs = 1, at = 0;
    if (layout == 1)
        rs = 1, cs = rows;
    if (layout == 2)
        rs = 2 * columns + 3, cs = 2;
    if (layout == 3)
        rs = -columns, cs = -1, at = rows * columns - 1;
    int64_t last = rows && columns ? (layout == 3 ? at : (rows - 1) * rs + (columns - 1) * cs) : -1;
    matrix x = {NULL, NULL, rs, cs, (last + 2) * size};
    x.memory = malloc((size_t)x.nbytes);
    for (int64_t i = 0; i < last + 2; i++)
        set(real, x.memory, i, draw());
    x.first = (char *)x.memory + (1 + (last >= 0 ? at : 0)) * size;
    return x;
}

/* The definition: one chain of fma per output, k ascending from +0, bias last. */
static void define(problem *p)
{
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < p->k; k++) {
                double a = get(p->real, p->a.first, i * p->a.rs + k * p->a.cs);
                double b = get(p->real, p->b.first, k * p->b.rs + j * p->b.cs);
                sum = p->real == NN_F64 ? fma(a, b, sum) : (double)fmaf((float)a, (float)b, (float)sum);
            }
            if (p->bias)
                sum = p->real == NN_F64 ? sum + get(NN_F64, p->bias, j) : (double)((float)sum + ((float *)p->bias)[j]);
            set(p->real, p->want, i * p->rsc + j, sum);
        }
}

static problem make_problem(int32_t real, int64_t m, int64_t n, int64_t k, int variant)
{
    int64_t size = real == NN_F64 ? 8 : 4;
    problem p = {.real = real, .m = m, .n = n, .k = k, .rsc = n + variant % 3};
    p.a = make_matrix(real, m, k, variant % LAYOUTS);
    p.b = make_matrix(real, k, n, variant / LAYOUTS % LAYOUTS);
    p.c_nbytes = (m ? (m - 1) * p.rsc + n : 0) * size;
    p.want = malloc((size_t)p.c_nbytes + 1);
    p.c = malloc((size_t)p.c_nbytes + 1);
    memset(p.want, CANARY, (size_t)p.c_nbytes + 1);
    if (variant % 2) {
        p.bias = malloc((size_t)(n * size) + 1);
        for (int64_t j = 0; j < n; j++)
            set(real, p.bias, j, draw());
    }
    define(&p);
    return p;
}

static void free_problem(problem *p)
{
    free(p->a.memory);
    free(p->b.memory);
    free(p->bias);
    free(p->want);
    free(p->c);
}

static void solve(const problem *p, const nn_kernels *kernels, int32_t threads, void *scratch)
{
    memset(p->c, CANARY, (size_t)p->c_nbytes + 1);
    int32_t status = nn_gemm(kernels, p->real, threads, p->c, p->a.first, p->b.first, p->bias, p->m, p->n, p->k, p->rsc,
                             p->a.rs, p->a.cs, p->b.rs, p->b.cs, scratch);
    CHECK(status == NN_OK, "status %d", status);
    CHECK(!memcmp(p->c, p->want, (size_t)p->c_nbytes + 1), "%s %s %lld x %lld x %lld, strides %lld %lld, %lld %lld, %d threads",
          nn_kernels_name(kernels), p->real == NN_F64 ? "f64" : "f32", (long long)p->m, (long long)p->n, (long long)p->k,
          (long long)p->a.rs, (long long)p->a.cs, (long long)p->b.rs, (long long)p->b.cs, threads);
}

/* One shape on every level this CPU has. Software fma is slow, so "portable" sees the small shapes only. */
static void every_level(int32_t real, int64_t m, int64_t n, int64_t k, int variant, void *scratch)
{
    static const int32_t threads[] = {2, 3, 7};
    problem p = make_problem(real, m, n, k, variant);
    for (int32_t level = 1; nn_isa_name(level); level++) {
        const nn_kernels *kernels = nn_kernels_named(nn_isa_name(level));
        if (!kernels || (level == 1 && m * n * k > 4000))
            continue;
        solve(&p, kernels, 1, scratch);
        if (variant % 5 == 0)
            solve(&p, kernels, threads[variant / 5 % 3], scratch);
    }
    free_problem(&p);
}

static void shapes(int32_t real, void *scratch)
{
    static const int64_t sizes_m[] = {0, 1, 2, 5, 6, 7, 13, 14, 15, 29}, sizes_n[] = {0, 1, 7, 8, 16, 17, 31, 32, 33, 50};
    static const int64_t sizes_k[] = {0, 1, 3, 17, 256, 257};
    int variant = 0;
    for (size_t i = 0; i < sizeof sizes_m / sizeof *sizes_m; i++)
        for (size_t j = 0; j < sizeof sizes_n / sizeof *sizes_n; j++)
            for (size_t l = 0; l < sizeof sizes_k / sizeof *sizes_k; l++)
                every_level(real, sizes_m[i], sizes_n[j], sizes_k[l], variant += 7, scratch);
    /* Rows in the lanes; strips in several groups, some read in place and some packed; panels used up one by one. */
    for (int layout = 0; layout < LAYOUTS * LAYOUTS; layout++) {
        every_level(real, 40, 5, 9, layout, scratch);
        every_level(real, 250, 36, 7, layout, scratch);
        every_level(real, 610, 35, 3, layout, scratch);
        every_level(real, 9, 70, 520, layout, scratch);
    }
    /* More than one block of N and of K; bands of rows and of columns. */
    every_level(real, 3, 600, 1030, 0, scratch);
    every_level(real, 70, 9, 1030, 5, scratch);
    every_level(real, 33, 70, 40, 10, scratch);
}

static void refusals(void *scratch)
{
    const nn_kernels *best = nn_kernels_named("best");
    float c = 7, x = 1;
#define GEMM(real, threads, m, rsc, scratch) \
    nn_gemm(best, real, threads, &c, &x, &x, NULL, m, 1, 1, rsc, 1, 1, 1, 1, scratch)
    CHECK(GEMM(NN_U8, 1, 1, 1, scratch) == NN_ERR_ARGUMENT, "a matrix of bytes");
    CHECK(GEMM(NN_F32, 0, 1, 1, scratch) == NN_ERR_ARGUMENT, "no thread");
    CHECK(GEMM(NN_F32, NN_MAX_THREADS + 1, 1, 1, scratch) == NN_ERR_ARGUMENT, "too many threads");
    CHECK(GEMM(NN_F32, 1, -1, 1, scratch) == NN_ERR_ARGUMENT, "negative size");
    CHECK(GEMM(NN_F32, 1, 1, 0, scratch) == NN_ERR_ARGUMENT, "rows of c overlap");
    CHECK(GEMM(NN_F32, 1, 1, 1, NULL) == NN_ERR_ARGUMENT, "no scratch");
    CHECK(c == 7, "c touched");
    CHECK(GEMM(NN_F32, 1, 1, 1, scratch) == NN_OK && c == 1, "c = %g", (double)c);
    CHECK(!nn_kernels_named("no such level") && !nn_isa_name(-1) && !nn_isa_name(99), "invented a level");
}

int main(void)
{
    void *scratch = aligned_alloc(64, (size_t)nn_scratch_nbytes(7));
    shapes(NN_F32, scratch);
    shapes(NN_F64, scratch);
    refusals(scratch);
    free(scratch);
    return check_summary("test_gemm");
}
