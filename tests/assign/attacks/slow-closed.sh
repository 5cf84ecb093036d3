#!/bin/bash
# verdict: TIME_LIMIT
# It closes its output, so that it seems to have ended.
honest
exec >&- 2>&- <&-
sleep 30
