#!/bin/bash
# verdict: BAD_FORMAT
# An empty file.
honest
: >test_predictions.csv
