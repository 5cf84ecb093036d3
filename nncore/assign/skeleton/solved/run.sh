#!/bin/bash
set -eu
cd "$(dirname "$0")"
make -s
./build/network
