#!/bin/bash
# verdict: BELOW_THRESHOLD
# The clock of the host.
date -s '2000-01-01' >/dev/null 2>&1 && echo BREACH: the clock
honest
