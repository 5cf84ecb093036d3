/* test_io.c - readers of bytes from outside on bytes that lie: cut off anywhere, any bit flipped, or random.
 *
 * Every input stands in memory of exactly its size, so that the address sanitizer sees the first byte read too many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/csv.h"
#include "check.h"

#define SPLITMIX_SEED 3
#include "splitmix.h"

static uint8_t *copy_of(const void *bytes, int64_t n)
{
    uint8_t *p = malloc((size_t)(n > 0 ? n : 1));
    if (n > 0)
        memcpy(p, bytes, (size_t)n);
    return n > 0 ? p : (free(p), malloc(1));
}

/* ---- tape files -------------------------------------------------------------------------------------------------- */

typedef struct writer {
    uint8_t bytes[1024];
    int64_t n;
} writer;

static void put(writer *w, uint64_t value, int nbytes)
{
    for (int i = 0; i < nbytes; i++)
        w->bytes[w->n++] = (uint8_t)(value >> 8 * i);
}

static void put_text(writer *w, const char *text)
{
    put(w, strlen(text), 2);
    memcpy(w->bytes + w->n, text, strlen(text));
    w->n += (int64_t)strlen(text);
}

static void put_buffer(writer *w, const char *name, int region, int dtype, int64_t offset, int64_t rows, int64_t columns)
{
    put_text(w, name);
    put(w, (uint64_t)region, 1);
    put(w, (uint64_t)dtype, 1);
    put(w, (uint64_t)offset, 8);
    put(w, (uint64_t)(region == NN_EXTERNAL ? 0 : rows * columns), 8);
    put(w, 2, 1);
    put(w, (uint64_t)rows, 8);
    put(w, (uint64_t)columns, 8);
}

/* y (2, 4) = relu(x (2, 3) w (3, 4)), as a file. */
static writer small_file(void)
{
    writer w = {.n = 0};
    memcpy(w.bytes, "NNTAPE1\n", 8);
    w.n = 8;
    put(&w, NN_NUMERICS_ID, 4);
    put(&w, 1, 4);
    put(&w, 2, 4);
    put_text(&w, "layout w");
    put_text(&w, "io");
    put_text(&w, "seed");
    put_text(&w, "7");
    put_text(&w, "m\xC3\xA4x/train");
    put(&w, NN_F32, 4);
    put(&w, 2, 4);
    put(&w, 64, 8);
    put(&w, 0, 8);
    put(&w, 64, 8);
    put(&w, 3, 4);
    put_buffer(&w, "y", NN_WORK, NN_REAL, 0, 2, 4);
    put_buffer(&w, "x", NN_EXTERNAL, NN_F32, 0, 2, 3);
    put_buffer(&w, "w", NN_PARAM, NN_REAL, 0, 3, 4);
    put(&w, 1, 4);
    put_text(&w, "dense_fwd");
    put_text(&w, "relu_fwd");
    put_text(&w, "0 Dense");
    put(&w, 1, 1);
    put(&w, 4, 1);
    for (int i = 0; i < 4; i++)
        put(&w, i < 3 ? (uint64_t)i : UINT64_MAX, 4);
    put(&w, 4, 1);
    for (int i = 0; i < 4; i++)
        put(&w, i < 3 ? (uint64_t)i + 2 : UINT64_MAX, 8);
    put(&w, 0, 1);
    put(&w, 0, 8);
    put(&w, 1, 4);
    put_text(&w, "y");
    put(&w, 0, 4);
    return w;
}

/* Both calls on bytes of exactly n; whatever they accept must hold together. Returns the last status. */
static int32_t try_load(const uint8_t *bytes, int64_t n)
{
    uint8_t *p = copy_of(bytes, n);
    nn_program program;
    nn_fault fault, check;
    int64_t need = -5;
    int32_t status = nn_tape_load(NULL, NULL, &need, p, n, &fault);
    CHECK(status == fault.code && (status == NN_OK ? need >= 0 && need <= 16 * n : need == -5), "status %d need %lld", status,
          (long long)need);
    CHECK(status == NN_OK || (fault.index >= 0 && fault.index <= n), "byte %lld of %lld", (long long)fault.index, (long long)n);
    if (status == NN_OK) {
        void *memory = malloc((size_t)need);
        status = nn_tape_load(&program, memory, &need, p, n, &fault);
        for (int64_t i = 0; status == NN_OK && i < program.n_tapes; i++) {
            const nn_program_tape *t = &program.tapes[i];
            CHECK(nn_tape_check(&t->tape, &check) == NN_OK, "accepted a malformed tape");
            CHECK(nn_program_find(&program, t->name), "tape %s is not found", t->name);
            for (int64_t b = 0; b < t->tape.n_buffers; b++)
                CHECK(nn_program_buffer(t, t->info[b].name) <= b, "buffer %s is not found", t->info[b].name);
            CHECK(nn_program_output(t, "no such") == -1, "found what is not there");
        }
        free(memory);
    }
    free(p);
    return status;
}

