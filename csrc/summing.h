#pragma once
/* summing.h - one term more of a sum, by each method of the literature (sums.c): one text over numbers and over vectors of them.
 *
 * Whoever includes it defines
 *   NUM, ZERO                              what is added, and its 0
 *   GIVEN, GIVE                            parameters that the operations below need, and how they are passed on
 *   PLUS(a, b) MINUS(a, b) TIMES(a, b) FUSED(a, b, c)     rounded once
 *   SORT(s, x, large, small)               by magnitude, s first where they are equal
 * A term is x or, if `product`, the product x y. s is the sum, c what the method keeps beside it, `part` SUM_PARTS more. */
#include "accumulate.h"

/* The sums of 2^k blocks wait in `part` until their neighbour of the same size is there: as many as bits are set in `blocks`. */
NN_ALWAYS void sum_close(GIVEN, const int method, int64_t blocks, NUM *s, NUM *c, NUM *part)
{
    if (method == NN_SUM_BLOCKED)
        *s = PLUS(*s, *c);
    else if (method == NN_SUM_PAIRWISE) {
        int depth = __builtin_popcountll((uint64_t)blocks);
        NUM sum = *c;
        for (int64_t pairs = blocks; pairs & 1; pairs >>= 1)
            sum = PLUS(part[depth - 1], sum), depth--;
        part[depth] = sum;
    }
    *c = ZERO;
}

NN_ALWAYS NUM sum_chain(GIVEN, const int product, NUM s, NUM x, NUM y) { return product ? FUSED(x, y, s) : PLUS(s, x); }

/* Ogita, Rump and Oishi 2005, algorithms 4.4 and 5.3. */
NN_ALWAYS void sum_twice(GIVEN, const int product, NUM x, NUM y, NUM *s, NUM *c)
{
    const NUM p = product ? TIMES(x, y) : x, next = PLUS(*s, p), part = MINUS(next, *s), rest = MINUS(next, part);
    const NUM of_s = MINUS(*s, rest), of_p = MINUS(p, part);
    NUM error = PLUS(of_s, of_p);
    if (product) {
        const NUM of_product = FUSED(x, y, MINUS(ZERO, p));
        error = PLUS(error, of_product);
    }
    *c = PLUS(*c, error);
    *s = next;
}

NN_ALWAYS void sum_term(GIVEN, const int method, const int product, const sum_walk *at, NUM x, NUM y, NUM *s, NUM *c, NUM *part)
{
    if (method == NN_SUM_NAIVE)
        *s = sum_chain(GIVE, product, *s, x, y);
    else if (method == NN_SUM_PAIRWISE || method == NN_SUM_BLOCKED)
        *c = sum_chain(GIVE, product, *c, x, y);
    else if (method == NN_SUM_LANES)
        part[at->i & (at->width - 1)] = sum_chain(GIVE, product, part[at->i & (at->width - 1)], x, y);
    else if (method == NN_SUM_DOT2)
        sum_twice(GIVE, product, x, y, s, c);
    else if (method == NN_SUM_KAHAN) {
        const NUM p = product ? TIMES(x, y) : x, term = MINUS(p, *c), next = PLUS(*s, term), moved = MINUS(next, *s);
        *c = MINUS(moved, term);
        *s = next;
    } else {
        const NUM p = product ? TIMES(x, y) : x, next = PLUS(*s, p);
        NUM large, small;
        SORT(*s, p, large, small);
        const NUM rest = MINUS(large, next), lost = PLUS(rest, small);
        *c = PLUS(*c, lost);
        *s = next;
    }
}

NN_ALWAYS NUM sum_total(GIVEN, const int method, sum_walk *at, NUM *s, NUM *c, NUM *part)
{
    if (method == NN_SUM_NEUMAIER || method == NN_SUM_DOT2)
        return PLUS(*s, *c);
    if (method == NN_SUM_LANES) {
        for (int64_t half = at->width / 2; half; half /= 2)
            for (int64_t j = 0; j < half; j++)
                part[j] = PLUS(part[j], part[j + half]);
        return part[0];
    }
    if (at->inside && (method == NN_SUM_BLOCKED || method == NN_SUM_PAIRWISE)) {
        sum_close(GIVE, method, at->blocks, s, c, part);
        at->blocks++;
    }
    if (method != NN_SUM_PAIRWISE)
        return *s;
    int depth = __builtin_popcountll((uint64_t)at->blocks);
    if (!depth)
        return ZERO;
    NUM sum = part[depth - 1];
    while (--depth)
        sum = PLUS(part[depth - 1], sum);
    return sum;
}
