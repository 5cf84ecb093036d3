/* schedule.c - hyper-parameters that change with the step: rate, momentum, anything an update reads.
 *
 *   value = f(t),  t = count, the steps done before this one: 0, 1, ...
 *
 *   kind (dim[0])  scalars             f(t)
 *   CONSTANT       e0                  e0
 *   POWER          e0 s                e0 / (1 + t / s)
 *   EXPONENTIAL    e0 s                e0 10^(-t / s)
 *   PIECEWISE      the table           values[number of boundaries <= t]
 *   ONE_CYCLE      peak a b up down T  linear from peak / a to peak over the first up T steps, back to peak / a over the
 *                                      next down T, then to peak / b at T; the lectures' a = 10, b = 10000,
 *                                      up = down = 0.45. Smith 2018, section 4
 *   COSINE         e0 e1 T             e1 + (e0 - e1) (1 + cos(pi t / T)) / 2
 *                                      Loshchilov and Hutter 2017, eq. 5, without restarts
 *   COSINE_RESTARTS e0 e1 T g          the same over and over: cycle i lasts T g^i steps; section 3 of the paper
 *   GEOMETRIC      e0 e1 T             e0 (e1 / e0)^(t / T): the sweep of a search for the rate. Smith 2017, section 3.3
 *   WARM_AVERAGE   r                   max(r, 9 / (10 + t)), that is 1 - min(1 - r, (1 + t) / (10 + t)): TensorFlow's
 *                                      ExponentialMovingAverage; r = 1 - decay
 *   RUNNING_MEAN   s n                 1 up to s steps done, then 1 / (k + 1) when s + k n are done, else 0: what blend
 *                                      takes to a mean of every n-th weights from s on. Izmailov et al. 2018
 *
 * PIECEWISE: dim[1] = n boundaries, ascending, then n + 1 values, in the third argument (f64) or, if that is absent, in
 * the scalars, which hold n <= 7.
 * ONE_CYCLE, COSINE and GEOMETRIC are functions of time on [0, T], T the steps of the whole training; a step takes the value at its
 * beginning, so the last one is a step short of the end, and cosine to 0 wastes no step at rate 0. From T on they stay
 * at their end. The k-th restart takes e0 again. Steps done, for RUNNING_MEAN, are t + 1: it acts behind the update.
 * All in double, exp, pow and cos being ours: a value depends on nothing but t. Rank 0 writes it; the barrier behind the
 * instruction shows it to the others. Error: a few units of 2^-53, far below the one rounding to float it meets. */
#ifdef NN_PASS_LIST
NN_OP_HOST(schedule, SCHEDULE)
#endif

/* ---- DRIVER ---------------------------------------------------------------------------------------------------- */
#ifdef NN_PASS_DRIVER
static double schedule_piecewise(const double *table, int64_t n, double t)
{
    int64_t leg = 0;
    while (leg < n && table[leg] <= t)
        leg++;
    return table[n + leg];
}

/* From y0 at x = 0 to y1 at x = 1; exactly y0 there, and exactly y1 for x >= 1. */
static double schedule_leg(double y0, double y1, double x)
{
    return x < 1 ? y0 + (y1 - y0) * x : y1;
}

static double schedule_one_cycle(const double *s, double t)
{
    double peak = s[0], low = peak / s[1], end = peak / s[2], total = s[5], up = s[3] * total, down = s[4] * total;
    if (t < up)
        return schedule_leg(low, peak, t / up);
    if (t - up < down)
        return schedule_leg(peak, low, (t - up) / down);
    double rest = total - up - down;
    return t < total && rest > 0 ? schedule_leg(low, end, (t - up - down) / rest) : end;
}

/* Over T steps, t < T. */
static double schedule_cosine(const nn_call *c, double t, double T)
{
    const double *s = c->scalar, pi = 0x1.921fb54442d18p1;
    return t < T ? s[1] + (s[0] - s[1]) * (1 + c->math->cos(pi * (t / T))) / 2 : s[1];
}

static double schedule_restarts(const nn_call *c, double t)
{
    double T = c->scalar[2], growth = c->scalar[3];
    if (growth == 1)
        return schedule_cosine(c, t - T * (double)(int64_t)(t / T), T);
    while (t >= T) {
        t -= T;
        T *= growth;
    }
    return schedule_cosine(c, t, T);
}

static double schedule_geometric(const nn_call *c, double t)
{
    const double *s = c->scalar;
    return t < s[2] ? s[0] * c->math->pow(s[1] / s[0], t / s[2]) : s[1];
}

static double schedule_running_mean(const double *s, int64_t done)
{
    int64_t start = (int64_t)s[0], every = (int64_t)s[1], late = done - start;
    return late <= 0 ? 1 : late % every ? 0 : 1 / (double)(late / every + 1);
}

static void schedule(const nn_call *c)
{
    if (c->team->rank != 0)
        return;
    double *value = c->arg[0], t = (double)*(const int64_t *)c->arg[1];
    const double *s = c->scalar, *table = c->arg[2] ? c->arg[2] : s;
    int64_t kind = c->dim[0], n = c->dim[1];
    if (kind == NN_SCHEDULE_CONSTANT)
        *value = s[0];
    else if (kind == NN_SCHEDULE_POWER)
        *value = s[0] / (1 + t / s[1]);
    else if (kind == NN_SCHEDULE_EXPONENTIAL)
        *value = s[0] * c->math->pow(10, -t / s[1]);
    else if (kind == NN_SCHEDULE_PIECEWISE && n >= 0 && (table != s || 2 * n + 1 <= NN_MAX_SCALARS))
        *value = schedule_piecewise(table, n, t);
    else if (kind == NN_SCHEDULE_ONE_CYCLE)
        *value = schedule_one_cycle(s, t);
    else if (kind == NN_SCHEDULE_COSINE)
        *value = schedule_cosine(c, t, s[2]);
    else if (kind == NN_SCHEDULE_COSINE_RESTARTS && s[2] >= 1 && s[3] >= 1)
        *value = schedule_restarts(c, t);
    else if (kind == NN_SCHEDULE_GEOMETRIC)
        *value = schedule_geometric(c, t);
    else if (kind == NN_SCHEDULE_WARM_AVERAGE)
        *value = s[0] > 9 / (10 + t) ? s[0] : 9 / (10 + t);
    else if (kind == NN_SCHEDULE_RUNNING_MEAN && s[1] >= 1)
        *value = schedule_running_mean(s, *(const int64_t *)c->arg[1] + 1);
    else
        nn_raise(c, NN_ERR_ARGUMENT, kind, (double)n);
}
#endif
