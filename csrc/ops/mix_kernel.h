/* mix_kernel.h - the KERNEL part of mix.c: rows [r, end) of the step. */

V_INLINE vreal mix_standard(vreal x, const vreal *k) { return v_mul(v_sub(x, k[0]), k[1]); }

static void standardise(const nn_call *c, int64_t r, int64_t end)
{
    const real *x = c->arg[1], *mean = c->arg[2], *scale = c->arg[3];
    real *y = c->arg[0];
    int64_t d = c->dim[1];
    if (d > 0 && c->dim[2] == 1) {
        const vreal k[2] = {v_set1(*mean), v_set1(*scale)};
        map1(y, x, r * d, end * d, mix_standard, k);
        return;
    }
    for (; r < end; r++)
        for (int64_t j = 0; j < d; j += VW) {
            vmask m = v_tail(d - j < VW ? d - j : VW);
            vreal k[2] = {v_load_m(mean + j, m), v_load_m(scale + j, m)};
            v_store_m(y + r * d + j, m, mix_standard(v_load_m(x + r * d + j, m), k));
        }
}

/* Elements [e, end) of a sample of row r: uniform in [0, full). */
static void erase_draw(const nn_call *c, int64_t r, real *y, int64_t e, int64_t end)
{
    const philox_keys keys = philox_schedule(c->run->seed);
    uint64_t words[PHILOX_PAIRS];
    for (int64_t base = e - e % PHILOX_CHUNK; base < end; base += PHILOX_CHUNK) {
        philox_words(words, &keys, augment_stream(AUGMENT_FILL), augment_index(c, r), (uint32_t)(base / 4));
        for (int64_t l = base < e ? e - base : 0; l < PHILOX_CHUNK && base + l < end; l++)
            y[base + l] = (real)(philox_word(words, l) >> 8) * (real)0x1p-24 * (real)c->scalar[4];
    }
}

static void erase(const nn_call *c, int64_t r, int64_t end)
{
    int64_t W = c->dim[2], C = c->dim[3], size = c->dim[1] * W * C, fill = c->dim[5];
    const real *mean = c->arg[2];
    for (; r < end && size > 0; r++) {
        real *y = (real *)c->arg[0] + r * size;
        const real *x = (const real *)c->arg[1] + r * size;
        if (y != x)
            memcpy(y, x, (size_t)size * sizeof *y);
        mix_box b = erase_box(c, r, c->math->pow);
        for (int64_t i = b.top; i < b.top + b.height; i++) {
            int64_t e = (i * W + b.left) * C, last = e + b.width * C;
            if (fill == 2)
                erase_draw(c, r, y, e, last);
            else if (fill == 1 && c->dim[4] != 1)
                memcpy(y + e, mean + e, (size_t)(last - e) * sizeof *y);
            else
                for (; e < last; e++)
                    y[e] = fill == 1 ? *mean : 0;
        }
    }
}

static void mix_rows(const nn_call *c, int64_t r, int64_t end)
{
    const real *x = c->arg[1], *share = c->arg[2];
    const int32_t *partner = c->arg[3];
    int64_t d = c->dim[1];
    for (; r < end && mix_partner_ok(c, r, partner[r]); r++) {
        real *y = (real *)c->arg[0] + r * d;
        const real *a = x + r * d, *b = x + partner[r] * d;
        vreal s = v_set1(share[r]), t = v_set1(1 - share[r]);
        for (int64_t j = 0; j < d; j += VW) {
            vmask m = v_tail(d - j < VW ? d - j : VW);
            v_store_m(y + j, m, v_fma(s, v_load_m(a + j, m), v_mul(t, v_load_m(b + j, m))));
        }
    }
}

static void cutmix(const nn_call *c, int64_t r, int64_t end)
{
    int64_t H = c->dim[1], W = c->dim[2], C = c->dim[3], size = H * W * C;
    for (; r < end; r++) {
        uint32_t w[4];
        int32_t partner = mix_partner(c, r, c->dim[0], c->dim[4], w);
        mix_box b = cutmix_box(c, mix_share(c, r, c->scalar[0], c->math->pow, c->math->cos), w);
        ((real *)c->arg[1])[r] = (real)(1 - (double)(b.height * b.width) / (double)(H * W));
        ((int32_t *)c->arg[2])[r] = partner;
        real *y = (real *)c->arg[0] + r * size;
        const real *x = c->arg[3];
        memcpy(y, x + r * size, (size_t)size * sizeof *y);
        for (int64_t i = b.top; i < b.top + b.height; i++) {
            int64_t e = (i * W + b.left) * C;
            memcpy(y + e, x + partner * size + e, (size_t)(b.width * C) * sizeof *y);
        }
    }
}
