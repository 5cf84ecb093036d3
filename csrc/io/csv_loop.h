/* csv_loop.h - the fast way through regular lines, for one ISA. csv.c includes it once for each, having defined
 *
 *   CSV_WAY       the function to make, a csv_way
 *   CSV_TARGET    its attributes
 *   CSV_CLASSIFY  void (const uint8_t *p, uint64_t *digits, uint64_t *commas): masks of the 64 bytes at p
 *   CSV_EMIT      int (uint8_t *out, const uint8_t *p, const csv_block *b, uint32_t max): the values of the numbers that
 *                 end in the 64 bytes at p, one behind the other, of which it may write 64 bytes; 1 if one is above max
 *
 * Grammar is checked by mask arithmetic, 64 bytes at once; only line ends are looked at one by one. Whatever is amiss, now
 * or a few lines on, ends the function with the line it is in: parse_line, which is slower and knows what to say, goes on.
 */
CSV_TARGET static void CSV_WAY(csv_reader *r, uint8_t *out)
{
    uint8_t *const last = out + (r->rows - r->row) * r->fields;
    uint64_t before = 0, carriage = 0; /* digits of the block before; whether it ended in a carriage return */
    int64_t field = 0;
    for (const uint8_t *p = r->line; r->end - p >= 64; p += 64) {
        uint64_t digits, commas;
        __builtin_prefetch(p + (r->end - p > CSV_AHEAD ? CSV_AHEAD : 0));
        CSV_CLASSIFY(p, &digits, &commas);
        csv_block b = {~digits, digits << 1 | before >> 63, digits << 2 | before >> 62, digits << 3 | before >> 61, 0};
        before = digits;
        b.two &= b.one;
        b.three &= b.two;
        b.ends = b.stops & b.one;
        if ((digits & b.three) | (commas & ~b.one))
            return;
        uint8_t near_end[64], *to = last - out < 64 ? near_end : out;
        int64_t n = __builtin_popcountll(b.ends), begun = 0;
        if (n > last - out || CSV_EMIT(to, p, &b, r->max))
            return;
        if (to != out)
            memcpy(out, near_end, (size_t)n);
        out += n;
        uint64_t others = b.stops & ~commas;
        if (others | carriage) {
            uint64_t feeds = csv_equal(p, others, '\n'), returns = others & ~feeds, behind = returns << 1 | carriage;
            if (csv_equal(p, returns, '\r') != returns || (returns & ~b.one) | (feeds & ~(b.one | behind)) | (behind & ~feeds))
                return;
            carriage = returns >> 63;
            for (; feeds; feeds &= feeds - 1) {
                int64_t here = __builtin_popcountll(b.ends & (feeds ^ (feeds - 1)));
                if (field + here - begun != r->fields)
                    return;
                begun = here;
                field = 0;
                r->line = p + __builtin_ctzll(feeds) + 1;
                if (++r->row == r->rows)
                    return;
            }
        }
        field += n - begun;
    }
}
#undef CSV_WAY
#undef CSV_TARGET
#undef CSV_CLASSIFY
#undef CSV_EMIT
