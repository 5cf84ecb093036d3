#!/bin/bash
# verdict: RUN_FAILED
# A crash after good results.
honest
kill -SEGV $$
