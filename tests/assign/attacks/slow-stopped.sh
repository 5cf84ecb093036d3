#!/bin/bash
# verdict: TIME_LIMIT
# It stops itself, for ever.
honest
kill -STOP $$
