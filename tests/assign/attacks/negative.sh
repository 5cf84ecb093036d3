#!/bin/bash
# verdict: BAD_FORMAT
# Negative classes.
honest
yes -- -1 | head -100 >test_predictions.csv
