#pragma once
/* check.h - all that the stand-alone C tests need: count, say what failed, one summary line, exit 1 on failure. */
#include <stdio.h>

static long check_done, check_failed;

/* CHECK(truth, printf arguments that say what was being checked) */
#define CHECK(truth, ...) \
    do { \
        check_done++; \
        if (!(truth) && check_failed++ < 20) { \
            printf("FAIL %s:%d: %s: ", __FILE__, __LINE__, #truth); \
            printf(__VA_ARGS__); \
            printf("\n"); \
        } \
    } while (0)

static inline int check_summary(const char *name)
{
    printf("%s: %ld checks, %ld failed\n", name, check_done, check_failed);
    return check_failed != 0;
}
