#pragma once
/* csv.h - what the ways through a table of integers as text share; csv.c tells the story. */
#include "../internal.h"

typedef struct csv_reader {
    const uint8_t *text, *line, *end; /* line moves on by whole accepted lines */
    int64_t row, rows, fields;
    uint32_t max;
} csv_reader;

/* Regular lines from r->line on into out (the rest of the table), at least 4 bytes being before them; r moves over them. */
typedef void csv_way(csv_reader *r, uint8_t *out);

/* How far ahead text is fetched: the hardware's own prefetching leaves half of the bandwidth of memory unused. */
enum { CSV_AHEAD = 2048 };

/* 64 bytes as masks, bit i for byte i: what is no digit; whether one, two, three digits stand right before the byte; and
 * so which bytes end a number. */
typedef struct csv_block {
    uint64_t stops, one, two, three, ends;
} csv_block;

/* nn_csv_parse by one way alone, for tests and benches: "careful", "portable", "avx2", "avx512", or "best".
 * NN_ERR_ARGUMENT if this build or CPU does not have it. */
int32_t nn_csv_parse_by(const char *name, uint8_t *out, const uint8_t *text, int64_t nbytes, int64_t rows, int64_t fields,
                        int32_t max, nn_csv_fault *fault);
