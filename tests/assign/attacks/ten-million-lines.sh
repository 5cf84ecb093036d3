#!/bin/bash
# verdict: BAD_FORMAT
# Ten million lines.
honest
yes 0 | head -10000000 >test_predictions.csv
