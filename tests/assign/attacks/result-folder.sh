#!/bin/bash
# verdict: BAD_FORMAT
# The result is a folder.
honest
rm test_predictions.csv
mkdir test_predictions.csv
