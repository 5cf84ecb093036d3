#!/bin/bash
# verdict: PROCESS_LIMIT
# Four hundred processes at once.
for i in $(seq 400); do sleep 20 & done
wait
