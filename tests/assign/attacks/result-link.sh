#!/bin/bash
# verdict: BAD_FORMAT
# The result is a link to a file of the host's.
honest
ln -sf /etc/passwd test_predictions.csv
