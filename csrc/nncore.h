#pragma once
#include <stddef.h>
#include <stdint.h>

/* nncore.h - the public contract of the kernel library, and the very text that cffi parses.
 *
 * A network is run as a *tape*: a flat list of instructions over a table of buffers. Each instruction is one op;
 * nn_tape_run carries it out on a team of threads. Nothing here allocates, prints, aborts, reads the environment or
 * keeps a mutable global; what can fail returns a status, fills the caller's fault and leaves its outputs alone.
 *
 * Letters: N batch, I inputs of a layer, O outputs, M K N the sizes of a matrix product, C classes, n any count.
 * Sizes are int64_t in elements; byte counts are called nbytes. `real` is float or, on the float64 twin, double.
 */

enum {
    NN_NUMERICS_ID = 1,  /* raised whenever any bit of math mode f32 changes; stored in every checkpoint */
    NN_MAX_UPSAMPLE = 64, /* the largest factor of an upsampling */
    NN_MAX_ARGS = 12,
    NN_MAX_DIMS = 20,
    NN_MAX_SCALARS = 16,
    NN_MAX_EXTERNALS = 12,
    NN_MAX_THREADS = 64
};

typedef enum nn_status {
    NN_OK = 0,
    NN_ERR_ARGUMENT = 1,  /* a malformed tape or call: a bug of the caller */
    NN_ERR_NOMEM = 2,     /* memory ran out, or a region is smaller than the tape needs */
    NN_ERR_STOPPED = 3,   /* the stop flag was raised; everything up to `step` is done */
    NN_ERR_NONFINITE = 4, /* a watched value became NaN or infinite */
    NN_ERR_RANGE = 5,     /* an index or label outside its range */
    NN_ERR_FORMAT = 6,    /* bytes from outside that are not what they claim to be */
    NN_ERR_LIMIT = 7,     /* bytes from outside that ask for more than they may */
    NN_ERR_FLAGGED = 8    /* an instruction raised an IEEE flag that nn_run.fatal names */
} nn_status;

/* Element types. NN_REAL is float on a tape and double on its float64 twin. */
typedef enum nn_dtype { NN_REAL = 0, NN_F32 = 1, NN_F64 = 2, NN_U8 = 3, NN_I32 = 4, NN_I64 = 5 } nn_dtype;

/* Where a buffer lives. PARAM and STATE persist and are shared by all tapes of a model, WORK is one tape's scratch
 * plan, EXTERNAL is data of the caller's: `offset` is then its index in nn_run.external. */
typedef enum nn_region { NN_PARAM = 0, NN_STATE = 1, NN_WORK = 2, NN_EXTERNAL = 3 } nn_region;

/* Philox streams: each use of random numbers has its own, so none depends on how many another drew. */
typedef enum nn_stream {
    NN_STREAM_SHUFFLE = 1, NN_STREAM_SPLIT = 2, NN_STREAM_INIT = 3, NN_STREAM_DROPOUT = 4, NN_STREAM_GLYPHS = 5,
    NN_STREAM_AUGMENT = 6, NN_STREAM_ROUNDING = 7, NN_STREAM_MONTE_CARLO = 8,
    NN_STREAM_SWEEP = 32, NN_STREAM_LAB = 33
} nn_stream;

/* Kinds of NN_OP_SCHEDULE; their formulas and scalars stand in csrc/ops/schedule.c. */
typedef enum nn_schedule {
    NN_SCHEDULE_CONSTANT = 0, NN_SCHEDULE_POWER = 1, NN_SCHEDULE_EXPONENTIAL = 2, NN_SCHEDULE_PIECEWISE = 3,
    NN_SCHEDULE_ONE_CYCLE = 4, NN_SCHEDULE_COSINE = 5,
    NN_SCHEDULE_COSINE_RESTARTS = 6, NN_SCHEDULE_GEOMETRIC = 7, NN_SCHEDULE_WARM_AVERAGE = 8, NN_SCHEDULE_RUNNING_MEAN = 9
} nn_schedule;

/* ---- ops -------------------------------------------------------------------------------------------------------
 * One line an op: formula; buffers, outputs first (x? may be absent, x! is read and written); dims; scalars. Ops that add up
 * may have an accumulator's code as one dim more (nn_sums_dim).
 * The story of each is in csrc/ops/<family>.c, its derivative in nncore/graph/ops/. The numbers are private to a
 * build; files store the names. exact: 0, elementary functions good to 2 ulp (vec/elementary.h), of a product those of its
 * activation; or 1, correctly rounded ones (vec/exact_f64.h), where the tape is of floats. */
