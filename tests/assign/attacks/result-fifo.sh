#!/bin/bash
# verdict: BAD_FORMAT
# The result is a pipe, on which a reader would wait for ever.
honest
rm test_predictions.csv
mkfifo test_predictions.csv
