#!/bin/bash
# verdict: BELOW_THRESHOLD
# Higher limits.
ulimit -u 4000 2>/dev/null && echo BREACH: processes
ulimit -f unlimited 2>/dev/null && echo BREACH: file size
ulimit -c unlimited 2>/dev/null && echo BREACH: core files
ulimit -n 100000 2>/dev/null && echo BREACH: descriptors
nice -n -5 true 2>/dev/null; python3 -c 'import os; os.nice(-5); print("BREACH: priority")' 2>/dev/null
honest