typedef enum nn_opcode {
    /* gemm.c. act is the opcode of an elementwise _fwd op fused as epilogue, or -1; its scalars follow. planes: the math mode, 0
     * f32, 1 bf16, 2 bf16x3, 3 bf16x6 (bf16.h) */
    NN_OP_DENSE_FWD,        /* y = act(x w + b). y x w b?; N I O act planes exact; scalars of act */
    NN_OP_DENSE_BWD_DATA,   /* dx = dy w^T. dx dy w; N I O planes */
    NN_OP_DENSE_BWD_WEIGHT, /* dw[s] = x[s]^T dy[s], rows split in shards. dw x dy; N I O shards planes */
    /* conv.c. x (N,H,W,C), w (R,S,C/G,K), y (N,P,Q,K); strides sh sw, padding at the top and left pt pl, dilations dh dw,
     * groups G; act and planes as in dense_fwd, planes 0 if G > 1 */
    NN_OP_CONV_FWD,        /* y = act(x * w + b). y x w b?; N H W C R S K P Q sh sw pt pl dh dw G act planes exact;
                              scalars of act */
    NN_OP_CONV_BWD_DATA,   /* dx = act(dy * w turned + b). dx dy w b?; N H W C R S K P Q sh sw pt pl dh dw G act planes exact;
                              scalars of act */
    NN_OP_CONV_BWD_WEIGHT, /* dw[z] = x[z] * dy[z], images split in shards. dw x dy; N H W C R S K P Q sh sw pt pl dh dw G
                              shards planes */
    /* reduce.c */
    NN_OP_SUM_ROWS, /* y[s,j] = sum_i x[s,i,j], i ascending. y x; N C shards */
    NN_OP_SUM_ALL,  /* y[s] = scale sum_i x[s,i]; 16 lanes, chunks of 4096, pairwise. y x; n shards; scale */
    NN_OP_SUM_SQUARES, /* y[0] = scale sum_i x[i]^2, order of SUM_ALL. y x; n; scale */
    NN_OP_SUM_ABS,  /* y[0] = scale sum_i |x[i]|, order of SUM_ALL. y x; n; scale */
    NN_OP_TREE_SUM, /* y = x[0] + ... + x[shards-1] in a fixed binary tree. y x; n shards */
    /* elementwise.c; y may alias any input */
    NN_OP_ADD,          /* y = a + b. y a b; n */
    NN_OP_SUB,          /* y = a - b. y a b; n */
    NN_OP_MUL,          /* y = a b. y a b; n */
    NN_OP_SCALE,        /* y = c x. y x; n; c */
    NN_OP_SCALE_BY,     /* y = s[0] x, s a tensor of one element. y x s; n */
    NN_OP_ADD_SCALED,   /* y = fma(c, b, a). y a b; n; c */
    NN_OP_ADD_SIGN,     /* y = a + c sign(b), sign(0) = 0. y a b; n; c */
    NN_OP_ASSIGN,       /* y := x (an update that is not a gradient). y! x; n */
    NN_OP_FILL,         /* y = c. y; n; c */
    NN_OP_QUOTIENT,     /* y = a / b. y a b; n */
    NN_OP_SQUARE_ROOT,  /* y = sqrt(x), NaN below 0. y x; n */
    NN_OP_EXPONENTIAL,  /* y = exp(x). y x; n exact */
    NN_OP_LOGARITHM,    /* y = log(x), -inf at 0, NaN below. y x; n exact */
    NN_OP_ERROR_FUNCTION, /* y = erf(x). y x; n exact */
    /* activation.c; y may alias x, dx may alias dy. Derivatives are written in y where y determines them */
    NN_OP_STEP_FWD,       /* y = [x >= 0]. y x; n */
    NN_OP_SATLIN_FWD,     /* y = min(max(x, 0), 1). y x; n */
    NN_OP_SATLIN_BWD,     /* dx = dy [0 < y < 1]. dx dy y; n */
    NN_OP_SIGMOID_FWD,    /* y = 1 / (1 + exp(-lambda x)). y x; n exact; lambda */
    NN_OP_SIGMOID_BWD,    /* dx = dy lambda y (1 - y). dx dy y; n; lambda */
    NN_OP_TANH_FWD,       /* y = a tanh(b x). y x; n exact; a b */
    NN_OP_TANH_BWD,       /* dx = dy (b / a) (a - y) (a + y). dx dy y; n; a b */
    NN_OP_RELU_FWD,       /* y = x < 0 ? 0 : x. y x; n */
    NN_OP_RELU_BWD,       /* dx = dy [y > 0]. dx dy y; n */
    NN_OP_LEAKY_RELU_FWD, /* y = x < 0 ? slope x : x. y x; n; slope */
    NN_OP_LEAKY_RELU_BWD, /* dx = y > 0 ? dy : slope dy. dx dy y; n; slope */
    NN_OP_ELU_FWD,        /* y = x > 0 ? lambda x : lambda alpha (exp(x) - 1). y x; n exact; lambda alpha */
    NN_OP_ELU_BWD,        /* dx = dy (y > 0 ? lambda : y + lambda alpha). dx dy y; n; lambda alpha */
    NN_OP_SOFTPLUS_FWD,   /* y = log(1 + exp(x)). y x; n exact */
    NN_OP_SOFTPLUS_BWD,   /* dx = dy / (1 + exp(-x)). dx dy x; n exact */
    NN_OP_GELU_FWD,       /* y = x Phi(x), Phi the normal distribution. y x; n exact */
    NN_OP_GELU_BWD,       /* dx = dy (Phi(x) + x phi(x)), phi = Phi' = exp(-x^2 / 2) / sqrt(2 pi). dx dy x; n exact */
    /* softmax.c; row by row, the row maximum subtracted first */
    NN_OP_SOFTMAX_FWD,     /* y = exp(x - max) / sum. y x; N C exact */
    NN_OP_SOFTMAX_BWD,     /* dx = y (dy - sum_j dy_j y_j). dx dy y; N C */
    NN_OP_LOG_SOFTMAX_FWD, /* y = x - max - log(sum exp(x - max)). y x; N C exact */
    NN_OP_LOG_SOFTMAX_BWD, /* dx = dy - exp(y) sum_j dy_j. dx dy y; N C exact */
    /* pool.c; windows R x S, strides sh sw, padding ph pw left out; x (N, H, W, C), y (N, P, Q, C), P = (H + 2 ph - R) / sh + 1.
     * index holds the tap r S + s, u8 if R S <= 256, else i32; dx sums over the windows of an element, (p, q) ascending */
    NN_OP_MAX_POOL_FWD, /* y = max over the window, index = its first tap. y index x; N H W C R S sh sw ph pw */
    NN_OP_MAX_POOL_BWD, /* dx = sum of dy where the index is here. dx dy index; N H W C R S sh sw ph pw */
    NN_OP_AVG_POOL_FWD, /* y = (1 / n) sum, n taps inside the image. y x; N H W C R S sh sw ph pw */
    NN_OP_AVG_POOL_BWD, /* dx = sum of dy / n. dx dy; N H W C R S sh sw ph pw */
    NN_OP_L2_POOL_FWD,  /* y = sqrt(sum of squares). y x; N H W C R S sh sw ph pw */
    NN_OP_L2_POOL_BWD,  /* dx = x sum of dy / y, 0 where y = 0. dx dy x y; N H W C R S sh sw ph pw */
    /* upsample.c; x (N, H, W, C), y (N, fh H, fw W, C), fh, fw <= NN_MAX_UPSAMPLE; corners as torch's align_corners=False */
    NN_OP_UPSAMPLE_NEAREST_FWD,  /* y = x repeated fh fw times. y x; N H W C fh fw */
    NN_OP_UPSAMPLE_NEAREST_BWD,  /* dx = sum of the copies' dy, row by row. dx dy; N H W C fh fw */
    NN_OP_UPSAMPLE_BILINEAR_FWD, /* y = sum of 4 neighbours by weight. y x; N H W C fh fw */
    NN_OP_UPSAMPLE_BILINEAR_BWD, /* dx = sum of dy by weight, row by row. dx dy; N H W C fh fw */
    /* join.c */
    NN_OP_CONCAT,     /* y[i] = a[i], b[i] and so on, rows of A, B, ... elements side by side. y a b? c? d? e? f? g? h? i? j? k?;
                         rows inputs A B C D E F G H I J K */
    NN_OP_BLOCK_COPY, /* y[n,p,q,k] = x[n, p + a, q + b, k + c], 0 outside x. y x; N H W C P Q K a b c */
    /* loss.c; one loss per row (N), and dz = scale dloss/dz computed along with it */
    NN_OP_SOFTMAX_XENT,   /* loss = logsumexp(z) - z[t]. loss dz z labels; N C exact; scale */
    NN_OP_SOFTMAX_XENT_SOFT, /* loss = logsumexp(z) sum_j t_j - sum_j t_j z_j, any t >= 0. loss dz z t; N C exact; scale */
    NN_OP_SQUARED_ERROR,  /* loss = f sum_j (z - t)^2: f = 1/2 SquaredError, 1/C MSE. loss dz z t; N C; scale f */
    NN_OP_ABSOLUTE_ERROR, /* loss = sum_j |z - t|. loss dz z t; N C; scale */
    NN_OP_HUBER,          /* loss = sum_j |e| <= d ? e^2/2 : d(|e| - d/2). loss dz z t; N C; scale delta */
    NN_OP_BINARY_XENT,    /* loss = sum_j softplus(z) - t z, t in [0, 1]. loss dz z t; N C exact; scale */
    NN_OP_LOGISTIC_LOSS,  /* loss = sum_j log(1 + exp(-t z)), t = -1 or +1. loss dz z t; N C exact; scale */
    NN_OP_HINGE,          /* loss = sum_j max(0, 1 - t z), t = -1 or +1. loss dz z t; N C; scale */
    NN_OP_MULTI_HINGE,    /* loss = sum_{j != t} max(0, 1 + z_j - z_t). loss dz z labels; N C; scale */
    NN_OP_PERCEPTRON,     /* loss = sum_j ([z >= 0] - t) z, t = 0 or 1. loss dz z t; N C; scale */
    NN_OP_ONE_HOT,        /* y[i,j] = j == labels[i] ? high : low. y labels; N C; low high */
    /* gather.c; row r of the step is sample p = cursor + r of the epoch, shuffled by a keyed bijection, then rows[p] */
    NN_OP_GATHER_U8,     /* x[r,j] = (images[row,j] - mean[j]) scale[j]. mean and scale (n), n = 1 or D.
                            x images rows? mean scale; N D n */
    NN_OP_GATHER_F32,    /* the same from float. x data rows? mean scale; N D n */
    NN_OP_GATHER_LABELS, /* t[r] = labels[row] as i32, checked against C; label bytes 1 (u8) or 4 (i32). t labels rows?;
                            N C bytes */
    NN_OP_GATHER_TARGETS,/* t[r,j] = targets[row,j], float to real. t targets rows?; N D */
    /* dropout.c; the mask comes from the counter RNG, so backward is the same op on dy */
    NN_OP_DROPOUT,       /* y = keep ? x (1 / (1 - p)) : 0, keep by (seed, layer, step, element). y x; N D layer per_step; p */
    NN_OP_SPATIAL_DROPOUT, /* y = keep ? x (1 / (1 - p)) : 0 for whole channels, keep by (seed, layer, step, n C + c).
                              y x; N P C layer; p */
    /* batch_norm.c; rows are samples, or samples and pixels; statistics of each shard, of N / shards rows. work is scratch */
    NN_OP_BATCH_NORM_FWD,       /* y = (x - mean) gamma? / sqrt(var + eps) + beta?, mean and biased var of the rows.
                                   y mean var work x gamma? beta?; N C shards chunk; eps */
    NN_OP_BATCH_NORM_FIXED_FWD, /* the same with given statistics. y x mean? var gamma? beta?; N C; eps */
    NN_OP_BATCH_NORM_BWD,       /* dx = a (dy - dbeta / n - z dgamma / n), z = (x - mean) / sqrt(var + eps), or a dy if fixed;
                                   dgamma = sum dy z, dbeta = sum dy. dx dgamma dbeta work dy x mean var gamma?;
                                   N C shards chunk fixed; eps */
    NN_OP_RUNNING_STATS,        /* r = (1 - m) r + m s, s the shards' mean of mean and of var n / (n - 1).
                                   mean! var! batch_mean batch_var; C shards n; m */
    /* augment.c; raw images of a step seen otherwise, drawn by (seed, epoch, cursor + row) */
    NN_OP_WARP,          /* y[i,j] = x at an affine and displaced place, bilinear, 0 outside. y x d?; N H W C shift crop flip;
                            rotate scale shear */
    NN_OP_ELASTIC_FIELD, /* d = alpha Gaussian * uniform(-1, 1), (N, 2, H, W). d; N H W; alpha sigma */
    /* mix.c; the same draws */
    NN_OP_STANDARDISE,   /* y[r,j] = (x[r,j] - mean[j]) scale[j], as GATHER_U8. y x mean scale; N D n */
    /* layer_norm.c; every row to mean 0 and variance 1; inverse = 1 / sqrt(var + eps) of a row */
    NN_OP_LAYER_NORM_FWD,        /* y = (x - mean) inverse gamma? + beta?. y mean inverse x gamma? beta?; N D; eps */
    NN_OP_LAYER_NORM_BWD,        /* dx = inverse (g - sum g / D - z sum g z / D), g = dy gamma?, z = (x - mean) inverse.
                                    dx dy x mean inverse gamma?; N D */
    NN_OP_LAYER_NORM_BWD_WEIGHT, /* dgamma[s] = sum_i dy z, dbeta[s] = sum_i dy. dgamma dbeta dy x mean inverse; N D shards */
    /* local_norm.c; sums over the `size` (odd, at most 129) channels around each */
    NN_OP_LOCAL_NORM_FWD, /* y = x s^-beta, s = k + alpha sum x^2. y s x; N C size exact; k alpha beta */
    NN_OP_LOCAL_NORM_BWD, /* dx = dy s^-beta - 2 alpha beta x sum dy x s^(-beta-1). dx dy x s; N C size exact; k alpha beta */
    NN_OP_ERASE,         /* y = x but for a rectangle of zeros, mean or noise (fill 0, 1, 2) with probability p. y x mean?;
                            N H W C n fill; p low high aspect full */
    NN_OP_NOISE,         /* y = x + sigma N(0, 1). y x; N D; sigma */
    NN_OP_MIX_DRAW,      /* share[r] = the larger part by Beta(alpha, alpha), partner[r] of r's shard. share partner(i32);
                            N shards; alpha */
    NN_OP_MIX_ROWS,      /* y[r] = share[r] x[r] + (1 - share[r]) x[partner[r]]. y x share partner; N D */
    NN_OP_CUTMIX,        /* y[r] = x[r] with a rectangle of x[partner[r]]. y share partner(i32) x; N H W C shards; alpha */
    /* optimizer.c; the rates are f64 tensors of one element. State below 2^-126 in magnitude becomes +0 */
    NN_OP_SGD,       /* w -= rate g. w! g rate; n */
    NN_OP_MOMENTUM,  /* v = mu v - rate g; w += v. w! v! g rate mu; n */
    NN_OP_NESTEROV,  /* v = mu v - rate g; w += mu v - rate g, w being theta + mu v. w! v! g rate mu; n */
    NN_OP_ADAGRAD,   /* r += g^2; w -= rate g / sqrt(r + eps), or (sqrt(r) + eps) if outside. w! r! g rate; n outside; eps */
    NN_OP_RMSPROP,   /* r = rho r + (1 - rho) g^2; w -= rate g / sqrt(r + eps), or outside. w! r! g rate; n outside; rho eps */
    NN_OP_ADADELTA,  /* Zeiler 2012, algorithm 1, times rate. w! r! s! g rate; n; rho eps */
    NN_OP_ADAM,      /* Kingma and Ba 2015; AdamW by decay > 0; t = count + 1. w! m! v! g rate count(i64); n; beta1 beta2
                        eps decay */
    NN_OP_DECAY,     /* w -= zeta w, after the update. w!; n; zeta */
    NN_OP_INCREMENT, /* count += 1. count!(i64) */
    /* average.c; around an update */
    NN_OP_CLIP,        /* y = min(max(x, -c), c), NaN passes. y x; n; c */
    NN_OP_CLIP_FACTOR, /* f[0] = min(1, c / sqrt(s[0])), s a sum of squares. f s; ; c */
    NN_OP_BLEND,       /* e += rate (w - e), or w itself at rate 1. e! w rate; n */
    /* schedule.c */
    NN_OP_SCHEDULE,  /* value(f64) = f(count); kinds, scalars, table(f64): schedule.c. value count(i64) table?; kind n */
    /* init.c; element i of parameter `id` from the Philox stream INIT, computed in double, rounded once */
    NN_OP_INIT_UNIFORM, /* w = U(-limit, limit). w; n id; limit */
    NN_OP_INIT_NORMAL,  /* w = deviation N(0, 1), Box-Muller, not truncated. w; n id; deviation */
    /* round.c; a format (nn_format) and direction (nn_rounding) */
    NN_OP_ROUND_TO,     /* y = x rounded to the format; y = x on the twin. y x; n precision emin emax subnormals saturate rounding
                           id; largest */
    /* metric.c */
    NN_OP_METRICS,      /* sums(f64[4]) += N loss, correct, N, 0; a row with NaN is wrong. sums! loss z? labels?; N C */
    NN_OP_CHECK_FINITE, /* faults with NN_ERR_NONFINITE if x holds NaN or inf. x; n */
    NN_OP_ALL_FINITE,   /* y[0] = no x is NaN or inf, and before[0] != 0 ? 1 : 0. y x before?; n */
    NN_OP_LOSS_SCALE,   /* finite[0] != 0: after `interval` such steps in a row s *= 2; else s /= 2 and what stands behind is left
                           out of the step. counts: in a row, left out, whether this step ends. s! counts!(i64) finite; interval */
    NN_OP_ARGMAX,       /* y(i32) = first index of the row's maximum, or of its first NaN. y z; N C */
    NN_OP_TOP_K,        /* hits(f64[1]) += rows whose label is among the k largest. hits! z labels; N C k */
    NN_OP_COUNT_
} nn_opcode;

