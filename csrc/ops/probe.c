/* probe.c - the limits of this machine that every share of peak is measured against. Not an op: only benches call it.
 *
 *   fma    FMAs of the shape of a register tile: one broadcast from L1 for every two, nothing else (performance.md,
 *          section 1). Real code may not do better, and a plain FMA loop without loads is not what it could reach.
 *   bf16   products of a math mode as the tiles' inner loop does them, both operands in L1 (amx.c); bf16x3 and bf16x6 alike
 *   read   vector loads over a range again and again: L1, L2, L3 or memory, by its size
 *   words  words of Philox and nothing else: numbers at random can be no faster (vec/philox.h)
 *   meet   barriers of the team: how far apart its processors are, which on a virtual machine changes by the minute
 *
 * Give it random data: constant operands switch fewer wires, so that the clock stays higher (performance.md 0.4).
 */
#ifdef NN_PASS_KERNEL
enum { PROBE_K = 128, PROBE_STREAMS = 8 };
_Static_assert(sizeof(real) * (PROBE_K * MR + 2 * VW) <= NN_PROBE_FMA_NBYTES, "the data of probe_fma");

/* Returns the operations done. The sums go to `out`, or the compiler would drop them. */
static double probe_fma(real *out, const real *data, int64_t repeats)
{
    vreal acc[MR][2], row[2] = {v_load(data), v_load(data + VW)};
    V_UNROLL for (int i = 0; i < MR; i++)
        acc[i][0] = acc[i][1] = v_zero();
    for (int64_t r = 0; r < repeats; r++) {
        const real *a = data + 2 * VW;
        for (int p = 0; p < PROBE_K; p++, a += MR)
            V_UNROLL for (int i = 0; i < MR; i++) {
                vreal ai = v_set1(a[i]);
                acc[i][0] = v_fma(ai, row[0], acc[i][0]);
                acc[i][1] = v_fma(ai, row[1], acc[i][1]);
            }
    }
    V_UNROLL for (int i = 0; i < MR; i++) {
        v_store(out + 2 * i * VW, acc[i][0]);
        v_store(out + (2 * i + 1) * VW, acc[i][1]);
    }
    return (double)repeats * PROBE_K * MR * 2 * VW * 2;
}

/* Returns the bytes read. */
static double probe_read(real *out, const real *data, int64_t n, int64_t repeats)
{
    vint mix[PROBE_STREAMS];
    for (int s = 0; s < PROBE_STREAMS; s++)
        mix[s] = vi_set1(0);
    int64_t whole = n - n % (PROBE_STREAMS * VW);
    for (int64_t r = 0; r < repeats; r++)
        for (const real *d = data, *end = data + whole; d < end; d += PROBE_STREAMS * VW)
            V_UNROLL for (int s = 0; s < PROBE_STREAMS; s++)
                mix[s] = vi_xor(mix[s], v_bits(v_load(d + s * VW)));
    for (int s = 0; s < PROBE_STREAMS; s++)
        v_store(out + s * VW, v_frombits(mix[s]));
    return (double)repeats * (double)whole * (double)sizeof(real);
}

/* Returns the words made. */
static double probe_words(uint64_t *out, int64_t repeats)
{
    const philox_keys keys = philox_schedule(1);
    for (int64_t r = 0; r < repeats; r++) {
        philox_words(out, &keys, NN_STREAM_LAB, 0, (uint32_t)r * (PHILOX_CHUNK / 4));
        __asm__ volatile("" : : "r"(out) : "memory"); /* or only the last ones would be made */
    }
    return (double)repeats * PHILOX_CHUNK;
}

static double probe_kernel(int32_t what, void *out, const void *data, int64_t nbytes, int64_t repeats)
{
    switch (what) {
    case NN_PROBE_FMA: return probe_fma(out, data, repeats);
    case NN_PROBE_WORDS: return probe_words(out, repeats);
    default: return probe_read(out, data, nbytes / (int64_t)sizeof(real), repeats);
    }
}
#endif

#ifdef NN_PASS_DRIVER
typedef struct probe_context {
    const nn_kernel_set *set;
    const nn_bf16_set *bf16;
    const char *data;
    int64_t nbytes, repeats;
    double *done; /* per rank */
    int32_t what;
} probe_context;

/* Each rank reads a part of its own, so that L1 and L2 are its own too. */
static void probe_rank(const nn_team *team, void *context)
{
    const probe_context *x = context;
    int64_t begin = 0, end = x->nbytes;
    if (x->what == NN_PROBE_MEET) {
        const volatile int32_t ok = NN_OK;
        for (int64_t r = 0; r < x->repeats; r++)
            nn_team_barrier(team, &ok);
        x->done[team->rank] = team->rank == 0 ? (double)x->repeats : 0;
        return;
    }
    if (x->what >= NN_PROBE_BF16) {
        x->done[team->rank] = x->bf16->probe ? x->bf16->probe(x->what, team->scratch, x->data, x->nbytes, x->repeats) : 0;
        return;
    }
    if (x->what == NN_PROBE_READ)
        nn_team_split(team, x->nbytes, 4096, &begin, &end);
    x->done[team->rank] = x->set->probe(x->what, team->scratch, x->data + begin, end - begin, x->repeats);
}

double nn_probe(const nn_kernels *kernels, int32_t what, int32_t threads, const void *data, int64_t nbytes,
                int64_t repeats, void *scratch)
{
    const int counts = what == NN_PROBE_FMA || what >= NN_PROBE_BF16;
    if (what < NN_PROBE_FMA || what > NN_PROBE_BF16X6 || threads < 1 || threads > NN_MAX_THREADS || repeats < 0 ||
        nbytes < (counts ? NN_PROBE_FMA_NBYTES : 0) || !data || !scratch)
        return -1;
    double done[NN_MAX_THREADS] = {0}, total = 0;
    probe_context x = {kernels->f32, kernels->bf16, data, nbytes, repeats, done, what};
    nn_team_run(threads, scratch, probe_rank, &x);
    for (int32_t t = 0; t < threads; t++)
        total += done[t];
    return total;
}
#endif
