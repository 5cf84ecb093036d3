#!/bin/bash
set -eu
cd "$(dirname "$0")"
make -s
java -Xmx1g -cp build Network
