#!/bin/bash
# verdict: BELOW_THRESHOLD
# Signals to everybody that can be reached.
trap '' TERM HUP INT
kill -KILL 1
kill -TERM -1
sleep 0.1
honest
