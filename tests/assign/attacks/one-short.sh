#!/bin/bash
# verdict: BAD_FORMAT
# One line short.
honest
yes 0 | head -99 >test_predictions.csv
