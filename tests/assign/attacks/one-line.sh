#!/bin/bash
# verdict: BAD_FORMAT
# All classes in one line.
honest
yes 0 | head -100 | tr '\n' ',' >test_predictions.csv
