#pragma once
/* transpose.h - VW x VW elements turned in registers, for packing. Included behind vec.h.
 *
 * log2(VW) times, row i and row i + VW/2 are zipped into rows 2i and 2i + 1: a perfect shuffle of the VW^2 elements, each
 * of which moves one bit of an element's index round, so that log2(VW) of them exchange row and column. */

#if defined(NN_ISA_AVX512)
#if NN_REAL_IS_DOUBLE
V_INLINE vreal v_zip_lo(vreal a, vreal b) { return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b); }
V_INLINE vreal v_zip_hi(vreal a, vreal b) { return _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b); }
#else
V_INLINE vreal v_zip_lo(vreal a, vreal b)
{
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
V_INLINE vreal v_zip_hi(vreal a, vreal b)
{
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}
#endif
#elif defined(NN_ISA_AVX2)
V_INLINE vreal v_halves(vreal a, vreal b, const int high)
{
    /* The low (high) 128 bits of both. */
#if NN_REAL_IS_DOUBLE
    return high ? _mm256_permute2f128_pd(a, b, 0x31) : _mm256_permute2f128_pd(a, b, 0x20);
#else
    return high ? _mm256_permute2f128_ps(a, b, 0x31) : _mm256_permute2f128_ps(a, b, 0x20);
#endif
}
V_INLINE vreal v_zip_lo(vreal a, vreal b) { return v_halves(V_F(unpacklo)(a, b), V_F(unpackhi)(a, b), 0); }
V_INLINE vreal v_zip_hi(vreal a, vreal b) { return v_halves(V_F(unpacklo)(a, b), V_F(unpackhi)(a, b), 1); }
#elif defined(NN_ISA_NEON)
#if NN_REAL_IS_DOUBLE
V_INLINE vreal v_zip_lo(vreal a, vreal b) { return vzip1q_f64(a, b); }
V_INLINE vreal v_zip_hi(vreal a, vreal b) { return vzip2q_f64(a, b); }
#else
V_INLINE vreal v_zip_lo(vreal a, vreal b) { return vzip1q_f32(a, b); }
V_INLINE vreal v_zip_hi(vreal a, vreal b) { return vzip2q_f32(a, b); }
#endif
#elif defined(NN_ISA_RANDOM)
V_INLINE vreal v_zip(vreal a, vreal b, int from)
{
    real x[VW], y[VW], z[VW];
    v_store(x, a);
    v_store(y, b);
    for (int i = 0; i < VW / 2; i++) {
        z[2 * i] = x[from + i];
        z[2 * i + 1] = y[from + i];
    }
    return v_load(z);
}
V_INLINE vreal v_zip_lo(vreal a, vreal b) { return v_zip(a, b, 0); }
V_INLINE vreal v_zip_hi(vreal a, vreal b) { return v_zip(a, b, VW / 2); }
#else
V_INLINE vreal v_zip_lo(vreal a, vreal b) { (void)b; return a; }
V_INLINE vreal v_zip_hi(vreal a, vreal b) { (void)a; return b; }
#endif

#if defined(__clang__)
#define V_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V_UNROLL _Pragma("GCC unroll 16")
#endif

/* r[i][j] and r[j][i] change places. */
V_INLINE void v_transpose(vreal *r)
{
    V_UNROLL for (int round = 1; round < VW; round *= 2) {
        vreal t[VW];
        V_UNROLL for (int i = 0; i < VW / 2; i++) {
            t[2 * i] = v_zip_lo(r[i], r[i + VW / 2]);
            t[2 * i + 1] = v_zip_hi(r[i], r[i + VW / 2]);
        }
        V_UNROLL for (int i = 0; i < VW; i++)
            r[i] = t[i];
    }
}

/* r[i][j] = row[j][i] for VW rows of VW elements. */
V_INLINE void v_load_turned(vreal *r, const real *const *row)
{
#if defined(NN_ISA_AVX512) && !NN_REAL_IS_DOUBLE
    /* Four rows of a quarter of the columns to a register as they are loaded: half the shuffles, of which there is one a
     * cycle. */
    V_UNROLL for (int i = 0; i < VW; i += 4) {
        vreal q[4];
        V_UNROLL for (int j = 0; j < 4; j++) {
            q[j] = _mm512_castps128_ps512(_mm_loadu_ps(row[j] + i));
            q[j] = _mm512_mask_broadcast_f32x4(q[j], 0x00f0, _mm_loadu_ps(row[j + 4] + i));
            q[j] = _mm512_mask_broadcast_f32x4(q[j], 0x0f00, _mm_loadu_ps(row[j + 8] + i));
            q[j] = _mm512_mask_broadcast_f32x4(q[j], 0xf000, _mm_loadu_ps(row[j + 12] + i));
        }
        __m512d lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(q[0], q[1])), hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(q[0], q[1]));
        __m512d lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(q[2], q[3])), hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(q[2], q[3]));
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23));
    }
#else
    V_UNROLL for (int i = 0; i < VW; i++)
        r[i] = v_load(row[i]);
    v_transpose(r);
#endif
}
