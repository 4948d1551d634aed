#!/usr/bin/env bash
# A Slurm array whose tasks make the stages of one experiment between them, each on its own accelerator. The output
# folder (the config's `out`, or --out) must be on a file system that all nodes share.
#   launch/slurm.sh TASKS w2s run CONFIG [FLAGS...]
#   launch/slurm.sh --dry-run TASKS w2s run CONFIG [FLAGS...]          prints the batch script instead of submitting it
# Partition, account and the like: set SBATCH_PARTITION, SBATCH_ACCOUNT, ... as for any sbatch.
set -euo pipefail
dry=no
if [[ ${1:-} == --dry-run ]]; then dry=yes; shift; fi
if [[ ! ${1:-} =~ ^[1-9][0-9]*$ || $# -lt 2 ]]; then sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
tasks=$1; shift
printf -v command '%q ' "$@"
script="#!/usr/bin/env bash
#SBATCH --job-name=w2s
#SBATCH --array=0-$((tasks - 1))
#SBATCH --gpus=${W2S_GPUS:-1}
#SBATCH --cpus-per-task=${W2S_CPUS:-8}
#SBATCH --time=${W2S_TIME:-24:00:00}
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
cd $(printf '%q' "$PWD")
exec $command"
if [[ $dry == yes ]]; then echo "$script"; else sbatch <<<"$script"; fi
