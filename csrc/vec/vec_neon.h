#pragma once
/* vec_neon.h - AArch64 Advanced SIMD. Included by vec.h, which documents every function. A mask is all-ones lanes.
 *
 * FMIN and FMAX treat NaN and zeros their own way, so v_min and v_max are compare and select. There are no masked loads:
 * tails go lane by lane. FCMGT and FCMGE raise the invalid flag for a quiet NaN; nothing here reads flags. */
#include <arm_neon.h>

#if NN_REAL_IS_DOUBLE
#define VW 2
typedef float64x2_t vreal;
typedef int64x2_t vint;
typedef uint64x2_t vmask;
typedef uint64_t lane_mask;
#define V_F(op) op##_f64
#define V_I(op) op##_s64
#define V_U(op) op##_u64
#else
#define VW 4
typedef float32x4_t vreal;
typedef int32x4_t vint;
typedef uint32x4_t vmask;
typedef uint32_t lane_mask;
#define V_F(op) op##_f32
#define V_I(op) op##_s32
#define V_U(op) op##_u32
#endif

V_INLINE vreal v_set1(real a) { return V_F(vdupq_n)(a); }
V_INLINE vint vi_set1(lane_int a) { return V_I(vdupq_n)(a); }
V_INLINE vreal v_load(const real *p) { return V_F(vld1q)(p); }
V_INLINE void v_store(real *p, vreal v) { V_F(vst1q)(p, v); }
V_INLINE vmask v_tail(int64_t n)
{
    static const lane_int lane[4] = {0, 1, 2, 3};
    return V_I(vcgtq)(vi_set1((lane_int)n), V_I(vld1q)(lane));
}
V_INLINE vreal v_load_m(const real *p, vmask m)
{
    lane_mask on[VW];
    real lane[VW];
    V_U(vst1q)(on, m);
    for (int i = 0; i < VW; i++) lane[i] = on[i] ? p[i] : 0;
    return v_load(lane);
}
V_INLINE void v_store_m(real *p, vmask m, vreal v)
{
    lane_mask on[VW];
    real lane[VW];
    V_U(vst1q)(on, m);
    v_store(lane, v);
    for (int i = 0; i < VW; i++)
        if (on[i]) p[i] = lane[i];
}

V_INLINE vreal v_add(vreal a, vreal b) { return V_F(vaddq)(a, b); }
V_INLINE vreal v_sub(vreal a, vreal b) { return V_F(vsubq)(a, b); }
V_INLINE vreal v_mul(vreal a, vreal b) { return V_F(vmulq)(a, b); }
V_INLINE vreal v_div(vreal a, vreal b) { return V_F(vdivq)(a, b); }
V_INLINE vreal v_sqrt(vreal a) { return V_F(vsqrtq)(a); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return V_F(vfmaq)(c, a, b); }
V_INLINE vreal v_fnma(vreal a, vreal b, vreal c) { return V_F(vfmsq)(c, a, b); }
V_INLINE vreal v_rint(vreal a) { return V_F(vrndnq)(a); }

V_INLINE vmask v_lt(vreal a, vreal b) { return V_F(vcltq)(a, b); }
V_INLINE vmask v_le(vreal a, vreal b) { return V_F(vcleq)(a, b); }
V_INLINE vmask v_gt(vreal a, vreal b) { return V_F(vcgtq)(a, b); }
V_INLINE vmask v_ge(vreal a, vreal b) { return V_F(vcgeq)(a, b); }
V_INLINE vmask v_eq(vreal a, vreal b) { return V_F(vceqq)(a, b); }
V_INLINE vmask m_and(vmask a, vmask b) { return V_U(vandq)(a, b); }
V_INLINE vmask m_or(vmask a, vmask b) { return V_U(vorrq)(a, b); }
V_INLINE vmask m_not(vmask a) { return V_U(veorq)(a, V_U(vdupq_n)((lane_mask)-1)); }
V_INLINE int m_count(vmask m)
{
    lane_mask on[VW];
    int count = 0;
    V_U(vst1q)(on, m);
    for (int i = 0; i < VW; i++) count += on[i] != 0;
    return count;
}
V_INLINE int m_any(vmask m) { return m_count(m) != 0; }
V_INLINE int m_all(vmask m) { return m_count(m) == VW; }
V_INLINE vreal v_select(vmask m, vreal a, vreal b) { return V_F(vbslq)(m, a, b); }
V_INLINE vreal v_min(vreal a, vreal b) { return v_select(v_lt(a, b), a, b); }
V_INLINE vreal v_max(vreal a, vreal b) { return v_select(v_gt(a, b), a, b); }

