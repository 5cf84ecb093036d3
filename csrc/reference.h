#pragma once
/* reference.h - elementary functions for the REFERENCE parts: ours, in double, whatever real is. */
double nn_exp64(double x);
double nn_log64(double x);
double nn_expm164(double x);
double nn_log1p64(double x);
double nn_tanh64(double x);
double nn_erf64(double x);
double nn_normal_cdf64(double x);
double nn_gelu_slope64(double x); /* Phi(x) + x phi(x), |x| <= 40 */
double nn_sin64(double x);
double nn_cos64(double x);
double nn_pow64(double x, double y);