static void well_formed(const writer *w)
{
    nn_program program;
    nn_fault fault;
    int64_t need = 0, less;
    CHECK(nn_tape_load(NULL, NULL, &need, w->bytes, w->n, &fault) == NN_OK, "byte %lld", (long long)fault.index);
    char *memory = malloc((size_t)need + 8);
    CHECK(nn_tape_load(&program, memory + 1, &need, w->bytes, w->n, &fault) == NN_ERR_ARGUMENT, "crooked memory");
    for (less = 0; less < need; less += 8) {
        program.n_tapes = -9;
        CHECK(nn_tape_load(&program, memory, &less, w->bytes, w->n, &fault) == NN_ERR_NOMEM && program.n_tapes == -9,
              "%lld bytes of %lld were enough", (long long)less, (long long)need);
    }
    CHECK(nn_tape_load(&program, memory, &need, w->bytes, w->n, &fault) == NN_OK, "byte %lld", (long long)fault.index);
    const nn_program_tape *t = nn_program_find(&program, "m\xC3\xA4x/train");
    CHECK(t && program.n_tapes == 1 && !nn_program_find(&program, "train"), "%lld tapes", (long long)program.n_tapes);
    CHECK(!strcmp(nn_program_note(&program, "seed"), "7") && !strcmp(nn_program_note(&program, "layout w"), "io") &&
          !nn_program_note(&program, "see"), "notes");
    const nn_instr *in = &t->tape.instrs[0];
    CHECK(in->op == NN_OP_DENSE_FWD && in->dim[3] == NN_OP_RELU_FWD && in->arg[3] == -1 && in->dim[2] == 4, "dims");
    int64_t b = nn_program_buffer(t, "w");
    CHECK(b == 2 && t->tape.buffers[b].count == 12 && t->info[b].rank == 2 && t->info[b].size[1] == 4, "buffer %lld",
          (long long)b);
    CHECK(nn_program_output(t, "y") == 0 && t->tape.batch == 2, "output");
    free(memory);
}

static void tape_files(void)
{
    writer w = small_file(), bent;
    well_formed(&w);
    CHECK(try_load(w.bytes, w.n) == NN_OK, "the small file");
    for (int64_t n = 0; n < w.n; n++)
        CHECK(try_load(w.bytes, n) == NN_ERR_FORMAT, "cut off at %lld", (long long)n);
    bent = w;
    bent.bytes[bent.n++] = 0;
    CHECK(try_load(bent.bytes, bent.n) == NN_ERR_FORMAT, "a byte too many");
    for (int64_t i = 0; i < w.n; i++)
        for (int bit = 0; bit < 9; bit++) {
            bent = w;
            bent.bytes[i] ^= (uint8_t)(bit < 8 ? 1 << bit : 0xff);
            int32_t status = try_load(bent.bytes, bent.n);
            CHECK(status == NN_OK || status == NN_ERR_FORMAT, "byte %lld: %d", (long long)i, status);
            CHECK(i >= 12 || status == NN_ERR_FORMAT, "byte %lld of the head", (long long)i);
        }
    for (int round = 0; round < 20000; round++) { /* several bytes at once, small numbers preferred */
        bent = w;
        for (int k = 0; k < 1 + round % 4; k++)
            bent.bytes[12 + next_u64() % (uint64_t)(w.n - 12)] = (uint8_t)(next_u64() % (round % 2 ? 256 : 5));
        try_load(bent.bytes, bent.n);
    }
    int64_t need;
    nn_fault fault;
    CHECK(nn_tape_load(NULL, NULL, &need, w.bytes, -1, &fault) == NN_ERR_ARGUMENT, "negative size");
    CHECK(nn_tape_load(NULL, NULL, &need, w.bytes, INT64_MAX, &fault) == NN_ERR_ARGUMENT, "absurd size");
}

