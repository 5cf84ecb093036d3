#!/bin/bash
# verdict: OUTPUT_LIMIT
# A file of two gigabytes, in pieces below any limit of one file.
for i in $(seq 200); do head -c 10000000 /dev/zero >part$i || break; done
honest
