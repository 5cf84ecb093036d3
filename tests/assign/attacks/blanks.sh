#!/bin/bash
# verdict: BAD_FORMAT
# Blanks around the class.
honest
yes ' 1' | head -100 >test_predictions.csv