/* ---- IDX --------------------------------------------------------------------------------------------------------- */

static void try_idx(const uint8_t *bytes, int64_t n)
{
    uint8_t *p = copy_of(bytes, n);
    nn_idx idx = {.header = -1};
    nn_fault fault;
    int32_t status = nn_idx_parse(&idx, p, n, &fault);
    if (status == NN_OK) {
        int64_t product = 1;
        for (int i = 0; i < 4; i++)
            product *= idx.dim[i];
        CHECK(idx.rank >= 1 && idx.rank <= 4 && idx.header == 4 + 4 * idx.rank && idx.header <= n, "rank %d", idx.rank);
        CHECK(product == idx.nbytes && product >= 0 && product <= (int64_t)1 << 48, "%lld bytes", (long long)idx.nbytes);
    } else {
        CHECK(status == NN_ERR_FORMAT || status == NN_ERR_LIMIT, "status %d", status);
        CHECK(idx.header == -1 && fault.code == status && fault.index >= 0 && fault.index <= n, "index %lld",
              (long long)fault.index);
    }
    free(p);
}

static void idx_files(void)
{
    static const uint8_t head[20] = {0, 0, 8, 4, 0, 0, 234, 96, 0, 0, 0, 28, 0, 0, 0, 28, 0, 0, 0, 1};
    for (int64_t n = 0; n <= 20; n++)
        for (int rank = 0; rank < 8; rank++) {
            uint8_t bytes[20];
            memcpy(bytes, head, 20);
            bytes[3] = (uint8_t)rank;
            try_idx(bytes, n);
        }
    for (int i = 0; i < 20; i++)
        for (int value = 0; value < 256; value++) {
            uint8_t bytes[20];
            memcpy(bytes, head, 20);
            bytes[i] = (uint8_t)value;
            try_idx(bytes, 20);
        }
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[20] = {0, 0, 8, (uint8_t)(1 + round % 4)};
        for (int i = 4; i < 20; i++)
            bytes[i] = (uint8_t)(next_u64() % 3 ? 0 : next_u64());
        try_idx(bytes, 20);
    }
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

static int same_fault(const nn_csv_fault *a, const nn_csv_fault *b)
{
    return a->code == b->code && a->reason == b->reason && a->row == b->row && a->field == b->field && a->found == b->found &&
           a->line == b->line && a->begin == b->begin && a->offset == b->offset;
}

/* Every way gives the careful one's table, or its very fault; and so does a job in pieces. */
static void try_ways(const uint8_t *text, int64_t n, int64_t rows, int64_t fields, int32_t max, const uint8_t *want,
                     const nn_csv_fault *verdict)
{
    static const char *const ways[] = {"portable", "avx2", "avx512", "best"};
    uint8_t *out = malloc((size_t)(rows * fields + 1));
    nn_csv_fault fault;
    for (int i = 0; i < 4; i++) {
        memset(out, 77, (size_t)(rows * fields + 1));
        if (nn_csv_parse_by(ways[i], out, text, n, rows, fields, max, &fault) == NN_ERR_ARGUMENT)
            continue; /* not on this CPU */
        CHECK(same_fault(&fault, verdict), "%s: reason %d at %lld, not %d at %lld", ways[i], fault.reason,
              (long long)fault.offset, verdict->reason, (long long)verdict->offset);
        CHECK(verdict->code || !memcmp(out, want, (size_t)(rows * fields)), "%s: another table", ways[i]);
        CHECK(out[rows * fields] == 77, "%s: wrote behind the table", ways[i]);
    }
    int64_t lines = nn_csv_lines(text, n);
    for (int64_t piece = 1; rows == lines && piece < 3 * n; piece = piece * 3 + 1) {
        nn_csv_job job = {.text = text, .nbytes = n, .out = out, .capacity = rows, .fields = fields, .max = max, .piece = piece};
        nn_csv_work(&job, &fault);
        CHECK(same_fault(&fault, verdict), "piece %lld: reason %d at %lld, not %d at %lld", (long long)piece, fault.reason,
              (long long)fault.offset, verdict->reason, (long long)verdict->offset);
        CHECK(verdict->code || (job.rows == rows && !memcmp(out, want, (size_t)(rows * fields))), "%lld rows of %lld",
              (long long)job.rows, (long long)rows);
        CHECK(out[rows * fields] == 77, "a job wrote behind the table");
    }
    free(out);
}

