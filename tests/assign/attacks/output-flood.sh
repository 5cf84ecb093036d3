#!/bin/bash
# verdict: OUTPUT_LIMIT
# Two gigabytes printed.
head -c 2000000000 /dev/zero
