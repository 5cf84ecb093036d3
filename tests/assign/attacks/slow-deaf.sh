#!/bin/bash
# verdict: TIME_LIMIT
# Deaf to every signal that can be refused.
honest
trap '' TERM INT HUP QUIT PIPE
for i in $(seq 30); do sleep 1; done