/* ---- tapes ----------------------------------------------------------------------------------------------------- */

typedef struct nn_buffer {
    int32_t region; /* nn_region */
    int32_t dtype;  /* nn_dtype */
    int64_t offset; /* bytes from the region's base; for NN_EXTERNAL the index of the external */
    int64_t count;  /* elements; for NN_EXTERNAL a lower bound, or 0 */
} nn_buffer;

typedef struct nn_instr {
    int32_t op;                 /* nn_opcode */
    int32_t n_args;
    int32_t arg[NN_MAX_ARGS];   /* buffer indices, outputs first; -1 where absent */
    int64_t dim[NN_MAX_DIMS];
    double scalar[NN_MAX_SCALARS];
} nn_instr;

typedef struct nn_tape {
    int32_t real;  /* NN_F32, or NN_F64 for the twin */
    int32_t batch; /* samples that one step consumes */
    int64_t n_buffers;
    int64_t n_instrs;
    const nn_buffer *buffers;
    const nn_instr *instrs;
    int64_t nbytes[3]; /* what PARAM, STATE and WORK need */
} nn_tape;

/* Instructions that are walked together, band by band: all of them over one part of the samples (or of the weights), then
 * over the next, so that what one makes is still in the cache when the next one wants it. */
typedef struct nn_group {
    int32_t instrs; /* how many, at the first of them; 0 at the others */
    int32_t bands;  /* into how many bands each rank's share is cut; 1 for an instruction by itself */
} nn_group;