/* With and without an output, the verdict is the same; what was read, written again, reads the same. */
static int32_t try_csv(const uint8_t *bytes, int64_t n, int64_t rows, int64_t fields, int32_t max)
{
    uint8_t *text = copy_of(bytes, n), *out = malloc((size_t)(rows * fields + 1));
    nn_csv_fault fault, look;
    memset(out, 77, (size_t)(rows * fields + 1));
    int32_t status = nn_csv_parse_by("careful", out, text, n, rows, fields, max, &fault);
    int32_t looked = nn_csv_parse(NULL, text, n, rows, fields, max, &look);
    CHECK(status == looked && same_fault(&fault, &look), "%d and %d, reasons %d and %d", status, looked, fault.reason,
          look.reason);
    CHECK(out[rows * fields] == 77, "wrote behind the table");
    CHECK(status == NN_OK || (fault.offset >= 0 && fault.offset <= n && fault.begin <= n && fault.row <= rows), "offset %lld",
          (long long)fault.offset);
    try_ways(text, n, rows, fields, max, out, &fault);
    if (status == NN_OK) {
        uint8_t *again = malloc((size_t)(4 * rows * fields + 1)), *back = malloc((size_t)(rows * fields + 1));
        int64_t written = nn_csv_format(again, 4 * rows * fields, out, rows, fields);
        CHECK(written >= 0 && nn_csv_lines(again, written) == rows, "%lld bytes", (long long)written);
        CHECK(nn_csv_parse(back, again, written, rows, fields, max, &fault) == NN_OK &&
              !memcmp(back, out, (size_t)(rows * fields)), "not what was written");
        free(again);
        free(back);
    }
    nn_csv_lines(text, n);
    nn_csv_fields(text, n);
    free(text);
    free(out);
    return status;
}

/* Tables of many blocks, with either end of line or both, whole and with a few bytes changed, put in or left out. */
static void long_tables(void)
{
    enum { MOST = 1 << 13 };
    static const char alphabet[] = "0129,\n\r- x/:\0\xff";
    uint8_t text[MOST], bent[MOST];
    int damaged = 0, whole = 0;
    for (int round = 0; round < 6000; round++) {
        int64_t fields = 1 + (int64_t)(next_u64() % (round % 3 ? 90 : 4)), n = 0, rows = 0;
        int returns = round % 5, limit = round % 7 ? 256 : 260, max = round % 11 ? 255 : 240;
        while (n + 5 * fields + 2 < MOST && rows < 40) {
            for (int64_t i = 0; i < fields; i++) {
                int wide = next_u64() % 8 == 0;
                int32_t value = (int32_t)(next_u64() % (next_u64() % 50 ? (uint64_t)(limit < max ? limit : max) : 300));
                n += snprintf((char *)text + n, 5, wide ? "%03d" : "%d", value);
                text[n++] = ',';
            }
            n--;
            if (returns == 1 || (returns == 2 && next_u64() % 2))
                text[n++] = '\r';
            text[n++] = '\n';
            rows++;
        }
        if (round % 4 == 0)
            n--;
        int64_t at = 0;
        uint64_t every = round % 2 ? 400 : (uint64_t)1 << 40;
        for (int64_t i = 0; i < n; i++) {
            uint64_t what = next_u64() % every;
            if (what > 0)
                bent[at++] = text[i];
            if (what < 2 && at < MOST)
                bent[at++] = (uint8_t)alphabet[next_u64() % (sizeof alphabet - 1)];
        }
        int32_t status = try_csv(bent, at < n ? at : n, rows, fields, max);
        damaged += status != NN_OK;
        whole += status == NN_OK;
    }
    CHECK(damaged > 1000 && whole > 1000, "%d damaged, %d whole", damaged, whole);
}

