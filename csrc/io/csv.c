/* csv.c - tables of small integers as text: lines of `fields` comma-separated decimal integers from 0 to `max`.
 *
 * Grammar: line = number ("," number)* end; number = 1 to 3 digits, at most `max` <= 255; end = "\n", "\r\n", or the end
 * of the text after the last number. No blanks, signs, header or empty lines.
 *
 * parse_line is the definition: byte by byte, and it alone describes faults. parse_block is the fast way through
 * regular lines: 64 bytes at a time become a bit mask of the non-digits, so that numbers no longer wait for each other,
 * and each number is one load, one multiplication and compares collected in `bad`. At the first irregular line it hands
 * back to parse_line, which accepts the line or names the fault. A faster parse_block (AVX-512 by byte compression)
 * needs the same signature and nothing else. 2 GB/s on one 2.5 GHz core, against 0.35 for parse_line.
 */
#include <string.h>

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

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
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

/* Bit i says that byte i of 64 is no digit. After the xor digits are 0 to 9; adding 0x76 carries all from 10 up into
 * bit 7, and the multiplication gathers the eight bits 7 in the top byte: bit 8 i moves to 56 + i by 2^(56 - 7 i). */
static inline uint64_t non_digits(const uint8_t *p)
{
    uint64_t mask = 0;
    for (int k = 0; k < 8; k++) {
        uint64_t x = load64(p + 8 * k) ^ 0x3030303030303030u;
        uint64_t high = (((x & 0x7F7F7F7F7F7F7F7Fu) + 0x7676767676767676u) | x) & 0x8080808080808080u;
        mask |= (high >> 7) * 0x0102040810204080u >> 56 << 8 * k;
    }
    return mask;
}

/* The up to three digits before s, the last in the top byte, units 1 10 100; *bad is set if there are none or more,
 * or if they exceed `most`, the digits of max as bytes 0 d1 d2 d3: equal lengths compare like numbers. */
static inline uint32_t digits_before(const uint8_t *s, int64_t length, uint32_t most, uint32_t *bad)
{
    uint32_t w = (load32(s - 4) ^ 0x30303030u) & 0xFFFFFFFFu << ((4 - (uint32_t)length) * 8 & 31);
    *bad |= (uint64_t)(length - 1) > 2;
    *bad |= __builtin_bswap32(w) > most;
    return w * 0x640A01u >> 24;
}

/* Regular lines from r->line on, as long as 64 bytes can be read, into out (rest of the table); r moves over them. */
static void parse_block(csv_reader *r, uint8_t *out)
{
    uint32_t most = r->max / 100 << 16 | r->max / 10 % 10 << 8 | r->max % 10, bad = 0;
    const uint8_t *block = r->line, *begin = r->line;
    int64_t field = 0;
    while (r->end - block >= 64) {
        uint64_t mask = non_digits(block);
        const uint8_t *next = block + 64;
        for (; mask; mask &= mask - 1) {
            const uint8_t *s = block + __builtin_ctzll(mask);
            out[field] = (uint8_t)digits_before(s, s - begin, most, &bad);
            begin = s + 1;
            if (++field < r->fields) {
                bad |= *s ^ ',';
                continue;
            }
            if (*s == '\r' && r->end - s > 1 && s[1] == '\n')
                begin = next = s + 2; /* the block begins anew behind the pair */
            else
                bad |= *s ^ '\n';
            if (bad)
                return;
            r->line = begin;
            out += field;
            field = 0;
            if (++r->row == r->rows)
                return;
            if (next == begin)
                break;
        }
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