/* Run `steps` steps of a tape; an epoch is its whole batches and then one step of the tail's tape. */
typedef struct nn_segment {
    const nn_tape *tape;
    int64_t steps;
    const nn_group *groups; /* of the tape's instructions, by nn_find_groups for the same kernels and threads; or NULL */
} nn_segment;

/* Flags of nn_run. CHECK: after each instruction look for the first non-finite output and fault on it. */
enum { NN_RUN_SHUFFLE = 1, NN_RUN_CHECK = 2 };

/* The exceptions of IEEE 754 (section 7) that the kernels of an instruction raise, as the processor's sticky flags tell.
 * Inexact is not looked at: nearly every operation is. Where a product runs in another math mode than f32 the flags say
 * nothing (tile instructions touch none), and its outputs are looked through instead: NaN or infinity made of operands
 * that hold none count as invalid or overflow. */
enum { NN_INVALID = 1, NN_DIVIDE = 2, NN_OVERFLOW = 4, NN_UNDERFLOW = 8, NN_KINDS = 4 };

/* What one instruction raised in a run, kinds in the order of their bits. */
typedef struct nn_event {
    int64_t steps[NN_KINDS]; /* completed steps in which any rank raised it */
    int64_t first[NN_KINDS]; /* the first of them, if there is one */
} nn_event;

/* ---- a step under instruments (watch.c), in nn_run.watch ------------------------------------------------------- */

typedef struct nn_statistics {
    int64_t n, nans, infinities, zeros, subnormals;
    int64_t saturated;     /* elements outside the open interval (low, high) */
    double smallest;       /* of |x| among the finite x that are not 0; 0 if there is none */
    double largest;        /* of |x| among the finite x */
    double sum_squares;    /* of the finite x */
    int64_t exponent[256]; /* elements by biased exponent: 0 zeros and subnormals, 127 is [1, 2), 255 NaN and infinity */
} nn_statistics;

typedef struct nn_update {
    int64_t n;
    int64_t asked; /* elements whose gradient is not 0, */
    int64_t lost;  /*   and those of them that did not move */
    double moved;  /* sum of (after - before)^2 */
    double kept;   /* sum of before^2 */
} nn_update;

typedef struct nn_errors {
    int64_t n;
    int64_t index; /* of the worst, -1 if there is none */
    double worst, sum;
} nn_errors;

/* One value of a step: a real buffer of the arena that an instruction has written. */
typedef struct nn_look {
    int32_t instr, buffer;
    double low, high;                 /* bounds of `saturated` */
    int64_t columns;                  /* of a value whose columns that are 0 in all rows are counted; 0 asks for none */
    int64_t dead;
    nn_statistics seen;
    nn_errors made, error, cancelled; /* with a shadow; the last one of sums only */
} nn_look;

/* One update of weights. What it did is seen behind instruction `behind`: weights in another format are rounded later. */
typedef struct nn_change {
    int32_t instr, behind;
    int32_t weights, gradient; /* buffers of as many values */
    float *before, *slope;     /* scratch for a copy of both */
    nn_update seen;
} nn_change;

