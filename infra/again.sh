#!/bin/bash
# again.sh TIMES COMMAND...: begins COMMAND again when it was killed, TIMES in all.
# For drivers, which resume: one that the kernel killed for its memory goes on where it was. What a
# command ended with by itself is handed on: 0, 1 incomplete, 2 a wrong option; so is a stop that
# somebody asked for, 130 (Ctrl-C) and 143 (SIGTERM).
set -uo pipefail

left=$1
shift
while true; do
    "$@"
    code=$?
    ((left -= 1))
    if ((code <= 128 || code == 130 || code == 143 || left <= 0)); then
        exit "$code"
    fi
    echo "again.sh: $1 was killed by signal $((code - 128)); it is begun again, $left left" >&2
done
