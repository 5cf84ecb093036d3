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
/* Philox in lanes of 64 bits whose low half counts: per ISA the widening multiplication and the interleaved store
 * out[2 l] = a[l], out[2 l + 1] = b[l] are written by hand, since gcc 12 turns the plain loop into 6 ns an element where
 * this takes 0.6 (AVX-512; AVX2 5 and 1.2). Shifts and xors are the compilers' vector extension. */
#if defined(NN_ISA_AVX512)
enum { PHILOX_LANES = 8 };
typedef uint64_t philox_v __attribute__((vector_size(64)));
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (philox_v)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b)); }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b)
{
    __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64((__m512i)a, low, (__m512i)b));
    _mm512_storeu_si512(out + 8, _mm512_permutex2var_epi64((__m512i)a, high, (__m512i)b));
}
#elif defined(NN_ISA_AVX2)
enum { PHILOX_LANES = 4 };
typedef uint64_t philox_v __attribute__((vector_size(32)));
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (philox_v)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b)); }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b)
{
    __m256i even = _mm256_unpacklo_epi64((__m256i)a, (__m256i)b), odd = _mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(out + 4), _mm256_permute2x128_si256(even, odd, 0x31));
}
#elif defined(NN_ISA_NEON)
enum { PHILOX_LANES = 2 };
typedef uint64_t philox_v __attribute__((vector_size(16)));
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (philox_v)vmull_n_u32(vmovn_u64((uint64x2_t)a), b); }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b)
{
    vst1q_u64(out, vzip1q_u64((uint64x2_t)a, (uint64x2_t)b));
    vst1q_u64(out + 2, vzip2q_u64((uint64x2_t)a, (uint64x2_t)b));
}
#else
enum { PHILOX_LANES = 1 };
typedef uint64_t philox_v;
V_INLINE philox_v philox_mul(philox_v a, uint32_t b) { return (uint64_t)(uint32_t)a * b; }
V_INLINE void philox_zip(uint64_t *out, philox_v a, philox_v b) { out[0] = a; out[1] = b; }
#endif

enum { DROPOUT_CHUNK = 64, PHILOX_CHAINS = 2 /* a round waits for its multiplication: two chains fill the gap */ };

/* The words of blocks [block, block + 16), two to an out[], low half first. block is a multiple of 16: no carry. */
static void dropout_words(uint64_t out[DROPOUT_CHUNK / 2], uint64_t seed, uint32_t stream, uint64_t index, uint32_t block)
{
    static const uint64_t lane[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int l = 0; l < DROPOUT_CHUNK / 4; l += PHILOX_CHAINS * PHILOX_LANES) {
        philox_v c0[PHILOX_CHAINS], c1[PHILOX_CHAINS], c2[PHILOX_CHAINS], c3[PHILOX_CHAINS], zero = {0};
        for (int v = 0; v < PHILOX_CHAINS; v++) {
            memcpy(&c0[v], lane, sizeof c0[v]);
            c0[v] = c0[v] + (uint64_t)(block + (uint32_t)(l + v * PHILOX_LANES));
            c1[v] = zero + (uint64_t)(uint32_t)index;
            c2[v] = zero + (index >> 32);
            c3[v] = zero + (uint64_t)stream;
        }
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int round = 0; round < 10; round++) {
            for (int v = 0; v < PHILOX_CHAINS; v++) { /* as in random.h; high halves are never looked at */
                philox_v p0 = philox_mul(c0[v], 0xD2511F53u), p1 = philox_mul(c2[v], 0xCD9E8D57u);
                c0[v] = p1 >> 32 ^ c1[v] ^ (zero + (uint64_t)k0);
                c1[v] = p1;
                c2[v] = p0 >> 32 ^ c3[v] ^ (zero + (uint64_t)k1);
                c3[v] = p0;
            }
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        philox_v low = zero + (uint64_t)0xffffffffu;
        for (int v = 0; v < PHILOX_CHAINS; v++)
            philox_zip(out + 2 * (l + v * PHILOX_LANES), (c0[v] & low) | c1[v] << 32, (c2[v] & low) | c3[v] << 32);
    }
}

