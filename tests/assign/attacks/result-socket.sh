#!/bin/bash
# verdict: BAD_FORMAT
# The result is a socket.
honest
rm test_predictions.csv
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("test_predictions.csv")'
