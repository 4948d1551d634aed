#!/usr/bin/env bash
# A Slurm array whose tasks make the stages of one experiment between them, each on its own accelerator. With
# --distributed in the command it is one job instead, of so many nodes that train each model together. The output
# folder (the config's `out`, or --out) must be on a file system that all nodes share.
#   launch/slurm.sh TASKS w2s run CONFIG [FLAGS...]
#   launch/slurm.sh NODES w2s run CONFIG --distributed [FLAGS...]
#   launch/slurm.sh --dry-run TASKS w2s run CONFIG [FLAGS...]          prints the batch script instead of submitting it
# W2S_GPUS (1; of each task, or each node), W2S_CPUS (8) and W2S_TIME (24:00:00) say what to ask for. Partition, account
# and the like: set SBATCH_PARTITION, SBATCH_ACCOUNT, ... as for any sbatch.
# Two minutes before its time is up a job writes a checkpoint and ends; the same command resumes from there.
set -euo pipefail
dry=no
if [[ ${1:-} == --dry-run ]]; then dry=yes; shift; fi
gpus=${W2S_GPUS:-1} cpus=${W2S_CPUS:-8}
if [[ ! ${1:-} =~ ^[1-9][0-9]*$ || $# -lt 2 || ! $gpus =~ ^([a-zA-Z0-9_.-]+:)?[0-9]+$ || ! $cpus =~ ^[1-9][0-9]*$ ]]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2
fi
tasks=$1; shift
printf -v command '%q ' "$@"

# Slurm signals the steps of a job, unless told B: the batch script, which here becomes the command.
what="#SBATCH --array=0-$((tasks - 1))
#SBATCH --gpus=$gpus
#SBATCH --signal=B:TERM@120"
before="exec"
if [[ " ${*:2} " == *" --distributed "* ]]; then
  what="#SBATCH --nodes=$tasks
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=$gpus
#SBATCH --signal=TERM@120"
  # Under Slurm JAX takes one GPU for each task, unless it is told of all.
  before="export JAX_LOCAL_DEVICE_IDS=$(seq -s , 0 $((${gpus##*:} - 1)))
exec srun --cpus-per-task=$cpus"
fi

script="#!/usr/bin/env bash
#SBATCH --job-name=w2s
$what
#SBATCH --cpus-per-task=$cpus
#SBATCH --time=${W2S_TIME:-24:00:00}
#SBATCH --requeue
set -euo pipefail
cd $(printf '%q' "$PWD")
$before $command"
if [[ $dry == yes ]]; then echo "$script"; else sbatch <<<"$script"; fi