/* An instruction: its values are `looks` from `first` on. The bits of given and sized tell which arguments a shadow's `local`
 * and `terms` take from float before it: operands that they have not, or no longer. */
typedef struct nn_watched {
    int32_t first, looks;
    int32_t given, sized;
    int32_t is_sum, is_fused; /* a sum of terms; one with an activation behind it */
    int32_t is_first;         /* no sum, and reads what the step begins with alone: `local` would do what `whole` does */
} nn_watched;

/* A value as (outer, n, inner), of whose n a shadow's `local` and `terms` have `kept`, n / kept apart, one behind the other.
 * Which ones changes from step to step. kept 0: all of the value. */
typedef struct nn_sample {
    int64_t outer, n, inner, kept;
} nn_sample;

/* A step again in double, instruction by instruction: `whole` from what the step began with, `local` from the operands that
 * each instruction had in float; for a sum also the sum of its terms' sizes in float, in `terms`. Tapes of as many
 * instructions and buffers as the one watched: `twin` in double; as `local` runs them, sums without their activations, on no
 * more than is sampled; these activations alone, in place; and in float the instructions that sum sizes. Memory of the twin's
 * nbytes, and of the watched tape's. */
typedef struct nn_shadow {
    const nn_tape *twin, *local_twin, *activations, *sizes;
    void *whole[3], *local[3], *terms[3];
    const nn_sample *samples; /* NN_MAX_ARGS of each instruction, one for each of its arguments; NULL: all of every value */
} nn_shadow;

/* What a run of one step is to see and what it saw; the caller owns all memory. Flags are not of it: nn_run.events. */
typedef struct nn_watch {
    const nn_watched *instrs;
    nn_look *looks; /* in the order of their instructions */
    int64_t n_changes;
    nn_change *changes;
    const nn_shadow *shadow; /* or NULL */
} nn_watch;

/* Everything a run needs and changes; the caller owns all memory. step, epoch and cursor are the position in the
 * training, advanced after each step: they, PARAM and STATE are the whole state that a checkpoint has to keep. */
typedef struct nn_run {
    void *base[3];                       /* PARAM, STATE, WORK: 64-byte aligned */
    int64_t nbytes[3];
    void *external[NN_MAX_EXTERNALS];
    int64_t external_nbytes[NN_MAX_EXTERNALS];
    void *scratch;                       /* nn_scratch_nbytes(threads), 64-byte aligned */
    int64_t scratch_nbytes;
    double *seconds;                     /* per instruction of the first segment, accumulated; or NULL */
    uint64_t seed;
    int64_t n_samples;                   /* samples of an epoch, what the shuffle permutes */
    int64_t step;                        /* steps done since the model was made */
    int64_t epoch;
    int64_t cursor;                      /* samples of this epoch already used */
    int64_t first;                       /* instructions [first, last) of a step; last 0 means all. A partial */
    int64_t last;                        /*   step does not advance the position */
    int32_t threads;
    int32_t flags;
    volatile int32_t stop;               /* raised by another thread: the run ends after the current step */
    uint32_t shuffle_key[8];             /* nn_tape_run's own: the round keys of this epoch's shuffle */
    nn_event *events;                    /* per instruction of all segments, one segment after another, accumulated; or NULL */
    uint8_t *raised;                     /* scratch of nn_raised_nbytes, needed with events */
    int64_t raised_nbytes;
    int32_t kinds;                       /* kinds of events that are counted, */
    int32_t fatal;                       /*   and those of them that end the run: NN_ERR_FLAGGED at the end of the step, names
                                              the lowest instruction, value its kinds. The step's updates are done, the
                                              position stays before it */
    const nn_watch *watch;               /* what a run of one step, or of a part of it, looks at; or NULL */
} nn_run;

typedef struct nn_fault {
    int32_t code;    /* nn_status */
    int32_t instr;   /* index in the tape, -1 if none */
    int64_t segment;
    int64_t step;    /* global step */
    int64_t index;   /* element, row or byte at fault, -1 if none */
    double value;
} nn_fault;

/* Opaque: the complete set of kernels of one ISA. */
typedef struct nn_kernels nn_kernels;

/* ---- functions ------------------------------------------------------------------------------------------------- */

/* The numerics id this library was built with, NN_NUMERICS_ID. Never fails. */
int32_t nn_numerics_id(void);
/* A static sentence for a status; "unknown status" for any other number. */
const char *nn_status_text(int32_t status);
/* The name of an opcode ("relu_fwd") as tape files store it; NULL outside [0, NN_OP_COUNT_). */
const char *nn_op_name(int32_t op);
/* Built ISA levels, slowest first, index 0 "reference" (the definitions, serial); NULL past the end. */
const char *nn_isa_name(int32_t index);
/* The kernels of a level by name, "best" for the fastest the CPU has; NULL if not built or the CPU lacks it. */
const nn_kernels *nn_kernels_named(const char *name);
/* The name of a level's kernels. */
const char *nn_kernels_name(const nn_kernels *kernels);
/* Threads the machine offers: OpenMP's processor count, 1 when built without OpenMP. */
int32_t nn_threads_available(void);
/* Bytes of scratch that a run on so many threads needs. */
int64_t nn_scratch_nbytes(int32_t threads);
/* Bytes of nn_run.raised for so many instructions of all segments together. */
int64_t nn_raised_nbytes(int64_t instructions, int32_t threads);

/* Check that a tape is well-formed: ops, argument and buffer indices, regions within nbytes. Fills `fault` (may not
 * be NULL) and returns NN_ERR_ARGUMENT if it is not. Sizes against each op's own shapes are the builder's duty. */
int32_t nn_tape_check(const nn_tape *tape, nn_fault *fault);

/* Find the groups of a tape that a run on run->threads threads may walk in bands: groups[i] for each instruction. No bit
 * depends on it. Returns how many bytes a step need not fetch from beyond a core's cache, about. */
int64_t nn_find_groups(const nn_kernels *kernels, const nn_tape *tape, const nn_run *run, nn_group *groups);

/* Run segments in order on run->threads threads. Returns NN_OK, or the status in `fault` (may not be NULL): position
 * fields then tell the last finished step; parameters hold that step's values unless an update itself faulted. */
int32_t nn_tape_run(const nn_kernels *kernels, const nn_segment *segments, int64_t n_segments, nn_run *run,
                    nn_fault *fault);

/* A step of one tape made ready to be asked with one input after another. */
typedef struct nn_predictor {
    const nn_kernels *kernels;
    const nn_segment *segment; /* one step of it is an answer */
    nn_run *run;
    int64_t input;             /* the external that is the input: its nbytes stand in run, its address comes with each call */
    int64_t n_floats;          /* floats of the input, all to be finite; 0 if it has others */
    nn_fault fault;            /* of the last call */
} nn_predictor;

