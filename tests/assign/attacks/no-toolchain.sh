#!/bin/bash
# verdict: BUILD_FAILED
# A compiler that is not there.
set -e
icc-of-2003 -O3 a.c -o a 2>&1 || { echo 'a.c:1:1: error: no such compiler'; exit 127; }
honest
