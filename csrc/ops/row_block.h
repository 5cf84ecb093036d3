/* row_block.h - rows of at most 16 columns, VW of them at once: turned, a row to a lane and a column to a vector.
 *
 * Ten classes fill ten of sixteen lanes and every row waits for its own sums; turned, all lanes work and nothing waits.
 * The operations on an element are those of the passes of softmax.c, in the same order, so the bits are too: with at most
 * one element to each of R3's sixteen lanes, a lane is its element, and the tree joins columns. */

enum { BLOCK_COLUMNS = 16 };

/* Whether blocks serve rows of C columns. */
static inline int block_fits(int64_t C) { return VW > 1 && C >= 1 && C <= BLOCK_COLUMNS; }

/* x[0..C-1] = columns of the VW rows at p. */
V_INLINE void block_load(vreal x[BLOCK_COLUMNS], const real *p, int64_t C)
{
    for (int64_t from = 0; from < C; from += VW) {
        const vmask m = v_tail(C - from < VW ? C - from : VW);
        vreal r[VW];
        V_UNROLL for (int i = 0; i < VW; i++)
            r[i] = v_load_m(p + i * C + from, m);
        v_transpose(r);
        V_UNROLL for (int i = 0; i < VW; i++)
            x[from + i] = r[i];
    }
}

V_INLINE void block_store(real *p, const vreal x[BLOCK_COLUMNS], int64_t C)
{
    for (int64_t from = 0; from < C; from += VW) {
        const vmask m = v_tail(C - from < VW ? C - from : VW);
        vreal r[VW];
        V_UNROLL for (int i = 0; i < VW; i++)
            r[i] = x[from + i];
        v_transpose(r);
        V_UNROLL for (int i = 0; i < VW; i++)
            v_store_m(p + i * C + from, m, r[i]);
    }
}

/* The tree 8-4-2-1 over the columns; `join` joins lane i with lane i + half. */
V_INLINE vreal block_tree(const vreal x[BLOCK_COLUMNS], int64_t C, vreal (*join)(vreal lane, vreal other))
{
    vreal lane[BLOCK_COLUMNS];
    for (int64_t j = 0; j < C; j++)
        lane[j] = x[j];
    int64_t left = C;
    for (int64_t half = 8; half > 0; half /= 2) {
        for (int64_t i = 0; i + half < left; i++)
            lane[i] = join(lane[i], lane[i + half]);
        left = left < half ? left : half;
    }
    return lane[0];
}

V_INLINE vreal block_larger(vreal lane, vreal other) { return v_max(other, lane); }
V_INLINE vreal block_add(vreal lane, vreal other) { return v_add(lane, other); }

/* x -= the row's maximum, NaN ignored (row_max: a NaN loses against the -inf that a lane begins with). */
V_INLINE void block_shift(vreal x[BLOCK_COLUMNS], int64_t C)
{
    vreal seen[BLOCK_COLUMNS];
    for (int64_t j = 0; j < C; j++)
        seen[j] = v_max(x[j], v_set1(-(real)__builtin_inf()));
    const vreal m = block_tree(seen, C, block_larger);
    for (int64_t j = 0; j < C; j++)
        x[j] = v_sub(x[j], m);
}

/* e = exp(x); returns the rows' sums. */
V_INLINE vreal block_exp(vreal e[BLOCK_COLUMNS], const vreal x[BLOCK_COLUMNS], int64_t C)
{
    for (int64_t j = 0; j < C; j++)
        e[j] = v_exp(x[j]);
    return block_tree(e, C, block_add);
}
