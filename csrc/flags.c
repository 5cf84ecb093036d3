/* flags.c - IEEE 754's sticky flags, by instruction and thread: what an instruction did that its outputs may no longer show.
 *
 * x86-64 keeps control and flags in MXCSR, AArch64 in FPCR and FPSR. Reading MXCSR takes a fraction of a nanosecond and
 * writing it six, so flags are lowered only when one of the counted kinds is up. Each thread notes its kinds in a row of
 * its own; the last to arrive at the end of a step joins the rows, so neither the number of threads nor their order shows.
 * Elsewhere nothing is ever raised. numerics.md R6 and section 2.1; IEEE 754-2019, section 7. */
#include <string.h>

#include "internal.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* What surrounds a kernel may not move past the reading: gcc knows no FENV_ACCESS. */
#define NN_STAY __asm__ volatile("" ::: "memory")

#if defined(__x86_64__)
enum { MXCSR_DEFAULT = 0x1f80 }; /* all exceptions masked, to nearest, gradual underflow, no flag */

uint64_t nn_fp_enter(void)
{
    uint64_t before = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT);
    NN_STAY;
    return before;
}

void nn_fp_leave(uint64_t before)
{
    NN_STAY;
    _mm_setcsr((unsigned)before);
}

int32_t nn_fp_take(int32_t kinds)
{
    NN_STAY;
    const unsigned csr = _mm_getcsr();
    /* IE 0, ZE 2, OE 3, UE 4; DE between them is no exception of IEEE's */
    const int32_t found = (int32_t)((csr & 1) | (csr >> 1 & 14)) & kinds;
    if (found)
        _mm_setcsr(csr & ~(unsigned)((found & 1) | (found & 14) << 1));
    NN_STAY;
    return found;
}
#elif defined(__aarch64__)
uint64_t nn_fp_enter(void)
{
    uint64_t control, flags;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(flags)::"memory");
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %0" ::"r"((uint64_t)0) : "memory");
    return control << 32 | (flags & 0xffffffff);
}

void nn_fp_leave(uint64_t before)
{
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" ::"r"(before >> 32), "r"(before & 0xffffffff) : "memory");
}

int32_t nn_fp_take(int32_t kinds)
{
    uint64_t flags; /* IOC 0, DZC 1, OFC 2, UFC 3: our own order */
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags)::"memory");
    const int32_t found = (int32_t)flags & kinds;
    if (found)
        __asm__ volatile("msr fpsr, %0" ::"r"(flags & ~(uint64_t)found) : "memory");
    return found;
}
#else
uint64_t nn_fp_enter(void) { return 0; }
void nn_fp_leave(uint64_t before) { (void)before; }
int32_t nn_fp_take(int32_t kinds) { return 0 & kinds; }
#endif

/* NaN (1) and infinity (2) among float elements [begin, end). Hardly ever there is one to look for. */
static int32_t look(const float *x, int64_t begin, int64_t end)
{
    const int64_t first = nn_find_nonfinite(x + begin, end - begin);
    int32_t found = 0;
    for (int64_t i = first < 0 ? end : begin + first; i < end; i++) {
        uint32_t u;
        memcpy(&u, x + i, 4);
        u &= 0x7fffffff;
        found |= (u > 0x7f800000) | (u == 0x7f800000) << 1;
    }
    return found;
}

int32_t nn_scan_product(const nn_call *c, const nn_tape *tape, const nn_instr *in)
{
    int64_t begin, end;
    nn_team_split(c->team, tape->buffers[in->arg[0]].count, NN_GRAIN, &begin, &end);
    int32_t made = look(c->arg[0], begin, end), had = 0;
    for (int32_t i = 1; made && i < in->n_args; i++)
        if (in->arg[i] >= 0 && tape->buffers[in->arg[i]].dtype == NN_REAL)
            had |= look(c->arg[i], 0, tape->buffers[in->arg[i]].count);
    return had ? 0 : (made & 1 ? NN_INVALID : 0) | (made & 2 ? NN_OVERFLOW : 0);
}

int64_t nn_raised_stride(int64_t instructions) { return (instructions + 63) / 64 * 64; }

int64_t nn_raised_nbytes(int64_t instructions, int32_t threads) { return nn_raised_stride(instructions) * threads; }

void nn_count_events(nn_run *run, nn_fault *fault, int32_t ranks, int64_t total, int64_t base, int64_t first, int64_t n)
{
    const int64_t stride = nn_raised_stride(total);
    for (int64_t i = base + first; i < base + first + n; i++) {
        int32_t kinds = 0;
        for (int32_t r = 0; r < ranks; r++)
            kinds |= run->raised[r * stride + i];
        if (!kinds)
            continue;
        for (int32_t k = 0; k < NN_KINDS; k++)
            if (kinds >> k & 1 && run->events[i].steps[k]++ == 0)
                run->events[i].first[k] = run->step;
        if (kinds & run->fatal && fault->code == NN_OK) {
            fault->code = NN_ERR_FLAGGED;
            fault->instr = (int32_t)(i - base);
            fault->value = kinds;
        }
    }
}
