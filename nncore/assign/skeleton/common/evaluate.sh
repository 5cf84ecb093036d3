#!/bin/bash
# evaluate.sh PREDICTIONS LABELS: the share of equal lines.
set -eu
[ $# = 2 ] || { echo "usage: $0 PREDICTIONS LABELS" >&2; exit 2; }
[ "$(wc -l <"$1")" = "$(wc -l <"$2")" ] || { echo "$1 and $2 differ in their number of lines" >&2; exit 3; }
paste -d, "$1" "$2" | awk -F, '$1 == $2 { hits++ } END { printf "accuracy %.2f%% (%d of %d)\n", 100 * hits / NR, hits, NR }'