/* Run a predictor's step on x, the answer stands in the tape's output. Returns what nn_tape_run does or, before anything
 * has run, NN_ERR_NONFINITE with fault.instr -1 and the index of a float of x that is NaN or infinite. */
int32_t nn_predict(nn_predictor *predictor, const void *x);

/* c (M, N) = a (M, K) b (K, N) + bias, one FMA chain per output, k ascending from +0, bias (N, or NULL) added last.
 * real is NN_F32 or NN_F64; element (i, j) of a is a[i * rsa + j * csa], any strides, rows of c contiguous with
 * stride rsc >= N. c may not overlap a or b. scratch: nn_scratch_nbytes(threads), 64-byte aligned. Returns
 * NN_ERR_ARGUMENT for a bad size, type or thread count, c untouched. */
int32_t nn_gemm(const nn_kernels *kernels, int32_t real, int32_t threads, void *c, const void *a, const void *b,
                const void *bias, int64_t m, int64_t n, int64_t k, int64_t rsc, int64_t rsa, int64_t csa,
                int64_t rsb, int64_t csb, void *scratch);

/* What nn_probe does: FMAs with one broadcast from L1 for every two; reads of a range; words of Philox; barriers; products of
 * a math mode with both operands in L1. */
enum {
    NN_PROBE_FMA = 0,
    NN_PROBE_READ = 1,
    NN_PROBE_WORDS = 2,
    NN_PROBE_MEET = 3,
    NN_PROBE_BF16 = 4,
    NN_PROBE_BF16X3 = 5,
    NN_PROBE_BF16X6 = 6,
    NN_PROBE_FMA_NBYTES = 16384 /* of products too, at least */
};
/* The machine's limits, for benches: `repeats` rounds over data (nbytes, floats, 64-byte aligned), FMAs on every thread
 * or reads with a part for each, or of 128 words, or barriers of all. Returns the operations, bytes, words or barriers done, for
 * the caller to time: 0 for products of a math mode where there are no tiles; -1 for a bad argument.
 * scratch as nn_scratch_nbytes, may not overlap data. */
double nn_probe(const nn_kernels *kernels, int32_t what, int32_t threads, const void *data, int64_t nbytes,
                int64_t repeats, void *scratch);

/* Element i of the keyed bijection that shuffles [0, n): Feistel rounds on Philox(seed, SHUFFLE, epoch) with cycle
 * walking. 0 <= i < n <= 2^62, else -1. */
int64_t nn_shuffle(uint64_t seed, int64_t epoch, int64_t n, int64_t i);
/* One block of Philox4x32-10 (Salmon et al. 2011): out (4) from counter (block, index, stream) and key seed. */
void nn_philox(uint32_t *out, uint64_t seed, uint32_t stream, uint64_t index, uint32_t block);

/* ---- data (io/) ---- */

/* Why a table of integers in text was refused. */
typedef enum nn_csv_reason {
    NN_CSV_OK = 0,
    NN_CSV_BLANK_LINE = 1,
    NN_CSV_EMPTY_FIELD = 2,
    NN_CSV_BAD_BYTE = 3,   /* neither a digit, a comma nor the end of a line */
    NN_CSV_TOO_LARGE = 4,  /* more than max, or more than three digits */
    NN_CSV_SHORT_LINE = 5,
    NN_CSV_LONG_LINE = 6,
    NN_CSV_FEW_LINES = 7,  /* the text ends before the last row */
    NN_CSV_MANY_LINES = 8  /* text is left behind the last row */
} nn_csv_reason;

/* Where: rows and fields count from 0, the offsets are bytes from the start of the text. */
typedef struct nn_csv_fault {
    int32_t code;    /* nn_status */
    int32_t reason;  /* nn_csv_reason */
    int64_t row;
    int64_t field;
    int64_t found;   /* values in the line, for SHORT_LINE and LONG_LINE */
    int64_t line;    /* offset of the line's first byte */
    int64_t begin;   /* offset of the field's first byte */
    int64_t offset;  /* offset of the byte at fault; nbytes where the text ends too early */
} nn_csv_fault;

/* Lines of text (nbytes), a last one without newline included. Never fails. */
int64_t nn_csv_lines(const uint8_t *text, int64_t nbytes);
/* Comma-separated fields of the first line of text (nbytes); 0 for an empty text. Never fails. */
int64_t nn_csv_fields(const uint8_t *text, int64_t nbytes);
/* out (rows, fields) = the integers 0..max <= 255 of text (nbytes), which must hold exactly these rows; out NULL only
 * checks. Grammar in csrc/io/csv.c. out may not overlap text. On failure `fault` (not NULL) says where and why, and the
 * status is NN_ERR_FORMAT, NN_ERR_RANGE for too large a number or NN_ERR_ARGUMENT; out is then unspecified. */
int32_t nn_csv_parse(uint8_t *out, const uint8_t *text, int64_t nbytes, int64_t rows, int64_t fields, int32_t max,
                     nn_csv_fault *fault);
/* A table that several threads read together: all call nn_csv_work on one job, zero behind its first eight fields. */
typedef struct nn_csv_job {
    const uint8_t *text;
    int64_t nbytes;
    uint8_t *out;      /* (capacity, fields) */
    int64_t capacity;  /* rows; a regular text has at most (nbytes + 2) / (2 fields) */
    int64_t fields;
    int64_t max;       /* the largest value, at most 255 */
    int64_t piece;     /* bytes at a time, at least 1: half of an L2 is best */
    int64_t mapped;    /* 1: text is a mapped file; what was read is given back to the system, to be mapped anew if touched */
    int64_t rows;      /* result: lines of text */
    int64_t taken;     /* pieces that a thread took, */
    int64_t counted;   /* and those whose lines are in rows */
    int64_t stop;      /* some thread met a fault */
} nn_csv_job;

/* Take pieces of a job until none is left; when all threads have returned, out and rows are complete. Grammar as for
 * nn_csv_parse, as are `fault` and the status NN_ERR_FORMAT, NN_ERR_RANGE or NN_ERR_ARGUMENT; out is then unspecified,
 * and of several threads' faults that of the lowest row is the first in the text. job and fault may not overlap. */
int32_t nn_csv_work(nn_csv_job *job, nn_csv_fault *fault);
/* text = values (rows, fields) as lines of comma-separated integers; returns the bytes written. text may not overlap
 * values. Returns -1, text untouched, if capacity < 4 rows fields. */
int64_t nn_csv_format(uint8_t *text, int64_t capacity, const uint8_t *values, int64_t rows, int64_t fields);

/* Header of an IDX file of unsigned bytes. */
typedef struct nn_idx {
    int64_t dim[4];  /* sizes; 1 from rank on */
    int64_t nbytes;  /* of the elements: the product of the sizes */
    int32_t rank;    /* 1 to 4 */
    int32_t header;  /* bytes before the first element */
} nn_idx;

