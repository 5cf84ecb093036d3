/* batch_norm.c - batch normalisation: every channel to mean 0 and variance 1 over the batch, then scaled and shifted.
 *
 *   y = (x - mean) a + beta,   a = gamma / sqrt(var + eps)                Ioffe and Szegedy 2015, algorithm 1
 *   batch_norm_fwd        mean = sum_i x_i / n, var = sum_i (x_i - mean)^2 / n of the rows of the shard
 *   batch_norm_fixed_fwd  mean, var given: running statistics, at prediction or frozen
 *   batch_norm_bwd        dbeta = sum_i dy_i,  dgamma = sum_i dy_i (x_i - mean) / sqrt(var + eps),
 *                         dx_i = a (dy_i - p - (x_i - mean) q),  p = dbeta / n,  q = dgamma / (n sqrt(var + eps)),
 *                         p = q = 0 where the statistics are fixed: they are then constants
 *   running_stats         r = (1 - m) r + m s for the mean and the variance, s the mean of the shards' statistics (their
 *                         sum in tree_sum's order, divided), the variance times n / (n - 1): unbiased, as torch
 *
 * Shapes: x, y, dx, dy (N, C): rows are samples, or samples and pixels (NHWC); mean, var, dgamma, dbeta (shards, C) over n =
 * N / shards rows each; given statistics, gamma, beta (C). Absent: gamma 1, beta 0, mean 0 (to fold a layer into weights).
 * y may be x, dx may be dy. work: scratch that the memory plan makes room for, 2 chunks shards C + shards C elements
 * forward, 2 chunks shards C + 3 shards C backward, chunks = ceil(n / chunk).
 *
 * What is hard is the order and the mean. sum x^2 - n mean^2 loses everything at a large mean (numerics.md E3), and two
 * passes over all rows read a large x twice. So the rows are cut into chunks that stay in the first-level cache (`chunk`
 * rows, a function of the shape: graph/ops/norm.py); each is read twice, for its mean and for its squared deviations from
 * that mean, and chunks are combined by Chan, Golub and LeVeque 1983, eq. 2.1: d = m_b - m_a, m = m_a + d n_b / n, M = M_a +
 * M_b + d^2 n_a n_b / n. All of it happens on x - x_0, x_0 the shard's first row: its mean is at most sqrt(n) deviations
 * from 0 whatever x is, which bounds the loss. A constant channel has variance 0 exactly.
 * The order, so the bits, is a function of the shape alone (numerics.md R2): row i of a chunk goes to chain i mod 4 of four
 * from +0, products by fma, the chains are added (0 + 1) + (2 + 3), chunks pairwise by index as in reduce.c. No step mixes
 * channels, so vector widths do not matter; threads take chunks. y = fma(x - mean, a, beta) rather than fma(x, a, beta -
 * mean a), which would lose |mean a| u.
 *
 * Not finite: a NaN or infinity makes its channel of its shard NaN in y, and no other.
 * Error, L levels of chunks, k = ceil(chunk / 4) + 2: mean u |mean| + gamma_{k + 4 L + 3} avg |x - x_0|; the rest follows in
 * bench/cases/batch_norm.py.
 */
#ifdef NN_PASS_LIST
NN_OP(batch_norm_fwd, BATCH_NORM_FWD)
NN_OP(batch_norm_fixed_fwd, BATCH_NORM_FIXED_FWD)
NN_OP(batch_norm_bwd, BATCH_NORM_BWD)
NN_OP(running_stats, RUNNING_STATS)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void ref_zero(real *work, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        work[i] = 0;
}

static real ref_inverse(const nn_call *c, real var) { return 1 / v_sqrt(var + (real)c->scalar[0]); }

/* y = (x - mean) gamma / sqrt(var + eps) + beta on `rows` rows. */
static void ref_normalise(const nn_call *c, real *y, const real *x, int64_t rows, const real *mean, const real *var,
                          const real *gamma, const real *beta)
{
    const int64_t C = c->dim[1];
    for (int64_t i = 0; i < rows * C; i++) {
        int64_t j = i % C;
        real a = (gamma ? gamma[j] : 1) * ref_inverse(c, var[j]);
        y[i] = (x[i] - (mean ? mean[j] : 0)) * a + (beta ? beta[j] : 0);
    }
}

