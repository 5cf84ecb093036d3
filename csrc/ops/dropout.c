/* dropout.c - inverted dropout, of single values and of whole channels.
 *
 *   y = keep ? scale x : 0,   scale = 1 / (1 - p), in double, rounded to real once; keep with probability 1 - p
 *
 * Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, section 4, with the factor moved from prediction to
 * training: a tape for prediction has no dropout. The backward pass is the same op on dy, drawing the same numbers.
 * spatial_dropout drops whole channels of a sample: neighbouring pixels are so alike that single ones drop nothing
 * (Tompson, Goroshin, Jain, LeCun, Bregler 2015, section 3.2).
 * Shapes: x, y (N, D), or (N, P, C) with P pixels. y may alias x. Error: two roundings, at most 2 u |y|. A dropped NaN or
 * infinity is dropped: 0, not 0 x; a kept one propagates.
 *
 * Which elements are dropped depends on (seed, layer, step, e) alone, e = r D + j for feature j of row r of the global
 * step, e = j if per_step (one draw of D neurons for all rows: the lectures' form), e = r C + c for channel c of row r if
 * spatial. In detail, for step < 2^48,
 * e < 2^50, layer < 2^24, where no two of them can share a counter:
 *
 *   word e mod 4 of the Philox block (block = (e / 4) mod 2^32, index = step + (e / 2^34) 2^48,
 *                                     stream = NN_STREAM_DROPOUT + 2^8 layer)
 *   dropped if word < T,   T = min(floor(2^32 p + 1/2), 2^32 - 1)
 *
 * so the probability is p to within 2^-33 (2^-32 at p = 1), and comparing integers makes it the same everywhere. */
#ifdef NN_PASS_LIST
NN_OP(dropout, DROPOUT)
NN_OP(spatial_dropout, SPATIAL_DROPOUT)
#endif

#if defined(NN_PASS_REF) || defined(NN_PASS_KERNEL)
static inline uint32_t dropout_threshold(double p)
{
    double t = p * 0x1p32 + 0.5;
    return t < 0x1p32 ? (uint32_t)t : UINT32_MAX;
}

static inline real dropout_scale(double p) { return (real)(p < 1 ? 1 / (1 - p) : 0); }

static inline uint32_t dropout_stream(int64_t layer) { return NN_STREAM_DROPOUT | (uint32_t)layer << 8; }

static inline uint64_t dropout_index(const nn_call *c, int64_t e) { return (uint64_t)c->run->step + ((uint64_t)e >> 34 << 48); }
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static int ref_keep(const nn_call *c, int64_t layer, int64_t e)
{
    uint32_t word[4];
    philox_block(word, c->run->seed, dropout_stream(layer), dropout_index(c, e), (uint32_t)(e / 4));
    return word[e % 4] >= dropout_threshold(c->scalar[0]);
}

static void dropout(const nn_call *c)
{
    real *y = c->arg[0], scale = dropout_scale(c->scalar[0]);
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0] * c->dim[1]; i++)
        y[i] = ref_keep(c, c->dim[2], c->dim[3] ? i % c->dim[1] : i) ? x[i] * scale : 0;
}

static void spatial_dropout(const nn_call *c)
{
    real *y = c->arg[0], scale = dropout_scale(c->scalar[0]);
    const real *x = c->arg[1];
    const int64_t P = c->dim[1], C = c->dim[2];
    for (int64_t i = 0; i < c->dim[0] * P * C; i++)
        y[i] = ref_keep(c, c->dim[3], i / (P * C) * C + i % C) ? x[i] * scale : 0;
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
/* The words of the elements [base, base + PHILOX_CHUNK) of a layer's step; base is a multiple of the chunk. */
static void dropout_words(uint64_t words[PHILOX_PAIRS], const nn_call *c, const philox_keys *keys, int64_t layer, int64_t base)
{
    philox_words(words, keys, dropout_stream(layer), dropout_index(c, base), (uint32_t)(base / 4));
}

/* y = dropped ? 0 : scale x over n elements, of which the first has word `at`. */
static void dropout_apply(real *y, const real *x, const uint64_t *words, int64_t at, int64_t n, uint32_t threshold, real scale)
{
    const vreal s = v_set1(scale);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(y + i, v_select(philox_below(words, at + i, threshold), v_zero(), v_mul(v_load(x + i), s)));
    if (i < n) {
        vmask m = v_tail(n - i);
        v_store_m(y + i, m, v_select(philox_below(words, at + i, threshold), v_zero(), v_mul(v_load_m(x + i, m), s)));
    }
}

enum { DROPOUT_BEHIND = 16 / 2 }; /* pairs that a vector of words may reach behind the last one */

/* Elements [begin, end) of the step; of a row, and all rows, if per_step: the draws are then used N times. */
static void dropout(const nn_call *c, int64_t begin, int64_t end)
{
    const real *x = c->arg[1], scale = dropout_scale(c->scalar[0]);
    real *y = c->arg[0];
    const uint32_t threshold = dropout_threshold(c->scalar[0]);
    const philox_keys keys = philox_schedule(c->run->seed);
    uint64_t words[PHILOX_PAIRS + DROPOUT_BEHIND] = {0};
    int64_t rows = c->dim[3] ? c->dim[0] : 1, stride = c->dim[1];
    for (int64_t base = begin - begin % PHILOX_CHUNK; base < end; base += PHILOX_CHUNK) {
        dropout_words(words, c, &keys, c->dim[2], base);
        int64_t from = base < begin ? begin : base, to = base + PHILOX_CHUNK < end ? base + PHILOX_CHUNK : end;
        for (int64_t r = 0; r < rows; r++)
            dropout_apply(y + r * stride + from, x + r * stride + from, words, from - base, to - from, threshold, scale);
    }
}

enum { SPATIAL_TILE = 512 }; /* channels whose draws are kept at hand, a multiple of the chunk */

/* Samples [n, end): the draws of a tile of channels, which may begin within a chunk, are used for all pixels. */
static void spatial_dropout(const nn_call *c, int64_t n, int64_t end)
{
    const int64_t P = c->dim[1], C = c->dim[2];
    const real scale = dropout_scale(c->scalar[0]);
    const uint32_t threshold = dropout_threshold(c->scalar[0]);
    const philox_keys keys = philox_schedule(c->run->seed);
    uint64_t words[SPATIAL_TILE / 2 + PHILOX_PAIRS + DROPOUT_BEHIND] = {0};
    for (; n < end; n++)
        for (int64_t from = 0; from < C; from += SPATIAL_TILE) {
            const int64_t width = C - from < SPATIAL_TILE ? C - from : SPATIAL_TILE, e = n * C + from, lead = e % PHILOX_CHUNK;
            for (int64_t i = 0; i < lead + width; i += PHILOX_CHUNK)
                dropout_words(words + i / 2, c, &keys, c->dim[3], e - lead + i);
            for (int64_t at = n * P * C + from; at < (n + 1) * P * C; at += C)
                dropout_apply((real *)c->arg[0] + at, (const real *)c->arg[1] + at, words, lead, width, threshold, scale);
        }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static void dropout(const nn_call *c)
{
    nn_drive_range(c, NN_OP_DROPOUT, c->dim[3] ? c->dim[1] : c->dim[0] * c->dim[1], 128);
}

NN_DRIVE_ROWS(spatial_dropout, SPATIAL_DROPOUT)
#endif
