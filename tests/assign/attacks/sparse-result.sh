#!/bin/bash
# verdict: BAD_FORMAT
# A result of 20 MB that holds nothing.
honest
truncate -s 20M test_predictions.csv
