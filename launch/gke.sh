#!/usr/bin/env bash
# All hosts of a TPU slice on Google Kubernetes Engine run one command, as a JobSet (the cluster must have JobSet).
#   launch/gke.sh NAME IMAGE ACCELERATOR TOPOLOGY HOSTS CLAIM w2s run CONFIG --distributed --out /out [FLAGS...]
#   launch/gke.sh --dry-run NAME IMAGE ...                              prints the manifest instead of applying it
# IMAGE holds w2s, jax[tpu] and CONFIG. ACCELERATOR and TOPOLOGY are the node pool's (tpu-v5-lite-podslice 4x4), HOSTS
# its nodes, which share the chips of the topology evenly. CLAIM, a persistent volume claim that all hosts may write
# (ReadWriteMany), is mounted at /out.
# A host that is taken away gets two minutes to write a checkpoint, on spot nodes some fifteen seconds; then all start
# again, W2S_RESTARTS (3) times at most. Bad input (exit code 2) is not tried again.
set -euo pipefail
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dry=no
if [[ ${1:-} == --dry-run ]]; then dry=yes; shift; fi
label='^[a-z]([a-z0-9-]*[a-z0-9])?$' restarts=${W2S_RESTARTS:-3}
if [[ $# -lt 7 || ! $1 =~ $label || ${#1} -gt 40 || ! $3 =~ $label || ! $4 =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ||
  ! $5 =~ ^[1-9][0-9]*$ || ! $6 =~ ^[a-z0-9][a-z0-9.-]*$ || ! $restarts =~ ^[0-9]+$ ]]; then
  usage
fi
name=$1 image=$2 accelerator=$3 topology=$4 hosts=$5 claim=$6; shift 6
chips=$((${topology//x/*}))
if ((chips % hosts)); then usage; fi

# A string of YAML that Kubernetes leaves as it is: it would read $(NAME) as a variable, and $$ as $.
quote() {
  local text=${1//\$/\$\$}
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  echo "\"${text//$'\t'/\\t}\""
}

manifest="apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: $restarts
    rules:
    - action: FailJobSet
      onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
  - name: slice
    replicas: 1
    template:
      spec:
        completionMode: Indexed
        completions: $hosts
        parallelism: $hosts
        backoffLimit: 0
        podFailurePolicy:
          rules:
          - action: FailJob
            onExitCodes:
              containerName: w2s
              operator: In
              values: [2]
        template:
          spec:
            restartPolicy: Never
            terminationGracePeriodSeconds: 120
            nodeSelector:
              cloud.google.com/gke-tpu-accelerator: $accelerator
              cloud.google.com/gke-tpu-topology: $topology
            containers:
            - name: w2s
              image: $(quote "$image")
              command:
$(for word in "$@"; do echo "              - $(quote "$word")"; done)
              resources:
                requests:
                  google.com/tpu: $((chips / hosts))
                limits:
                  google.com/tpu: $((chips / hosts))
              volumeMounts:
              - name: out
                mountPath: /out
            volumes:
            - name: out
              persistentVolumeClaim:
                claimName: $claim"

if [[ $dry == yes ]]; then echo "$manifest"; exit 0; fi
kubectl apply -f - <<<"$manifest"
cat >&2 <<END
To see what it prints:   kubectl logs -f -l jobset.sigs.k8s.io/jobset-name=$name --max-log-requests=$hosts
To stop it:              kubectl delete jobset $name
END
