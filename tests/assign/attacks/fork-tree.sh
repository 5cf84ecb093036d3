#!/bin/bash
# verdict: PROCESS_LIMIT
# Processes that multiply, four hundred at most (2^8 leaves), each in a session of its own.
grow() { if [ "$1" -gt 0 ]; then (grow $(($1 - 1))) & (grow $(($1 - 1))) & wait; else sleep 20; fi; }
export -f grow
setsid bash -c 'grow 7' & setsid bash -c 'grow 6' &
wait
