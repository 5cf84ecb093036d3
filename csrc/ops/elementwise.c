/* elementwise.c - arithmetic on arrays of one shape: sums of gradients, penalties, updates that are not gradients.
 *
 *   add a + b   sub a - b   mul a b   scale c x   scale_by s[0] x   add_scaled fma(c, b, a)   add_sign a + c sign(b)
 *   assign x    fill c    quotient a / b    square_root x    exponential e^x    logarithm ln x
 *   error_function erf(x) = 2 / sqrt(pi) (integral of exp(-t^2) from 0 to x)
 *
 * Shapes: all (n), s (1). y may alias any input of n elements (each element is read before it is written). Each is one
 * correctly rounded operation, so the error is at most u |y| (add, sub: none on underflow); c is rounded to real first,
 * another u |c x|. sign(0) = 0: add_sign then returns a itself, so -0 stays -0; a NaN in either gives NaN. assign and
 * fill are exact and keep any bits.
 * quotient and square_root are IEEE's; exponential, logarithm and error_function are within 2 ulp (elementary.h). log(0) is -inf
 * and raises divide by zero, log below 0 is NaN and raises invalid, as IEEE 754-2019, 9.2 has it: a loss that is written by hand
 * shows where it breaks.
 * Called by: autodiff where a value has several uses (add), L2 and L1 penalties (add_scaled, add_sign), loss weights.
 */
#ifdef NN_PASS_LIST
NN_OP(add, ADD)
NN_OP(sub, SUB)
NN_OP(mul, MUL)
NN_OP(scale, SCALE)
NN_OP(scale_by, SCALE_BY)
NN_OP(add_scaled, ADD_SCALED)
NN_OP(add_sign, ADD_SIGN)
NN_OP(assign, ASSIGN)
NN_OP(fill, FILL)
NN_OP(quotient, QUOTIENT)
NN_OP(square_root, SQUARE_ROOT)
NN_OP(exponential, EXPONENTIAL)
NN_OP(logarithm, LOGARITHM)
NN_OP(error_function, ERROR_FUNCTION)
#endif

/* ---- REFERENCE ------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_REF
static void add(const nn_call *c)
{
    real *y = c->arg[0];
    const real *a = c->arg[1], *b = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = a[i] + b[i];
}

static void sub(const nn_call *c)
{
    real *y = c->arg[0];
    const real *a = c->arg[1], *b = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = a[i] - b[i];
}

static void mul(const nn_call *c)
{
    real *y = c->arg[0];
    const real *a = c->arg[1], *b = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = a[i] * b[i];
}

static void scale(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], factor = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = factor * x[i];
}

static void scale_by(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1], factor = *(const real *)c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = factor * x[i];
}

static void add_scaled(const nn_call *c)
{
    real *y = c->arg[0];
    const real *a = c->arg[1], *b = c->arg[2], factor = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = v_fma(factor, b[i], a[i]);
}

static void add_sign(const nn_call *c)
{
    real *y = c->arg[0];
    const real *a = c->arg[1], *b = c->arg[2], step = (real)c->scalar[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = b[i] > 0 ? a[i] + step : b[i] < 0 ? a[i] - step : b[i] == 0 ? a[i] : b[i];
}

static void assign(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i];
}

static void fill(const nn_call *c)
{
    real *y = c->arg[0];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = (real)c->scalar[0];
}

static void quotient(const nn_call *c)
{
    real *y = c->arg[0];
    const real *a = c->arg[1], *b = c->arg[2];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = a[i] / b[i];
}

static void square_root(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = v_sqrt(x[i]);
}

static void exponential(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = (real)nn_exp64(x[i]);
}

static void logarithm(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = x[i] == 0 ? -1 / (x[i] * x[i]) : x[i] < 0 ? v_sqrt(x[i]) : (real)nn_log64(x[i]);
}

static void error_function(const nn_call *c)
{
    real *y = c->arg[0];
    const real *x = c->arg[1];
    for (int64_t i = 0; i < c->dim[0]; i++)
        y[i] = (real)nn_erf64(x[i]);
}
#endif

/* ---- KERNEL ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_KERNEL
/* An elementwise op is its formula on vectors, f(x, k) or f(a, b, k) with the op's constants k, and one of two loops.
 * Constant function pointers into inlined loops: the compiler puts the formula into the loop, at -O0 it is called. */
