#!/usr/bin/env bash
# Several processes on this machine make the stages of one experiment between them; they share its output folder.
#   launch/local.sh PROCESSES w2s run CONFIG [FLAGS...]
#   launch/local.sh --dry-run PROCESSES w2s run CONFIG [FLAGS...]      prints the command of each process
set -euo pipefail
dry=no
if [[ ${1:-} == --dry-run ]]; then dry=yes; shift; fi
if [[ ! ${1:-} =~ ^[1-9][0-9]*$ || $# -lt 2 ]]; then sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
count=$1; shift
if [[ $dry == yes ]]; then
  for ((i = 0; i < count; i++)); do echo "process $i: $*"; done
  exit 0
fi
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM
for ((i = 0; i < count; i++)); do "$@" & pids+=($!); done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit "$status"
