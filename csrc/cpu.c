/* cpu.c - which kernels this build has and this CPU can run.
 *
 * Each ISA level is a named, complete set of kernels (simdjson's habit). __builtin_cpu_supports also asks whether the
 * operating system saves the registers, which raw CPUID does not. The build defines NN_HAVE_<LEVEL> for the objects it
 * made. "scalar" is compiled with FMA instructions, "portable" without: there fma is our own exact software routine. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <string.h>
#ifdef NN_HAVE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "internal.h"

#define NN_SETS(level) \
    extern const nn_kernel_set nn_kernels_##level##_f32, nn_kernels_##level##_f64; \
    extern nn_range_fn *const nn_kernels_##level##_exact[NN_OP_COUNT_];
#define NN_TABLE(name, level, bf16, ...) \
    {name, &nn_kernels_##level##_f32, &nn_kernels_##level##_f64, nn_kernels_##level##_exact, bf16, {__VA_ARGS__}}
#define NN_LEVEL(level, runs) {NN_TABLE(#level, level, &nn_kernels_##level##_f32.bf16, NULL, NULL), runs}

static int always(void) { return 1; }
NN_SETS(portable)

#ifdef NN_HAVE_SCALAR
NN_SETS(scalar)
#if defined(__x86_64__)
static int has_fma(void) { return __builtin_cpu_supports("fma"); }
#else
static int has_fma(void) { return 1; } /* part of AArch64 */
#endif
#endif
#ifdef NN_HAVE_AVX2
NN_SETS(avx2)
static int has_avx2(void) { return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"); }
#endif
#ifdef NN_HAVE_AVX512
NN_SETS(avx512)
static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif
#ifdef NN_HAVE_AMX
extern const nn_bf16_set nn_bf16_amx;

/* The tiles need the CPU, the operating system, and a permission that each process has to ask for (Linux, Documentation/arch/
 * x86/xstate.rst); asking again is harmless. A refusal leaves the level avx512, with the same bits. */
static int has_amx(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    /* CPUID leaf 7 (Intel SDM 2A, table 3-8); the compilers' headers name these bits differently. */
    enum { EDX_AMX_BF16 = 1 << 22, EDX_AMX_TILE = 1 << 24, ECX_AVX512_VBMI2 = 1 << 6, EAX_1_AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & EDX_AMX_BF16) || !(d & EDX_AMX_TILE) ||
        !(c & ECX_AVX512_VBMI2))
        return 0;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & EAX_1_AVX512_BF16))
        return 0;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif
#ifdef NN_HAVE_NEON
NN_SETS(neon)
#endif

static const struct {
    nn_kernels kernels;
    int (*runs)(void);
} levels[] = {
    {NN_TABLE("reference", portable, &nn_kernels_portable_f32.bf16, nn_reference_f32, nn_reference_f64), always},
    NN_LEVEL(portable, always),
#ifdef NN_HAVE_SCALAR
    NN_LEVEL(scalar, has_fma),
#endif
#ifdef NN_HAVE_NEON
    NN_LEVEL(neon, always),
#endif
#ifdef NN_HAVE_AVX2
    NN_LEVEL(avx2, has_avx2),
#endif
#ifdef NN_HAVE_AVX512
    NN_LEVEL(avx512, has_avx512),
#endif
#ifdef NN_HAVE_AMX
    {NN_TABLE("amx", avx512, &nn_bf16_amx, NULL, NULL), has_amx},
#endif
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

const char *nn_isa_name(int32_t index) { return index >= 0 && index < LEVELS ? levels[index].kernels.name : NULL; }

const nn_kernels *nn_kernels_named(const char *name)
{
    for (int i = LEVELS - 1; i >= 0; i--)
        if ((!strcmp(name, "best") || !strcmp(name, levels[i].kernels.name)) && levels[i].runs())
            return &levels[i].kernels;
    return NULL;
}

const char *nn_kernels_name(const nn_kernels *kernels) { return kernels->name; }
