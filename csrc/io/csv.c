/* csv.c - tables of small integers as text: lines of `fields` comma-separated decimal integers from 0 to `max`.
 *
 * Grammar: line = number ("," number)* end; number = 1 to 3 digits, at most `max` <= 255; end = "\n", "\r\n", or the end
 * of the text after the last number. No blanks, signs, header or empty lines.
 *
 * parse_line is the definition: byte by byte, and it alone describes faults. parse_block is the fast way through
 * regular lines: 64 bytes at a time become bit masks, so that numbers no longer wait for each other and grammar is
 * checked 64 bytes at once; each number is then one load and one multiplication. At the first irregular line it hands
 * back to parse_line, which accepts the line or names the fault. A faster parse_block (AVX-512 by byte compression)
 * needs the same signature and nothing else.
 */
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "../nncore.h"

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

/* What the two ways share: where the next line begins, and what a line has to be. */
typedef struct csv_reader {
    const uint8_t *text, *line, *end; /* line moves on by whole accepted lines */
    int64_t row, rows, fields;
    uint32_t max;
} csv_reader;

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

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    return x;
}

/* Bit i of *digits, *commas says that byte i of 64 is a digit, a comma. */
static inline void classify(const uint8_t *p, uint64_t *digits, uint64_t *commas)
{
    *digits = *commas = 0;
#if defined(__SSE2__) /* part of x86-64 */
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

/* What of a block is not yet vouched for: `bad` marks the second of two separators and the fourth of four digits,
 * `ends` what is neither digit nor comma, `stops` all separators still to come. */
typedef struct csv_block {
    uint64_t stops, bad, ends;
} csv_block;

static inline csv_block survey(const uint8_t *p, uint64_t *before)
{
    uint64_t digits, commas;
    classify(p, &digits, &commas);
    uint64_t stops = ~digits, last = *before;
    uint64_t s1 = stops << 1 | last >> 63, s2 = stops << 2 | last >> 62, s3 = stops << 3 | last >> 61;
    *before = stops;
    return (csv_block){stops, (stops & s1) | ~(stops | s1 | s2 | s3), stops & ~commas};
}

/* Regular lines from r->line on, as long as 64 bytes can be read, into out (rest of the table); r moves over them.
 * A number's digits, the last in the top byte, become its value by one multiplication; as bytes d1 d2 d3 with the first
 * on top they compare like numbers, so the largest one of a line tells whether all were in range. */
static void parse_block(csv_reader *r, uint8_t *out)
{
    static const uint32_t keep[8] = {0, 0x0F000000, 0x0F0F0000, 0x0F0F0F00}; /* by length, else 0 */
    const uint32_t most = r->max / 100 << 16 | r->max / 10 % 10 << 8 | r->max % 10;
    const uint8_t *block = r->line, *begin = r->line;
    uint64_t before = ~(uint64_t)0; /* the separators of the block before: a line begins behind one */
    uint32_t largest = 0;
    int64_t field = 0;
    while (r->end - block >= 64) {
        csv_block b = survey(block, &before);
        const uint8_t *next = block + 64;
        for (; b.stops; b.stops &= b.stops - 1) {
            const uint8_t *s = block + __builtin_ctzll(b.stops);
            uint32_t w = load32(s - 4) & keep[(s - begin) & 7], order = __builtin_bswap32(w);
            out[field] = (uint8_t)(w * 0x640A01u >> 24);
            largest = order > largest ? order : largest;
            begin = s + 1;
            if (++field < r->fields)
                continue;
            uint64_t here = b.stops & -b.stops, past = here | (here - 1);
            int pair = *s == '\r' && r->end - s > 1 && s[1] == '\n';
            if ((b.bad & past) || (b.ends & past) != here || largest > most || (*s != '\n' && !pair))
                return;
            b.bad &= ~past;
            b.ends &= ~past;
            begin += pair;
            r->line = begin;
            out += field;
            field = 0;
            if (++r->row == r->rows)
                return;
            if (pair) { /* the block begins anew behind it */
                next = begin;
                before = ~(uint64_t)0;
                b.bad = b.ends = 0;
                break;
            }
        }
        if (b.bad | b.ends)
            return;
        block = next;
    }
}

/* ---- public ----------------------------------------------------------------------------------------------------- */

int32_t nn_csv_parse(uint8_t *out, const uint8_t *text, int64_t nbytes, int64_t rows, int64_t fields, int32_t max,
                     nn_csv_fault *fault)
{
    memset(fault, 0, sizeof *fault);
    if (nbytes < 0 || rows < 0 || fields < 1 || max < 0 || max > 255)
        return fault->code = NN_ERR_ARGUMENT;
    csv_reader r = {text, text, text + nbytes, 0, rows, fields, (uint32_t)max};
    while (r.row < rows) {
        if (r.line == r.end)
            return csv_raise(fault, &r, NN_CSV_FEW_LINES, 0, r.end, r.end);
        if (out && r.line - text >= 4) /* a number is loaded with the bytes before it */
            parse_block(&r, out + r.row * fields);
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
