#!/bin/bash
# verdict: TIME_LIMIT
# A loop; it ends after half a minute.
honest
end=$((SECONDS + 30)); while [ $SECONDS -lt $end ]; do :; done
