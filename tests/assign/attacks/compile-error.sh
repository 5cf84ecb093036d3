#!/bin/bash
# verdict: BUILD_FAILED
# A source that does not compile.
echo 'int main(void) { return x; }' >a.c
gcc a.c -o a || exit 1
honest
