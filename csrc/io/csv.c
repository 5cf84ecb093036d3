/* csv.c - tables of small integers as text: lines of `fields` comma-separated decimal integers from 0 to `max`.
 *
 * Grammar: line = number ("," number)* end; number = 1 to 3 digits, at most `max` <= 255; end = "\n", "\r\n", or the end
 * of the text after the last number. No blanks, signs, header or empty lines.
 *
 * parse_line is the definition: byte by byte, and it alone describes faults. The other ways (csv_loop.h) look at 64 bytes
 * at a time: regular lines only, in any number, by the widest instructions that this CPU has. What they do not take,
 * parse_line accepts or names.
 */
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "csv.h"

int64_t nn_csv_lines(const uint8_t *text, int64_t nbytes)
{
    const uint8_t *p = text, *end = text + nbytes;
    int64_t lines = 0;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        lines++;
        p++;
    }
    return lines + (nbytes > 0 && end[-1] != '\n');
}

int64_t nn_csv_fields(const uint8_t *text, int64_t nbytes)
{
    if (nbytes <= 0)
        return 0;
    const uint8_t *end = memchr(text, '\n', (size_t)nbytes);
    int64_t commas = 0, n = end ? end - text : nbytes;
    for (int64_t i = 0; i < n; i++)
        commas += text[i] == ',';
    return commas + 1;
}

/* ---- careful ---------------------------------------------------------------------------------------------------- */

static int32_t csv_raise(nn_csv_fault *fault, const csv_reader *r, int32_t reason, int64_t field,
                         const uint8_t *begin, const uint8_t *at)
{
    fault->code = reason == NN_CSV_TOO_LARGE ? NN_ERR_RANGE : NN_ERR_FORMAT;
    fault->reason = reason;
    fault->row = r->row;
    fault->field = field;
    fault->line = r->line - r->text;
    fault->begin = begin - r->text;
    fault->offset = at - r->text;
    fault->found = field;
    return fault->code;
}

/* The number of values that a too long line really has. */
static int64_t count_fields(const csv_reader *r)
{
    return nn_csv_fields(r->line, r->end - r->line);
}

/* One number at *p into *value; *p moves to the byte behind it. */
static int32_t parse_number(const csv_reader *r, const uint8_t **p, int64_t field, uint32_t *value,
                            nn_csv_fault *fault)
{
    const uint8_t *begin = *p, *q = begin;
    uint32_t v = 0;
    while (q < r->end && (uint32_t)*q - '0' < 10) {
        v = v * 10 + (*q - '0');
        if (v > r->max || q - begin >= 3)
            return csv_raise(fault, r, NN_CSV_TOO_LARGE, field, begin, q);
        q++;
    }
    int ended = q == r->end || *q == '\n' || (*q == '\r' && r->end - q > 1 && q[1] == '\n');
    if (q == begin && ended && field == 0)
        return csv_raise(fault, r, NN_CSV_BLANK_LINE, field, begin, q);
    if (q == begin && (ended || *q == ','))
        return csv_raise(fault, r, NN_CSV_EMPTY_FIELD, field, begin, q);
    if (!ended && *q != ',')
        return csv_raise(fault, r, NN_CSV_BAD_BYTE, field, begin, q);
    *value = v;
    *p = q;
    return NN_OK;
}

/* The line at r->line into out (fields, or NULL to look only); r moves to the next line. */
static int32_t parse_line(csv_reader *r, uint8_t *out, nn_csv_fault *fault)
{
    const uint8_t *p = r->line;
    for (int64_t field = 0; field < r->fields; field++) {
        const uint8_t *begin = p;
        uint32_t value = 0;
        int32_t status = parse_number(r, &p, field, &value, fault);
        if (status)
            return status;
        if (out)
            out[field] = (uint8_t)value;
        int comma = p < r->end && *p == ',';
        if (!comma && field + 1 < r->fields)
            return csv_raise(fault, r, NN_CSV_SHORT_LINE, field + 1, begin, p);
        if (comma && field + 1 == r->fields) {
            csv_raise(fault, r, NN_CSV_LONG_LINE, r->fields, p + 1, p);
            fault->found = count_fields(r);
            return fault->code;
        }
        p += comma;
    }
    p += p < r->end && *p == '\r';
    p += p < r->end;
    r->line = p;
    r->row++;
    return NN_OK;
}

/* ---- fast ------------------------------------------------------------------------------------------------------- */

/* Which of the candidates among 64 bytes have this value. */
static inline uint64_t csv_equal(const uint8_t *p, uint64_t candidates, uint8_t value)
{
    uint64_t found = 0;
    for (; candidates; candidates &= candidates - 1)
        if (p[__builtin_ctzll(candidates)] == value)
            found |= candidates & -candidates;
    return found;
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    return x;
}

static inline void classify(const uint8_t *p, uint64_t *digits, uint64_t *commas)
{
    *digits = *commas = 0;
#if defined(__x86_64__)
    for (int k = 0; k < 64; k += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(p + k)), low = _mm_sub_epi8(x, _mm_set1_epi8('0'));
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(low, _mm_set1_epi8(9)), low);
        *digits |= (uint64_t)(uint32_t)_mm_movemask_epi8(digit) << k;
        *commas |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(','))) << k;
    }
