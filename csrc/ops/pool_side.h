/* pool_side.h - one tap of several windows at once, for images of so few channels that they would not fill a vector.
 *
 * Windows stand side by side, `step` elements apart: of the elements from a tap on, C belong to the first window, C from
 * `step` on to the next. AVX-512 picks them out of two vectors in one operation; elsewhere windows go one by one. */

typedef struct pool_side {
    int64_t windows;    /* as many as fit; 1: no use */
#if defined(V_PICKS)
    vmask span[2];      /* of two vectors from a tap on: up to the last window's last channel, */
    vmask own[2];       /*   and the channels of this tap alone */
    vint from, to[2];   /* where lane l of the windows lies in the two, and which lane lies here */
#endif
} pool_side;

#if defined(V_PICKS)
static pool_side pool_side_of(int64_t C, int64_t step)
{
    if (C < 1) /* no channels: nothing to put side by side */
        return (pool_side){.windows = 1};
    pool_side s = {.windows = 1};
    while ((s.windows + 1) * C <= VW && s.windows * step + C <= 2 * VW)
        s.windows++;
    if (s.windows == 1)
        return s;
    lane_int from[VW] = {0}, to[2 * VW] = {0};
    int own[2 * VW] = {0};
    for (int64_t l = 0; l < s.windows * C; l++) {
        const int64_t at = l / C * step + l % C;
        from[l] = (lane_int)at;
        to[at] = (lane_int)l;
        own[at] = 1;
    }
    const int64_t reach = (s.windows - 1) * step + C;
    memcpy(&s.from, from, sizeof s.from);
    for (int64_t h = 0; h < 2; h++) {
        const int64_t left = reach - h * VW;
        s.span[h] = v_tail(left < 0 ? 0 : left > VW ? VW : left);
        s.own[h] = 0;
        for (int64_t l = 0; l < VW; l++)
            s.own[h] = (vmask)(s.own[h] | own[h * VW + l] << l);
        memcpy(&s.to[h], to + h * VW, sizeof s.to[h]);
    }
    return s;
}

V_INLINE vreal side_load(const pool_side *s, const real *p)
{
    return v_pick(v_load_m(p, s->span[0]), v_load_m(p + VW, s->span[1]), s->from);
}

V_INLINE void side_store(const pool_side *s, real *p, vreal v)
{
    v_store_m(p, s->own[0], v_pick(v, v, s->to[0]));
    v_store_m(p + VW, s->own[1], v_pick(v, v, s->to[1]));
}
#else
static pool_side pool_side_of(int64_t C, int64_t step) { return (void)C, (void)step, (pool_side){1}; }
V_INLINE vreal side_load(const pool_side *s, const real *p) { return (void)s, (void)p, v_zero(); }
V_INLINE void side_store(const pool_side *s, real *p, vreal v) { (void)s, (void)p, (void)v; }
#endif
