#!/usr/bin/env bash
# Several processes on this machine make the stages of one experiment between them; they share its output folder.
# Each sees one GPU or TPU chip, where there are any: process i the i-th, and where they are too few, several the same.
# With --distributed in the command they train each model together instead, process i on GPU i where there are GPUs;
# the first that fails stops the others.
#   launch/local.sh PROCESSES w2s run CONFIG [FLAGS...]
#   launch/local.sh PROCESSES w2s run CONFIG --distributed [FLAGS...]
#   launch/local.sh --dry-run PROCESSES w2s run CONFIG [FLAGS...]      prints the command of each process
# Ctrl-C and SIGTERM reach all processes. Ends when all have ended, with the code of the first that did not end well.
set -euo pipefail
dry=no
if [[ ${1:-} == --dry-run ]]; then dry=yes; shift; fi
if [[ ! ${1:-} =~ ^[1-9][0-9]*$ || $# -lt 2 ]]; then sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
count=$1; shift
together=no
if [[ " ${*:2} " == *" --distributed "* ]]; then together=yes; fi

free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

if [[ $together == yes ]]; then port=$(free_port); fi

# The GPUs that this shell sees, by the names that CUDA_VISIBLE_DEVICES takes; and the number of TPU chips.
IFS=, read -ra gpus <<<"${CUDA_VISIBLE_DEVICES-$(nvidia-smi -L 2>/dev/null | sed -n 's/^GPU \([0-9]*\):.*/\1/p' | paste -sd,)}"
chips=$(find "${W2S_DEVICES:-/dev}" -maxdepth 1 -name 'accel[0-9]*' 2>/dev/null | wc -l || true)

# Prints the command of process $1, quoted for a shell.
command_of() {
  if [[ $together == yes ]]; then
    printf '%s ' env "JAX_COORDINATOR_ADDRESS=127.0.0.1:$port" "JAX_NUM_PROCESSES=$count" "JAX_PROCESS_ID=$1" \
      "JAX_LOCAL_DEVICE_IDS=$1"
  elif ((${#gpus[@]})); then
    printf '%s ' env "CUDA_VISIBLE_DEVICES=${gpus[$1 % ${#gpus[@]}]}"
  elif ((chips)); then
    printf '%s ' env "TPU_VISIBLE_CHIPS=$(($1 % chips))" TPU_CHIPS_PER_PROCESS_BOUNDS=1,1,1 TPU_PROCESS_BOUNDS=1,1,1
  fi
  printf '%q ' "${@:2}"
  echo
}

if [[ $dry == yes ]]; then
  for ((i = 0; i < count; i++)); do command_of "$i" "$@"; done
  exit 0
fi

set -m # a process group each: a signal is passed on once, to whatever the command started
groups=() stopped=no
# Once: a process that is writing its last checkpoint is not disturbed again.
stop() {
  if [[ $stopped == yes ]]; then return; fi
  stopped=yes
  for group in "${groups[@]}"; do kill -TERM -- "-$group" 2>/dev/null || true; done
}
ends=$(mktemp -u)
mkfifo -m 600 "$ends"
exec 3<>"$ends"
exec 4<"$ends"
rm "$ends"
trap stop INT TERM HUP

for ((i = 0; i < count; i++)); do
  (
    trap : INT TERM HUP # this shell outlives the command, and tells how it ended
    code=0
    eval "$(command_of "$i" "$@")" </dev/null 3>&- 4<&- || code=$?
    echo "$code" >&3
  ) &
  groups+=($!)
done
exec 3>&- # so that reading ends with the last of them

status=0 ended=0
while read -r code <&4; do
  ended=$((ended + 1))
  if ((code && !status)); then
    status=$code
    if [[ $together == yes ]]; then stop; fi
  fi
done
if ((!status && ended < count)); then status=1; fi # one was killed before it could tell
exit "$status"