typedef vreal map1_fn(vreal x, const vreal *k);
typedef vreal map2_fn(vreal a, vreal b, const vreal *k);

/* Asks early for the line that a store is going to need: cores foresee loads better than stores. */
V_INLINE void map_ahead(const real *y)
{
    if (VW > 1)
        __builtin_prefetch((const char *)y + 512); /* 1024 is 10 % slower from Zen 4's L3 */
}

enum { MAP_VECTORS = 2 }; /* of a round, independent of each other: their operations overlap */

/* Lanes outside the mask, which begins at p and is not empty, hold what p does: they raise the flags that lane 0 raises,
 * and no others. Zeros would make 0 / 0. */
V_INLINE vreal v_load_like(const real *p, vmask m) { return v_select(m, v_load_m(p, m), v_set1(*p)); }

/* y = f(x) on [i, end). */
V_INLINE void map1(real *y, const real *x, int64_t i, int64_t end, map1_fn *f, const vreal *k)
{
    for (; i + MAP_VECTORS * VW <= end; i += MAP_VECTORS * VW) {
        vreal v[MAP_VECTORS];
        V_UNROLL for (int u = 0; u < MAP_VECTORS; u++)
            v[u] = f(v_load(x + i + u * VW), k);
        V_UNROLL for (int u = 0; u < MAP_VECTORS; u++) {
            map_ahead(y + i + u * VW);
            v_store(y + i + u * VW, v[u]);
        }
    }
    for (; i + VW <= end; i += VW)
        v_store(y + i, f(v_load(x + i), k));
    if (i < end) {
        vmask m = v_tail(end - i);
        v_store_m(y + i, m, f(v_load_like(x + i, m), k));
    }
}

/* y = f(a, b) on [i, end). */
V_INLINE void map2(real *y, const real *a, const real *b, int64_t i, int64_t end, map2_fn *f, const vreal *k)
{
    for (; i + MAP_VECTORS * VW <= end; i += MAP_VECTORS * VW) {
        vreal v[MAP_VECTORS];
        V_UNROLL for (int u = 0; u < MAP_VECTORS; u++)
            v[u] = f(v_load(a + i + u * VW), v_load(b + i + u * VW), k);
        V_UNROLL for (int u = 0; u < MAP_VECTORS; u++) {
            map_ahead(y + i + u * VW);
            v_store(y + i + u * VW, v[u]);
        }
    }
    for (; i + VW <= end; i += VW)
        v_store(y + i, f(v_load(a + i), v_load(b + i), k));
    if (i < end) {
        vmask m = v_tail(end - i);
        v_store_m(y + i, m, f(v_load_like(a + i, m), v_load_like(b + i, m), k));
    }
}

/* Scalar i of the op, rounded to real. */
V_INLINE vreal k_scalar(const nn_call *c, int i) { return v_set1((real)c->scalar[i]); }

V_INLINE vreal add_v(vreal a, vreal b, const vreal *k) { return (void)k, v_add(a, b); }
V_INLINE vreal sub_v(vreal a, vreal b, const vreal *k) { return (void)k, v_sub(a, b); }
V_INLINE vreal mul_v(vreal a, vreal b, const vreal *k) { return (void)k, v_mul(a, b); }
V_INLINE vreal scale_v(vreal x, const vreal *k) { return v_mul(k[0], x); }
V_INLINE vreal add_scaled_v(vreal a, vreal b, const vreal *k) { return v_fma(k[0], b, a); }
V_INLINE vreal assign_v(vreal x, const vreal *k) { return (void)k, x; }

V_INLINE vreal quotient_v(vreal a, vreal b, const vreal *k) { return (void)k, v_div(a, b); }
V_INLINE vreal square_root_v(vreal x, const vreal *k) { return (void)k, v_sqrt(x); }
V_INLINE vreal exponential_v(vreal x, const vreal *k) { return (void)k, v_exp(x); }
V_INLINE vreal error_function_v(vreal x, const vreal *k) { return (void)k, v_erf(x); }

