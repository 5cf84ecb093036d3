#!/bin/bash
# verdict: BAD_FORMAT
# Classes with a point.
honest
yes 1.0 | head -100 >test_predictions.csv
