#!/bin/bash
# verdict: BELOW_THRESHOLD
# Right classes in another order are wrong classes.
centroid
sort test_predictions.csv -o test_predictions.csv