/* Read the header of an IDX file from its first bytes (nbytes; 20 suffice). `idx` and `fault` may not be NULL or
 * overlap. NN_ERR_FORMAT: fault->index is the offset of the wrong byte, fault->value the byte, -1 where the header ends
 * too early; NN_ERR_LIMIT: the size at fault->index makes more than 2^48 bytes. idx is then untouched. */
int32_t nn_idx_parse(nn_idx *idx, const uint8_t *bytes, int64_t nbytes, nn_fault *fault);

/* mean and scale = 1 / deviation (1 where the deviation is 0) of the rows `rows` (n, or NULL for all n = count) of images
 * (count, features): one each, or one per feature. sums: scratch of 2, or 2 features. Exact integer sums, so the order of
 * rows is irrelevant. No aliasing. NN_ERR_ARGUMENT for empty or absurd sizes, NN_ERR_RANGE for a row outside; outputs
 * untouched. */
int32_t nn_moments_u8(double *mean, double *scale, uint64_t *sums, const uint8_t *images, int64_t count,
                      int64_t features, const int64_t *rows, int64_t n, int32_t per_feature);
/* The same from float data, in double, two passes, rows in the given order. */
int32_t nn_moments_f32(double *mean, double *scale, const float *data, int64_t count, int64_t features,
                       const int64_t *rows, int64_t n, int32_t per_feature);
/* Index of the first NaN or infinity of data (n), -1 if there is none. Never fails. */
int64_t nn_find_nonfinite(const float *data, int64_t n);
/* Index of the first label of labels (n) outside [0, classes), -1 if there is none. Never fails. */
int64_t nn_find_label(const uint8_t *labels, int64_t n, int32_t classes);

/* Samples [begin, end) of n hand-drawn-looking digits: images (end - begin, 28, 28), labels (end - begin), balanced and
 * shuffled. A sample depends on (seed, split, n, its index, difficulty) alone, so threads may draw ranges of one set.
 * difficulty in [0, 1] widens every variation. No aliasing. NN_ERR_ARGUMENT for a bad range or difficulty; outputs
 * untouched. */
int32_t nn_glyphs(uint8_t *images, uint8_t *labels, uint64_t seed, int32_t split, int64_t n, int64_t begin, int64_t end,
                  double difficulty);

/* ---- instruments (instruments.c): figures of values that a tape has made. Never fail; no aliasing -------------- */

/* Figures of the values x (n). */
void nn_describe(nn_statistics *s, const float *x, int64_t n, double low, double high);
/* Columns of y (rows, columns) that are 0 in every row. */
int64_t nn_count_dead(const float *y, int64_t rows, int64_t columns);
/* What an update with gradient g (n) did to weights. */
void nn_compare_update(nn_update *u, const float *before, const float *after, const float *g, int64_t n);
/* Errors of y (n) in ulps of float at the truth; infinite where one is finite and the other not. */
void nn_compare_twin(nn_errors *e, const float *y, const double *truth, int64_t n);
/* Bits that cancelled in sums (n), given the sums of their terms' sizes: at most the 24 of a float. */
void nn_compare_terms(nn_errors *e, const double *sum, const float *sizes, int64_t n);

/* ---- Monte Carlo arithmetic (monte_carlo.c): the same computation with other rounding errors, several times ---- */

/* Float kernels of the level of `level` (not NULL) whose every rounding goes up or down at random, unbiased; the same bits at any.
 * A tape run with them must be on one thread, and no other such run may go on at the time. */
const nn_kernels *nn_kernels_random(const nn_kernels *level);
/* Fix the roundings to come of kernels that nn_kernels_random gave: the same seed and the same calls give the same bits. */
void nn_random_seed(const nn_kernels *random, uint64_t seed);

/* Samples of n values so far: mean, sum of squared distances from it, how often it was 0; all 0 at first. */
typedef struct nn_spread {
    int64_t samples;
    double *mean, *squares;
    int32_t *zeros;
} nn_spread;

/* Significant bits of n values; n > 0. */
typedef struct nn_figures {
    int64_t n;
    int64_t none;  /* values without any */
    int64_t flips; /* values that were 0 in some samples only: a ReLU on either side of its corner */
    int64_t index; /* of the least */
    double least, sum;
} nn_figures;

/* One more sample x (n). No aliasing. */
void nn_spread_add(nn_spread *s, const float *x, int64_t n);
/* Significant bits log2(|mean| / deviation) of each value, cut to 0 .. 24, into bits (n) or nowhere (NULL); deviation with
 * samples - 1, at least 2 samples. 24 where all samples agree; 0 for NaN and infinity. No aliasing. */
void nn_spread_digits(const nn_spread *s, int64_t n, double *bits, nn_figures *f);

/* ---- arithmetic (rounding.c, sums.c, operate.c): emulated formats, sums and dot products by every method -------------------- */

/* A floating-point format: significands of `precision` bits, the leading one counted (2 to 53), exponents emin to emax. */
typedef struct nn_format {
    int32_t precision;
    int32_t emin, emax; /* normal values: 2^emin <= |x| < 2^(emax + 1) */
    int32_t subnormals; /* 1: spacing 2^(emin - precision + 1) below 2^emin; 0: what is smaller after rounding becomes 0 */
    int32_t saturate;   /* 1: no infinity, what is too large becomes the largest value */
    double largest;     /* the largest value; 0: (2 - 2^(1 - precision)) 2^emax */
} nn_format;

/* Directions. STOCHASTIC: to the next value above with probability (x - below) / (above - below). */
typedef enum nn_rounding {
    NN_ROUND_NEAREST = 0, /* ties to even */
    NN_ROUND_ZERO = 1, NN_ROUND_UP = 2, NN_ROUND_DOWN = 3, NN_ROUND_STOCHASTIC = 4
} nn_rounding;

/* A format, how its operations round, and which numbers of stream ROUNDING decide, if they are stochastic: operation i of
 * a call takes 64 bits of block i / 2 under (seed, index). */
typedef struct nn_arithmetic {
    nn_format format;
    int32_t rounding; /* nn_rounding */
    uint64_t seed, index;
} nn_arithmetic;

/* How a sum is taken; their formulas and sources stand in csrc/sums.c. */
typedef enum nn_summation {
    NN_SUM_NAIVE = 0, NN_SUM_KAHAN = 1, NN_SUM_NEUMAIER = 2, NN_SUM_PAIRWISE = 3, NN_SUM_BLOCKED = 4, NN_SUM_LANES = 5,
    NN_SUM_EXACT = 6, NN_SUM_DOT2 = 7
} nn_summation;
/* Operations, and formulas of a variance (csrc/operate.c). */
typedef enum nn_operation { NN_PLUS = 0, NN_MINUS = 1, NN_TIMES = 2, NN_OVER = 3 } nn_operation;
typedef enum nn_variance_method {
    NN_VARIANCE_TEXTBOOK = 0, NN_VARIANCE_TWO_PASS = 1, NN_VARIANCE_WELFORD = 2
} nn_variance_method;
typedef enum nn_dotting { NN_DOT_NAIVE = 0, NN_DOT_FMA = 1, NN_DOT_DOT2 = 2, NN_DOT_EXACT = 3 } nn_dotting;

