/* has_level.c - exit 0 if this CPU runs the kernels of a level: has_level avx2. */
#include "nncore.h"

int main(int argc, char **argv) { return argc != 2 || !nn_kernels_named(argv[1]); }
