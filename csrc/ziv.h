#pragma once
/* ziv.h - elementary functions of a float, correctly rounded, where double did not decide (vec/exact_f64.h): ziv.c. The value
 * must be no NaN and may not lie beyond double's range. */
typedef float nn_ziv_fn(float x);
float nn_ziv_exp(float x);
float nn_ziv_expm1(float x);
float nn_ziv_log(float x);
float nn_ziv_tanh(float x);
float nn_ziv_sigmoid(float x);
float nn_ziv_softplus(float x);
float nn_ziv_erf(float x);
float nn_ziv_normal_cdf(float x);
