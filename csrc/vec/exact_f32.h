#pragma once
/* exact_f32.h - the names of elementary.h for correctly rounded functions of float vectors: the level's double kernels compute
 * them (exact_f64.h). NN_DOUBLES is their set. */
extern const nn_kernel_set NN_DOUBLES;

#define X_VECTOR(name) \
    V_INLINE vreal v_##name(vreal x) \
    { \
        real in[VW], out[VW]; \
        v_store(in, x); \
        NN_DOUBLES.exact.name(out, in); \
        return v_load(out); \
    }
X_VECTOR(exp)
X_VECTOR(expm1)
X_VECTOR(log)
X_VECTOR(tanh)
X_VECTOR(sigmoid)
X_VECTOR(softplus)
X_VECTOR(erf)
X_VECTOR(normal_cdf)
