#!/bin/bash
# verdict: OUTPUT_LIMIT
# Two gigabytes of complaints.
head -c 2000000000 /dev/zero >&2
