#!/bin/bash
# verdict: BELOW_THRESHOLD
# A crash after good results: they are counted.
honest
kill -SEGV $$
