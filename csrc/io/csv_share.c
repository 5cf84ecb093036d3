/* csv_share.c - one table read by several threads that share nothing but an nn_csv_job, its text read from memory once.
 *
 * Piece i owns the lines that begin in its bytes. Threads take pieces in ascending order. A thread counts the lines of
 * its piece, which brings the text into its cache, learns from the piece before how many lines lie above, and says so
 * to the next one before it parses. Nobody needs to know the number of lines first.
 */
#if defined(__linux__) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE
#endif
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "csv.h"

/* The first byte at or behind `at` < nbytes that begins a line; nbytes if none does. */
static int64_t line_from(const nn_csv_job *job, int64_t at)
{
    if (at == 0)
        return 0;
    const uint8_t *p = memchr(job->text + at - 1, '\n', (size_t)(job->nbytes - at + 1));
    return p ? p - job->text + 1 : job->nbytes;
}

/* Lines above piece i, and those of the piece added for the next one. */
static int64_t take_turn(nn_csv_job *job, int64_t i, int64_t lines)
{
    while (__atomic_load_n(&job->counted, __ATOMIC_ACQUIRE) != i)
        sched_yield();
    int64_t above = job->rows;
    job->rows = above + lines;
    __atomic_store_n(&job->counted, i + 1, __ATOMIC_RELEASE);
    return above;
}

static int32_t parse_piece(const nn_csv_job *job, int64_t above, int64_t lines, int64_t begin, int64_t end,
                           nn_csv_fault *fault)
{
    /* Where lines do not fit, one of them is short: it is looked for, not stored. */
    uint8_t *out = above + lines <= job->capacity ? job->out + above * job->fields : NULL;
    if (nn_csv_parse(out, job->text + begin, end - begin, lines, job->fields, (int32_t)job->max, fault)) {
        fault->row += above;
        fault->line += begin;
        fault->begin += begin;
        fault->offset += begin;
    }
    return fault->code;
}

/* The whole pages of a piece. */
static void give_back(const nn_csv_job *job, int64_t begin, int64_t end)
{
#if defined(__linux__) /* elsewhere MADV_DONTNEED means other things */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)(job->text + begin) + page - 1) / page * page, last = (uintptr_t)(job->text + end) / page * page;
    if (job->mapped && first < last)
        madvise((void *)first, last - first, MADV_DONTNEED);
#else
    (void)job, (void)begin, (void)end;
#endif
}

int32_t nn_csv_work(nn_csv_job *job, nn_csv_fault *fault)
{
    memset(fault, 0, sizeof *fault);
    if (job->nbytes < 0 || job->capacity < 0 || job->fields < 1 || job->piece < 1 || job->max < 0 || job->max > 255)
        return fault->code = NN_ERR_ARGUMENT;
    int64_t pieces = job->nbytes / job->piece + (job->nbytes % job->piece > 0);
    while (!fault->code && !__atomic_load_n(&job->stop, __ATOMIC_RELAXED)) {
        int64_t i = __atomic_fetch_add(&job->taken, 1, __ATOMIC_RELAXED);
        if (i >= pieces)
            break;
        int64_t begin = line_from(job, i * job->piece), end = i + 1 < pieces ? line_from(job, (i + 1) * job->piece) : job->nbytes;
        int64_t lines = nn_csv_lines(job->text + begin, end - begin), above = take_turn(job, i, lines);
        if (lines > 0 && parse_piece(job, above, lines, begin, end, fault))
            __atomic_store_n(&job->stop, 1, __ATOMIC_RELAXED); /* the pieces before this one are all taken */
        give_back(job, i * job->piece, i + 1 < pieces ? (i + 1) * job->piece : job->nbytes);
    }
    return fault->code;
}
