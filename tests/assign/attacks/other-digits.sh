#!/bin/bash
# verdict: BAD_FORMAT
# Digits of another script.
honest
yes ٣ | head -100 >test_predictions.csv
