#!/bin/bash
# verdict: OUTPUT_LIMIT
# Twenty thousand empty files.
python3 - <<'EOF'
import time
try:
    for i in range(20_000):
        open(f"f{i}", "w").close()
except OSError:
    pass
time.sleep(5)
EOF