V_INLINE vint vi_add(vint a, vint b) { return V_I(vaddq)(a, b); }
V_INLINE vint vi_sub(vint a, vint b) { return V_I(vsubq)(a, b); }
V_INLINE vint vi_and(vint a, vint b) { return V_I(vandq)(a, b); }
V_INLINE vint vi_or(vint a, vint b) { return V_I(vorrq)(a, b); }
V_INLINE vint vi_xor(vint a, vint b) { return V_I(veorq)(a, b); }
V_INLINE vmask vi_gt(vint a, vint b) { return V_I(vcgtq)(a, b); }
V_INLINE vmask vi_eq(vint a, vint b) { return V_I(vceqq)(a, b); }
V_INLINE vint vi_select(vmask m, vint a, vint b) { return V_I(vbslq)(m, a, b); }
/* A shift by a register: negative counts shift right, and zero is allowed (the immediate forms forbid it). */
V_INLINE vint vi_sll(vint a, int n) { return V_I(vshlq)(a, vi_set1(n)); }
V_INLINE vint vi_sra(vint a, int n) { return V_I(vshlq)(a, vi_set1(-n)); }

#if NN_REAL_IS_DOUBLE
V_INLINE vint v_bits(vreal a) { return vreinterpretq_s64_f64(a); }
V_INLINE vreal v_frombits(vint a) { return vreinterpretq_f64_s64(a); }
V_INLINE vint vi_srl(vint a, int n) { return vreinterpretq_s64_u64(vshlq_u64(vreinterpretq_u64_s64(a), vi_set1(-n))); }
V_INLINE vint v_toint(vreal a) { return vcvtnq_s64_f64(a); }
V_INLINE vreal v_fromint(vint a) { return vcvtq_f64_s64(a); }
V_INLINE vreal v_load_f32(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
V_INLINE void v_store_f32(float *p, vreal v) { vst1_f32(p, vcvt_f32_f64(v)); }
V_INLINE vreal v_narrow(vreal a) { return vcvt_f64_f32(vcvt_f32_f64(a)); }
#else
V_INLINE vint v_bits(vreal a) { return vreinterpretq_s32_f32(a); }
V_INLINE vreal v_frombits(vint a) { return vreinterpretq_f32_s32(a); }
V_INLINE vint vi_srl(vint a, int n) { return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vi_set1(-n))); }
V_INLINE vint v_toint(vreal a) { return vcvtnq_s32_f32(a); }
V_INLINE vreal v_fromint(vint a) { return vcvtq_f32_s32(a); }
V_INLINE vreal v_load_f32(const float *p) { return v_load(p); }
V_INLINE void v_store_f32(float *p, vreal v) { v_store(p, v); }
#endif

V_INLINE vreal v_load_f32_m(const float *p, vmask m)
{
    lane_mask on[VW];
    float lane[VW];
    V_U(vst1q)(on, m);
    for (int i = 0; i < VW; i++) lane[i] = on[i] ? p[i] : 0;
    return v_load_f32(lane);
}
V_INLINE void v_store_f32_m(float *p, vmask m, vreal v)
{
    lane_mask on[VW];
    float lane[VW];
    V_U(vst1q)(on, m);
    v_store_f32(lane, v);
    for (int i = 0; i < VW; i++)
        if (on[i]) p[i] = lane[i];
}
V_INLINE vreal v_load_u8_m(const uint8_t *p, int64_t n)
{
    real lane[VW];
    for (int i = 0; i < VW; i++) lane[i] = i < n ? (real)p[i] : 0;
    return v_load(lane);
}
V_INLINE vreal v_load_u8(const uint8_t *p)
{
#if NN_REAL_IS_DOUBLE
    return v_load_u8_m(p, VW);
#else
    uint32_t bytes;
    memcpy(&bytes, p, VW);
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes))))));
#endif
}
V_INLINE void v_store_u8_m(uint8_t *p, int64_t n, vint a)
{
    lane_int lane[VW];
    V_I(vst1q)(lane, a);
    for (int i = 0; i < VW && i < n; i++) p[i] = (uint8_t)lane[i];
}
V_INLINE void v_store_u8(uint8_t *p, vint a)
{
#if NN_REAL_IS_DOUBLE
    v_store_u8_m(p, VW, a);
#else
    uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(a));
    uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
    memcpy(p, &bytes, VW);
#endif
}