/* Named formats by index: fp64 fp32 tf32 bf16 fp16 fp8-e4m3 fp8-e5m2 int8; NULL past the end. */
const char *nn_format_name(int32_t index);
/* *format = the format of that name. NN_ERR_ARGUMENT for any other, format untouched. */
int32_t nn_format_named(nn_format *format, const char *name);
/* The largest finite value of a format; 0 if it is none. */
double nn_format_largest(const nn_format *format);
/* The code of an accumulator (csrc/accumulate.h): what an instruction has as its dim nn_sums_dim(op) to keep its sums in the
 * arithmetic's format, one that floats hold, by a method of nn_summation. id, below 2^16, tells the random numbers of several
 * instructions apart; seed and index are the run's seed and step. 0 if there is no such. The twin takes no notice. */
int64_t nn_accumulator(const nn_arithmetic *arithmetic, int32_t method, int32_t id);
/* Where an instruction of an op has the code, in dense products and convolutions in place of `planes`; -1 for an op that adds
 * nothing up. */
int32_t nn_sums_dim(int32_t op);
/* y = x (n) rounded to the arithmetic's format; real, NN_F32 or NN_F64, is the type of both. y may alias x. NN_ERR_ARGUMENT
 * for a malformed arithmetic, or values that a float cannot hold; y is then untouched. */
int32_t nn_round(void *y, const void *x, int32_t real, int64_t n, const nn_arithmetic *arithmetic);
/* *sum = x[0] + ... + x[n - 1], each operation rounded to the format. real is the type of x. width: the length of blocks (0:
 * the root of n), the terms of pairwise's leaves (0: 1), or the lanes, a power of two up to 64 (0: 16). sum may not overlap
 * x. NN_ERR_ARGUMENT for a bad method, width or arithmetic, or a format of more than 26 bits other than fp64 to nearest;
 * sum is then untouched. */
int32_t nn_sum(double *sum, const void *x, int32_t real, int64_t n, int32_t method, int64_t width,
               const nn_arithmetic *arithmetic);
/* sums[i] = sums[i - 1] + x[i], sums[-1] = start, each rounded; *last = the last of them; *stalled = the first i with
 * x[i] != 0 that leaves the sum as it is, or -1. sums (n) may be NULL and may not overlap x. NN_ERR_ARGUMENT as for nn_sum,
 * nothing is then written. */
int32_t nn_running_sum(double *sums, int64_t *stalled, double *last, double start, const void *x, int32_t real, int64_t n,
                       const nn_arithmetic *arithmetic);
/* *dot = a[0] b[0] + ... + a[n - 1] b[n - 1] by a method of nn_dotting. real is the type of a and b; doubles are multiplied
 * in fp64 to nearest, or exactly, alone. dot may not overlap them. NN_ERR_ARGUMENT as for nn_sum, dot is then untouched. */
int32_t nn_dot(double *dot, const void *a, const void *b, int32_t real, int64_t n, int32_t method,
               const nn_arithmetic *arithmetic);
/* y = a + b, a - b, a b or a / b (n), rounded to the format. y may alias a or b. NN_ERR_ARGUMENT as for nn_sum, y is then
 * untouched. Operands wider than 26 bits make a product inexact twice. */
int32_t nn_operate(double *y, int32_t operation, const double *a, const double *b, int64_t n, const nn_arithmetic *arithmetic);
/* *variance of x (n), by a method of nn_variance_method. variance may not overlap x. NN_ERR_ARGUMENT as for nn_sum, or unless
 * 1 <= n <= 2^24; variance is then untouched. */
int32_t nn_variance(double *variance, const float *x, int64_t n, int32_t method, const nn_arithmetic *arithmetic);
/* out (n), floats or doubles as real says, = random numbers under (seed, index): uniform in (0, 1), or N(0, 1) if normal;
 * stream LAB. out may not overlap the kernels. NN_ERR_ARGUMENT for another type or unless 0 <= n <= 2^33; out is then
 * untouched. */
int32_t nn_draw(const nn_kernels *kernels, void *out, int32_t real, int64_t n, int32_t normal, uint64_t seed, uint64_t index);

/* ---- tape files (io/tapefile.c) --------------------------------------------------------------------------------- */

/* What a tape file tells of a buffer beside its nn_buffer. Names are UTF-8 ("0.weight"), closed by a NUL. */
typedef struct nn_buffer_info {
    const char *name;
    const int64_t *size; /* its shape: rank sizes */
    int32_t rank;
} nn_buffer_info;

/* A value that can be read after a run. */
typedef struct nn_output {
    const char *name;
    int32_t buffer; /* index in the tape's buffers */
} nn_output;

/* What the writer of a file wants its reader to know: "seed" is "0". */
typedef struct nn_note {
    const char *key;
    const char *value;
} nn_note;

typedef struct nn_program_tape {
    const char *name;
    nn_tape tape;
    const nn_buffer_info *info; /* tape.n_buffers */
    const nn_output *outputs;
    int64_t n_outputs;
} nn_program_tape;

/* The tapes of one file over one arena: PARAM, STATE and WORK are as large as the largest tape asks. */
typedef struct nn_program {
    int64_t n_tapes;
    int64_t n_notes;
    const nn_program_tape *tapes;
    const nn_note *notes;
} nn_program;

/* Read the bytes (nbytes) of a tape file, hostile or not. First call it with memory NULL: it checks the grammar and sets
 * *memory_nbytes to what is needed, at most about 16 nbytes. Then with memory (8-byte aligned) of *memory_nbytes:
 * `program`, checked by nn_tape_check, points into it and at nothing else. Nothing overlaps; `fault` may not be NULL.
 * NN_ERR_FORMAT: fault->index is the byte at fault, or the first byte of the tape number fault->segment that is not
 * well-formed (fault->instr as nn_tape_check says); NN_ERR_NOMEM: memory too small; NN_ERR_ARGUMENT: a bad size or
 * alignment. program and *memory_nbytes are then untouched. */
int32_t nn_tape_load(nn_program *program, void *memory, int64_t *memory_nbytes, const uint8_t *bytes, int64_t nbytes,
                     nn_fault *fault);
/* The first tape of that name; NULL if there is none. */
const nn_program_tape *nn_program_find(const nn_program *program, const char *name);
/* The value of a note; NULL if there is none of that key. */
const char *nn_program_note(const nn_program *program, const char *key);
/* Index of the first buffer of that name in a tape; -1 if there is none. */
int64_t nn_program_buffer(const nn_program_tape *tape, const char *name);
/* Index of the buffer that holds an output of that name; -1 if there is none. */
int64_t nn_program_output(const nn_program_tape *tape, const char *name);
