#!/bin/bash
# verdict: BELOW_THRESHOLD
# A library put before all others.
export LD_PRELOAD=$PWD/evil.so LD_LIBRARY_PATH=$PWD PYTHONPATH=$PWD BASH_ENV=$PWD/evil
export PATH=$PWD:$PATH
honest
