#!/bin/bash
# verdict: BELOW_THRESHOLD
# Tracing process 1 and the shell.
python3 - <<'EOF'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for pid in (1, os.getppid()):
    if libc.ptrace(16, pid, 0, 0) == 0:
        print("BREACH: traced", pid)
EOF
honest