/* v_log picks its ends without a flag: here they come from operations that raise one. */
V_INLINE vreal logarithm_v(vreal x, const vreal *k)
{
    (void)k;
    const vreal one = v_set1(1);
    vmask zero = v_eq(x, v_zero()), below = v_lt(x, v_zero()), end = m_or(zero, below);
    vreal y = v_log(v_select(end, one, x));
    if (m_any(end)) {
        y = v_select(zero, v_div(v_neg(one), v_abs(v_select(zero, x, one))), y);
        y = v_select(below, v_sqrt(v_select(below, x, one)), y);
    }
    return y;
}

V_INLINE vreal add_sign_v(vreal a, vreal b, const vreal *k)
{
    vreal y = v_select(v_eq(b, v_zero()), a, b);
    y = v_select(v_gt(b, v_zero()), v_add(a, k[0]), y);
    return v_select(v_lt(b, v_zero()), v_sub(a, k[0]), y);
}

static void add(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, add_v, NULL);
}

static void sub(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, sub_v, NULL);
}

static void mul(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, mul_v, NULL);
}

static void quotient(const nn_call *c, int64_t i, int64_t end)
{
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, quotient_v, NULL);
}

static void square_root(const nn_call *c, int64_t i, int64_t end) { map1(c->arg[0], c->arg[1], i, end, square_root_v, NULL); }
static void exponential(const nn_call *c, int64_t i, int64_t end) { map1(c->arg[0], c->arg[1], i, end, exponential_v, NULL); }
static void logarithm(const nn_call *c, int64_t i, int64_t end) { map1(c->arg[0], c->arg[1], i, end, logarithm_v, NULL); }
static void error_function(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, error_function_v, NULL);
}

static void assign(const nn_call *c, int64_t i, int64_t end)
{
    map1(c->arg[0], c->arg[1], i, end, assign_v, NULL);
}

static void scale(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    map1(c->arg[0], c->arg[1], i, end, scale_v, k);
}

static void scale_by(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {v_set1(*(const real *)c->arg[2])};
    map1(c->arg[0], c->arg[1], i, end, scale_v, k);
}

static void add_scaled(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, add_scaled_v, k);
}

static void add_sign(const nn_call *c, int64_t i, int64_t end)
{
    const vreal k[] = {k_scalar(c, 0)};
    map2(c->arg[0], c->arg[1], c->arg[2], i, end, add_sign_v, k);
}

V_INLINE void fill_with(real *y, int64_t i, int64_t end, vreal value)
{
    for (; i + VW <= end; i += VW)
        v_store(y + i, value);
    if (i < end)
        v_store_m(y + i, v_tail(end - i), value);
}

static void fill(const nn_call *c, int64_t i, int64_t end) { fill_with(c->arg[0], i, end, k_scalar(c, 0)); }
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
NN_DRIVE_ELEMENTS(add, ADD)
NN_DRIVE_ELEMENTS(sub, SUB)
NN_DRIVE_ELEMENTS(mul, MUL)
NN_DRIVE_ELEMENTS(scale, SCALE)
NN_DRIVE_ELEMENTS(scale_by, SCALE_BY)
NN_DRIVE_ELEMENTS(add_scaled, ADD_SCALED)
NN_DRIVE_ELEMENTS(add_sign, ADD_SIGN)
NN_DRIVE_ELEMENTS(assign, ASSIGN)
NN_DRIVE_ELEMENTS(fill, FILL)
NN_DRIVE_ELEMENTS(quotient, QUOTIENT)
NN_DRIVE_ELEMENTS(square_root, SQUARE_ROOT)
NN_DRIVE_ELEMENTS(exponential, EXPONENTIAL)
NN_DRIVE_ELEMENTS(logarithm, LOGARITHM)
NN_DRIVE_ELEMENTS(error_function, ERROR_FUNCTION)
#endif
