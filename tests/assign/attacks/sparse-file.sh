#!/bin/bash
# verdict: BELOW_THRESHOLD
# A file of two gigabytes that holds nothing.
truncate -s 2G hole && echo BREACH: no limit of one file
rm -f hole
honest
