#!/bin/bash
# verdict: BELOW_THRESHOLD
# A user namespace, where one is root.
unshare -Ur true 2>/dev/null && echo BREACH: a user namespace
honest
