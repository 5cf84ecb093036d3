#!/bin/bash
# verdict: BUILD_FAILED
# The compiler is asked to quote a file of the host's.
echo '#include "/etc/shadow"' >a.c
gcc a.c -o a || exit 1
honest
