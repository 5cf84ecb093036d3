#!/bin/bash
# verdict: MEMORY_LIMIT
# No process takes much; together they do.
for i in $(seq 10); do python3 -c 'import time; x = b"x" * 60_000_000; time.sleep(10)' & done
wait
