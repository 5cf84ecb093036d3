#!/bin/bash
# verdict: BELOW_THRESHOLD
# Good results and an exit code that says otherwise: they are counted, as they would be by hand.
honest
exit 3
