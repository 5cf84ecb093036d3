#!/bin/bash
# verdict: BAD_FORMAT
# A byte order mark.
honest
{ printf '\357\273\277'; yes 0 | head -100; } >test_predictions.csv
