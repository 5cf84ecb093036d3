#!/bin/bash
set -eu
cd "$(dirname "$0")"
make -s
python3 network.py
