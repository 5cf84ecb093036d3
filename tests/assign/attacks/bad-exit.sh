#!/bin/bash
# verdict: RUN_FAILED
# Good results and an exit code that says otherwise.
honest
exit 3
