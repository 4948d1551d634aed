#!/usr/bin/env bash
# All hosts of a Cloud TPU slice run one command: creates the TPU VM, or takes the one of that name (as a queued resource
# makes one; one that was preempted is made anew), copies this working tree to each host, installs it there, and waits for
# the command to end.
#   launch/tpu.sh NAME ZONE ACCELERATOR_TYPE w2s run CONFIG --distributed --out /mnt/w2s [FLAGS...]
#   launch/tpu.sh --dry-run NAME ZONE ACCELERATOR_TYPE w2s run CONFIG --distributed --out /mnt/w2s [FLAGS...]
#                                                                       prints the commands instead of running them
# W2S_MOUNT=HOST:/SHARE (NFS) or W2S_MOUNT=gs://BUCKET is mounted at /mnt/w2s on each host.
# W2S_SPOT=1 asks for a slice that may be taken away: the same command creates another and resumes.
# W2S_TPU_VERSION is the runtime version, where it is not to follow from the type (v5litepod-*, v5p-*, v6e-*, older).
# The paths in the command are those of the working tree. The slice costs until it is deleted: how, is printed.
set -euo pipefail
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dry=no
if [[ ${1:-} == --dry-run ]]; then dry=yes; shift; fi
if [[ $# -lt 4 || ! $1 =~ ^[a-z][a-z0-9-]*$ || ! $2 =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ || ! $3 =~ ^v[0-9][a-z0-9]*-[0-9]+$ ]]; then
  usage
fi
name=$1 zone=$2 type=$3; shift 3
case $type in
  v5litepod-*) version=v2-alpha-tpuv5-lite ;;
  v5p-*) version=v2-alpha-tpuv5 ;;
  v6e-*) version=v2-alpha-tpuv6e ;;
  *) version='tpu-ubuntu2204-base' ;;
esac
version=${W2S_TPU_VERSION:-$version}
spot=${W2S_SPOT:+ --spot}

# What each host does. Its own Python may be older than 3.11, so uv brings one.
install="set -e
mkdir -p w2s
tar -xzf w2s.tar.gz -C w2s
python3 -m pip install --quiet --user uv
test -d venv || ~/.local/bin/uv venv --quiet --python 3.12 venv
~/.local/bin/uv pip install --quiet --python venv/bin/python -e './w2s[plot]' 'jax[tpu]'"
case ${W2S_MOUNT:-} in
  '') ;;
  gs://*)
    printf -v bucket %q "${W2S_MOUNT#gs://}"
    install+="
if ! mountpoint -q /mnt/w2s; then
  if ! command -v gcsfuse; then
    repository=https://packages.cloud.google.com/apt
    curl -fsS \$repository/doc/apt-key.gpg | sudo tee /usr/share/keyrings/cloud.google.asc >/dev/null
    echo \"deb [signed-by=/usr/share/keyrings/cloud.google.asc] \$repository gcsfuse-\$(lsb_release -cs) main\" |
      sudo tee /etc/apt/sources.list.d/gcsfuse.list
    sudo apt-get -q update
    sudo apt-get -q install -y gcsfuse
  fi
  sudo install -d -o \"\$USER\" /mnt/w2s
  gcsfuse --implicit-dirs --rename-dir-limit=100000 ${bucket%/} /mnt/w2s
fi" ;;
  *:/*)
    printf -v share %q "$W2S_MOUNT"
    install+="
if ! mountpoint -q /mnt/w2s; then
  sudo apt-get -q update
  sudo apt-get -q install -y nfs-common
  sudo mkdir -p /mnt/w2s
  sudo mount -t nfs $share /mnt/w2s
fi" ;;
  *) usage ;;
esac
# shellcheck disable=SC2016 # for the host's shell
printf -v run 'export PATH="$HOME/venv/bin:$PATH"\ncd w2s\nexec %s' "$(printf '%q ' "$@")"

tpu="gcloud compute tpus tpu-vm"
root=$(cd "$(dirname "$0")/.." && pwd)
script="set -euo pipefail
state=\$($tpu describe $name --zone=$zone --format='value(state)' 2>/dev/null || true)
case \$state in PREEMPTED | TERMINATED) $tpu delete $name --zone=$zone --quiet; state= ;; esac
test -n \"\$state\" || $tpu create $name --zone=$zone --accelerator-type=$type --version=$(printf %q "$version")$spot
archive=\$(mktemp)
trap 'rm -f \"\$archive\"' EXIT
tar -cz -C $(printf %q "$root") --exclude=./.git --exclude=./.venv --exclude=./runs --exclude=__pycache__ . >\"\$archive\"
$tpu scp \"\$archive\" $name:w2s.tar.gz --zone=$zone --worker=all
$tpu ssh $name --zone=$zone --worker=all --command=$(printf %q "$install")
$tpu ssh $name --zone=$zone --worker=all --command=$(printf %q "$run")"

cat >&2 <<END
To stop it with a checkpoint:   $tpu ssh $name --zone=$zone --worker=all --command='pkill -TERM -x w2s'
To delete the slice:            $tpu delete $name --zone=$zone
END
if [[ $dry == yes ]]; then echo "$script"; else exec bash -c "$script"; fi