#else
    /* Eight bytes at a time: adding 0x7F carries all but zero into bit 7, adding 0x76 all from 10 up; the
     * multiplication gathers the eight bits 7 in the top byte: bit 8 i moves to 56 + i by 2^(56 - 7 i). */
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu, top = ~low, gather = 0x0102040810204080u;
    for (int k = 0; k < 64; k += 8) {
        uint64_t x = (uint64_t)load32(p + k + 4) << 32 | load32(p + k);
        uint64_t d = x ^ 0x3030303030303030u, c = x ^ 0x2C2C2C2C2C2C2C2Cu;
        d = ~(((d & low) + 0x7676767676767676u) | d) & top;
        c = ~(((c & low) + low) | c) & top;
        *digits |= (d >> 7) * gather >> 56 << k;
        *commas |= (c >> 7) * gather >> 56 << k;
    }
#endif
}

/* A number's digits, the last in the top byte, become its value by one multiplication; as bytes d1 d2 d3 with the first
 * on top they compare like numbers, so the largest of a block tells whether all are in range. */
static inline int emit(uint8_t *out, const uint8_t *p, const csv_block *b, uint32_t max)
{
    static const uint32_t keep[3] = {0x0F000000, 0x0F0F0000, 0x0F0F0F00};
    uint32_t largest = 0;
    for (uint64_t ends = b->ends; ends; ends &= ends - 1) {
        int at = __builtin_ctzll(ends);
        uint32_t w = load32(p + at - 4) & keep[(b->two >> at & 1) + (b->three >> at & 1)], order = __builtin_bswap32(w);
        *out++ = (uint8_t)(w * 0x640A01u >> 24);
        largest = order > largest ? order : largest;
    }
    return largest > (max / 100 << 16 | max / 10 % 10 << 8 | max % 10);
}

#define CSV_WAY parse_portable
#define CSV_TARGET
#define CSV_CLASSIFY classify
#define CSV_EMIT emit
#include "csv_loop.h"

#if defined(__x86_64__)
#include "csv_avx2.h"
#if defined(__clang__) || __GNUC__ >= 8 /* the first GCC to know VBMI2 */
#define HAVE_CSV_AVX512
#include "csv_avx512.h"
#endif
#endif

/* The way of that name, or the best; NULL if this build or CPU has none of that name, or if it is "careful". */
static csv_way *find_way(const char *name, int *known)
{
    int best = !strcmp(name, "best");
    *known = 1;
#if defined(HAVE_CSV_AVX512)
    if ((best || !strcmp(name, "avx512")) && has_csv_avx512())
        return parse_avx512;
#endif
#if defined(__x86_64__)
    if ((best || !strcmp(name, "avx2")) && has_csv_avx2())
        return parse_avx2;
#endif
    if (best || !strcmp(name, "portable"))
        return parse_portable;
    *known = !strcmp(name, "careful");
    return NULL;
}

/* ---- public ----------------------------------------------------------------------------------------------------- */

int32_t nn_csv_parse_by(const char *name, uint8_t *out, const uint8_t *text, int64_t nbytes, int64_t rows, int64_t fields,
                        int32_t max, nn_csv_fault *fault)
{
    int known;
    csv_way *fast = find_way(name, &known);
    memset(fault, 0, sizeof *fault);
    if (!known || nbytes < 0 || rows < 0 || fields < 1 || max < 0 || max > 255)
        return fault->code = NN_ERR_ARGUMENT;
    csv_reader r = {text, text, text + nbytes, 0, rows, fields, (uint32_t)max};
    while (r.row < rows) {
        if (r.line == r.end)
            return csv_raise(fault, &r, NN_CSV_FEW_LINES, 0, r.end, r.end);
        if (fast && out && r.line - text >= 4) /* a number is loaded with the bytes before it */
            fast(&r, out + r.row * fields);
        if (r.row == rows || r.line == r.end)
            continue;
        int32_t status = parse_line(&r, out ? out + r.row * fields : NULL, fault);
        if (status)
            return status;
    }
    if (r.line < r.end)
        return csv_raise(fault, &r, NN_CSV_MANY_LINES, 0, r.line, r.line);
    return NN_OK;
}

int32_t nn_csv_parse(uint8_t *out, const uint8_t *text, int64_t nbytes, int64_t rows, int64_t fields, int32_t max,
                     nn_csv_fault *fault)
{
    return nn_csv_parse_by("best", out, text, nbytes, rows, fields, max, fault);
}

int64_t nn_csv_format(uint8_t *text, int64_t capacity, const uint8_t *values, int64_t rows, int64_t fields)
{
    if (rows < 0 || fields < 1 || rows > INT64_MAX / 4 / fields || capacity < 4 * rows * fields)
        return -1;
    uint8_t number[256][4], length[256]; /* each with its comma */
    for (int v = 0; v < 256; v++) {
        int n = 0;
        if (v >= 100)
            number[v][n++] = (uint8_t)('0' + v / 100);
        if (v >= 10)
            number[v][n++] = (uint8_t)('0' + v / 10 % 10);
        number[v][n++] = (uint8_t)('0' + v % 10);
        length[v] = (uint8_t)(n + 1);
        for (; n < 4; n++)
            number[v][n] = ',';
    }
    uint8_t *p = text;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < fields; j++) {
            uint8_t v = values[i * fields + j];
            memcpy(p, number[v], 4); /* never past capacity: 4 bytes a value are reserved */
            p += length[v];
        }
        p[-1] = '\n';
    }
    return p - text;
}
