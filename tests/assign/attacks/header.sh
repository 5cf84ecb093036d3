#!/bin/bash
# verdict: BAD_FORMAT
# A header line.
honest
{ echo label; yes 0 | head -99; } >test_predictions.csv