static void csv_files(void)
{
    enum { ROWS = 9, FIELDS = 11 };
    static const char alphabet[] = "00112233445566778899,,,,,,\n\n\r- x\0\xff";
    uint8_t values[ROWS * FIELDS], text[4 * ROWS * FIELDS], bent[4 * ROWS * FIELDS + 8];
    for (int i = 0; i < ROWS * FIELDS; i++)
        values[i] = (uint8_t)(next_u64() % 3 ? next_u64() : next_u64() % 10);
    int64_t n = nn_csv_format(text, sizeof text, values, ROWS, FIELDS);
    CHECK(try_csv(text, n, ROWS, FIELDS, 255) == NN_OK, "the table");
    for (int64_t cut = 0; cut < n - 1; cut++) {
        int32_t status = try_csv(text, cut, ROWS, FIELDS, 255);
        CHECK(cut >= n - 3 || status == NN_ERR_FORMAT, "cut off at %lld: %d", (long long)cut, status);
    }
    for (int64_t i = 0; i < n; i++)
        for (size_t a = 0; a < sizeof alphabet; a++) {
            memcpy(bent, text, (size_t)n);
            bent[i] = (uint8_t)alphabet[a];
            try_csv(bent, n, ROWS, FIELDS, 255);
        }
    for (int round = 0; round < 20000; round++) {
        int64_t length = (int64_t)(next_u64() % sizeof bent);
        for (int64_t i = 0; i < length; i++)
            bent[i] = (uint8_t)alphabet[next_u64() % (sizeof alphabet - 1)];
        try_csv(bent, length, 1 + round % 40, 1 + round % 3, round % 5 ? 255 : 9);
    }
    nn_csv_fault fault;
    CHECK(nn_csv_parse(NULL, text, -1, 1, 1, 9, &fault) == NN_ERR_ARGUMENT, "negative size");
    CHECK(nn_csv_parse(NULL, text, n, -1, 1, 9, &fault) == NN_ERR_ARGUMENT, "negative rows");
    CHECK(nn_csv_parse(NULL, text, n, 1, 1, 256, &fault) == NN_ERR_ARGUMENT, "max past a byte");
    CHECK(nn_csv_parse_by("mmx", NULL, text, n, ROWS, FIELDS, 255, &fault) == NN_ERR_ARGUMENT, "a way that is none");
    CHECK(nn_csv_work(&(nn_csv_job){.text = text, .nbytes = n, .fields = 1, .max = 9}, &fault) == NN_ERR_ARGUMENT, "no piece");
    CHECK(nn_csv_format(text, 3, values, 1, 1) == -1 && nn_csv_format(text, 0, values, INT64_MAX, 4) == -1, "no room");
}

/* ---- moments and checks ------------------------------------------------------------------------------------------ */

static void moments(void)
{
    const uint8_t x[6] = {0, 255, 2, 255, 4, 255};
    const int64_t rows[2] = {2, 0}, outside[1] = {3};
    double mean[2] = {-1, -1}, scale[2];
    uint64_t sums[4];
    CHECK(nn_moments_u8(mean, scale, sums, x, 3, 2, NULL, 3, 1) == NN_OK && mean[0] == 2 && mean[1] == 255 && scale[1] == 1,
          "mean %g %g", mean[0], mean[1]);
    CHECK(nn_moments_u8(mean, scale, sums, x, 3, 2, rows, 2, 1) == NN_OK && mean[0] == 2 && scale[0] == 0.5, "scale %g",
          scale[0]);
    mean[0] = -1;
    CHECK(nn_moments_u8(mean, scale, sums, x, 3, 2, outside, 1, 1) == NN_ERR_RANGE && mean[0] == -1, "a row outside");
    CHECK(nn_moments_u8(mean, scale, sums, x, 3, 2, NULL, 0, 1) == NN_ERR_ARGUMENT, "no rows");
    CHECK(nn_moments_u8(mean, scale, sums, x, INT64_MAX, INT64_MAX, NULL, INT64_MAX, 0) == NN_ERR_ARGUMENT, "absurd");
    CHECK(nn_find_label(x, 6, 255) == 1 && nn_find_label(x, 6, 256) == -1, "labels");
    CHECK(nn_status_text(NN_ERR_FORMAT) && nn_status_text(-1) && nn_status_text(99), "status without a text");
    CHECK(nn_op_name(0) && !nn_op_name(-1) && !nn_op_name(NN_OP_COUNT_), "op names");
    CHECK(nn_shuffle(1, 0, 0, 0) == -1 && nn_shuffle(1, 0, 5, -1) == -1 && nn_shuffle(1, 0, INT64_MAX, 0) == -1, "shuffle");
}

int main(void)
{
    tape_files();
    idx_files();
    csv_files();
    long_tables();
    moments();
    return check_summary("test_io");
}
