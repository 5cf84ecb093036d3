/* exact.h - the families with elementary functions, and what these include: all.h for pass_exact.c. */
#include "reduce.c"
#include "elementwise.c"
#include "activation.c"
#include "softmax.c"
#include "loss.c"
#include "local_norm.c"
