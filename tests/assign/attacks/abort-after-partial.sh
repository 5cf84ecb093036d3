#!/bin/bash
# verdict: RUN_FAILED
# Killed by itself in the middle.
echo 0 >test_predictions.csv
kill -KILL $$
