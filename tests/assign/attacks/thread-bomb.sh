#!/bin/bash
# verdict: PROCESS_LIMIT
# Threads count as processes do.
python3 - <<'EOF'
import threading, time
for _ in range(300):
    try:
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
    except RuntimeError:
        break
time.sleep(5)
EOF
