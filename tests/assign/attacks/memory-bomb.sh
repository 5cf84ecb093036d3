#!/bin/bash
# verdict: MEMORY_LIMIT
# One process, up to 3 GB, page by page.
python3 - <<'EOF'
import time
blocks = []
try:
    for _ in range(300):
        blocks.append(bytearray(b"x") * 10_000_000)
except MemoryError:
    pass
time.sleep(5)
EOF
