#!/bin/bash
# verdict: BAD_FORMAT
# NUL bytes between digits.
honest
head -c 200 /dev/zero >test_predictions.csv
