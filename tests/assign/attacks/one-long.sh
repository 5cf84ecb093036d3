#!/bin/bash
# verdict: BAD_FORMAT
# One line too many.
honest
yes 0 | head -101 >test_predictions.csv
