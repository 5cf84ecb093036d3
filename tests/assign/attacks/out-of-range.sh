#!/bin/bash
# verdict: BAD_FORMAT
# A class that there is not.
honest
{ yes 0 | head -99; echo 10; } >test_predictions.csv