/* keep = 1 or 0 for the elements [base, base + 64) of a layer's step; base is a multiple of 64. */
static void dropout_keep(real keep[DROPOUT_CHUNK], const nn_call *c, int64_t layer, int64_t base)
{
    uint64_t words[DROPOUT_CHUNK / 2];
    uint32_t threshold = dropout_threshold(c->scalar[0]);
    dropout_words(words, c->run->seed, dropout_stream(layer), dropout_index(c, base), (uint32_t)(base / 4));
    for (int i = 0; i < DROPOUT_CHUNK / 2; i++) {
        keep[2 * i] = (uint32_t)words[i] >= threshold;
        keep[2 * i + 1] = (uint32_t)(words[i] >> 32) >= threshold;
    }
}

/* y = keep > 0 ? scale x : 0 over n elements. */
static void dropout_apply(real *y, const real *x, const real *keep, int64_t n, real scale)
{
    vreal s = v_set1(scale);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(y + i, v_select(v_gt(v_load(keep + i), v_zero()), v_mul(v_load(x + i), s), v_zero()));
    if (i < n) {
        vmask m = v_tail(n - i);
        v_store_m(y + i, m, v_select(v_gt(v_load_m(keep + i, m), v_zero()), v_mul(v_load_m(x + i, m), s), v_zero()));
    }
}

/* Elements [begin, end) of the step; of a row, and all rows, if per_step: the draws are then used N times. */
static void dropout(const nn_call *c, int64_t begin, int64_t end)
{
    real *y = c->arg[0], scale = dropout_scale(c->scalar[0]), keep[DROPOUT_CHUNK];
    const real *x = c->arg[1];
    int64_t rows = c->dim[3] ? c->dim[0] : 1, stride = c->dim[1];
    for (int64_t base = begin - begin % DROPOUT_CHUNK; base < end; base += DROPOUT_CHUNK) {
        dropout_keep(keep, c, c->dim[2], base);
        int64_t from = base < begin ? begin : base, to = base + DROPOUT_CHUNK < end ? base + DROPOUT_CHUNK : end;
        for (int64_t r = 0; r < rows; r++)
            dropout_apply(y + r * stride + from, x + r * stride + from, keep + (from - base), to - from, scale);
    }
}

enum { SPATIAL_TILE = 512 }; /* channels whose draws are kept at hand, a multiple of the chunk */

/* Samples [n, end): the draws of a tile of channels, which may begin within a chunk, are used for all pixels. */
static void spatial_dropout(const nn_call *c, int64_t n, int64_t end)
{
    const int64_t P = c->dim[1], C = c->dim[2];
    const real scale = dropout_scale(c->scalar[0]);
    real keep[SPATIAL_TILE + DROPOUT_CHUNK];
    for (; n < end; n++)
        for (int64_t from = 0; from < C; from += SPATIAL_TILE) {
            const int64_t width = C - from < SPATIAL_TILE ? C - from : SPATIAL_TILE, e = n * C + from, lead = e % DROPOUT_CHUNK;
            for (int64_t i = 0; i < lead + width; i += DROPOUT_CHUNK)
                dropout_keep(keep + i, c, c->dim[3], e - lead + i);
            for (int64_t at = n * P * C + from; at < (n + 1) * P * C; at += C)
                dropout_apply((real *)c->arg[0] + at, (const real *)c->arg[1] + at, keep + lead, width, scale);
        }
}
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static void dropout(const nn_call *c)
{
    nn_drive_range(c, NN_OP_DROPOUT, c->dim[3] ? c->dim[1] : c->dim[0] * c->dim[1], 64);
}

NN_DRIVE_ROWS(spatial_dropout, SPATIAL_DROPOUT)
#endif
