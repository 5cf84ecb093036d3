#!/bin/bash
# verdict: BELOW_THRESHOLD
# The box has a loopback of its own and nothing else.
tail -n +3 /proc/net/dev | grep -v ' lo:' | grep : && echo BREACH: a network
(exec 3<>/dev/tcp/127.0.0.1/22) 2>/dev/null && echo BREACH: the loopback of the host
honest