static void batch_norm_fwd(const nn_call *c)
{
    const int64_t C = c->dim[1], shards = c->dim[2], n = c->dim[0] / shards, chunk = c->dim[3];
    for (int64_t s = 0; s < shards; s++) {
        real *mean = (real *)c->arg[1] + s * C, *var = (real *)c->arg[2] + s * C;
        const real *x = (const real *)c->arg[4] + s * n * C;
        for (int64_t j = 0; j < C; j++) {
            real sum = 0, squares = 0;
            for (int64_t i = 0; i < n; i++)
                sum += x[i * C + j];
            mean[j] = sum / (real)n;
            for (int64_t i = 0; i < n; i++)
                squares += (x[i * C + j] - mean[j]) * (x[i * C + j] - mean[j]);
            var[j] = squares / (real)n;
        }
        ref_normalise(c, (real *)c->arg[0] + s * n * C, x, n, mean, var, c->arg[5], c->arg[6]);
    }
    ref_zero(c->arg[3], (2 * ((n + chunk - 1) / chunk) + 1) * shards * C);
}

static void batch_norm_fixed_fwd(const nn_call *c)
{
    ref_normalise(c, c->arg[0], c->arg[1], c->dim[0], c->arg[2], c->arg[3], c->arg[4], c->arg[5]);
}

static void batch_norm_bwd(const nn_call *c)
{
    const int64_t C = c->dim[1], shards = c->dim[2], n = c->dim[0] / shards, chunk = c->dim[3], fixed = c->dim[4];
    for (int64_t s = 0; s < shards; s++)
        for (int64_t j = 0; j < C; j++) {
            const int64_t at = s * n * C + j, stat = fixed ? j : s * C + j;
            real *dx = (real *)c->arg[0] + at;
            const real *dy = (const real *)c->arg[4] + at, *x = (const real *)c->arg[5] + at, *gamma = c->arg[8];
            const real mean = ((const real *)c->arg[6])[stat], inverse = ref_inverse(c, ((const real *)c->arg[7])[stat]);
            real dgamma = 0, dbeta = 0;
            for (int64_t i = 0; i < n; i++) {
                dbeta += dy[i * C];
                dgamma += dy[i * C] * ((x[i * C] - mean) * inverse);
            }
            ((real *)c->arg[1])[s * C + j] = dgamma;
            ((real *)c->arg[2])[s * C + j] = dbeta;
            const real a = (gamma ? gamma[j] : 1) * inverse, p = fixed ? 0 : dbeta / (real)n, q = fixed ? 0 : dgamma / (real)n;
            for (int64_t i = 0; i < n; i++)
                dx[i * C] = a * (dy[i * C] - p - (x[i * C] - mean) * inverse * q);
        }
    ref_zero(c->arg[3], (2 * ((n + chunk - 1) / chunk) + 3) * shards * C);
}

static void running_stats(const nn_call *c)
{
    const int64_t C = c->dim[0], shards = c->dim[1];
    const real m = (real)c->scalar[0], unbiased = (real)((double)c->dim[2] / (double)(c->dim[2] - 1));
    for (int64_t j = 0; j < C; j++) {
        real *mean = c->arg[0], *var = c->arg[1], mean_sum = 0, var_sum = 0;
        for (int64_t s = 0; s < shards; s++) {
            mean_sum += ((const real *)c->arg[2])[s * C + j];
            var_sum += ((const real *)c->arg[3])[s * C + j];
        }
        mean[j] = (1 - m) * mean[j] + m * (mean_sum / (real)shards);
        var[j] = (1 - m) * var[j] + m * (var_sum / (real)shards * unbiased);
    }
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
#include "batch_norm_kernel.h"
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
/* Run pass `pass` of a kernel over n chunks or channels, and wait: the next one reads what all ranks wrote. */
static void drive_pass(const nn_call *c, int32_t op, int32_t pass, int64_t n, int64_t grain)
{
    nn_call part = *c;
    part.pass = pass;
    nn_drive_range(&part, op, n, grain);
    nn_team_barrier(c->team, &c->fault->code);
}

/* The sums of chunks, then of channels, then all elements. */
static void drive_batch(const nn_call *c, int32_t op)
{
    const int64_t n = c->dim[0] / c->dim[2], chunks = (n + c->dim[3] - 1) / c->dim[3] * c->dim[2];
    drive_pass(c, op, 0, chunks, 1);
    drive_pass(c, op, 1, c->dim[1], 16);
    drive_pass(c, op, 2, chunks, 1);
}

static void batch_norm_fwd(const nn_call *c) { drive_batch(c, NN_OP_BATCH_NORM_FWD); }
static void batch_norm_bwd(const nn_call *c) { drive_batch(c, NN_OP_BATCH_NORM_BWD); }
NN_DRIVE_ROWS(batch_norm_fixed_fwd, BATCH_NORM_FIXED_FWD)
NN_DRIVE_ELEMENTS(running_stats, RUNNING_STATS)
#endif
