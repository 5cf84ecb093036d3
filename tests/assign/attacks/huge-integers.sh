#!/bin/bash
# verdict: BAD_FORMAT
# A number of a thousand digits.
honest
{ yes 0 | head -99; printf '9%.0s' $(seq 1000); echo; } >test_predictions.csv
