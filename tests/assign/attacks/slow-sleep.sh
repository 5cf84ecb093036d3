#!/bin/bash
# verdict: TIME_LIMIT
# Sleeping.
honest
sleep 30
