#!/bin/bash
# verdict: MISSING_OUTPUT
# The result would be a device.
honest
rm test_predictions.csv
mknod test_predictions.csv c 1 5 && echo BREACH: a device
exit 0
