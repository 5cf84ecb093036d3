#!/bin/bash
# verdict: BAD_FORMAT
# Classes with an exponent.
honest
yes 1e0 | head -100 >test_predictions.csv
