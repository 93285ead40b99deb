#!/usr/bin/env bash
# Requests a TPU slice from Google Cloud, waits for it, installs on all hosts, and runs one command on all of them.
#   NAME=t5 ZONE=us-west4-a TYPE=v5litepod-64 bash scripts/launch/tpu_pod.sh train \
#     --config configs/pretrain/t5_1_1_xl_v5e_64.yaml --run_dir /mnt/shared/runs/xl --task.source '/mnt/shared/data/*.gz'
# A run that was stopped and saved (status 75) is started again; for other statuses this ends with them. Run again, the
# command reuses the slice and resumes. run_dir must be on a shared file system (Filestore, gcsfuse).
# VERSION is the VM's image; SPOT=yes requests preemptible capacity. Delete the slice with:
#   gcloud compute tpus queued-resources delete "$NAME" --zone "$ZONE" --force
set -euo pipefail
: "${NAME:?set it to the name of the slice}" "${ZONE:?set it to a zone}" "${TYPE:?set it to an accelerator type, such as v5litepod-64}"
repository=${REPOSITORY:-$(git -C "$(dirname "${BASH_SOURCE[0]}")" remote get-url origin)}
tpus=(gcloud compute tpus)

if ! "${tpus[@]}" queued-resources describe "$NAME" --zone "$ZONE" > /dev/null 2>&1; then
  spot=()
  if [[ ${SPOT:-} ]]; then spot=(--spot); fi
  "${tpus[@]}" queued-resources create "$NAME" --node-id "$NAME" --zone "$ZONE" --accelerator-type "$TYPE" \
    --runtime-version "${VERSION:-v2-alpha-tpuv5-lite}" "${spot[@]}"
fi
wait_until_active() {
  local state
  until state=$("${tpus[@]}" queued-resources describe "$NAME" --zone "$ZONE" --format 'value(state.state)') &&
    [[ $state == ACTIVE ]]; do
    if [[ $state == FAILED || $state == SUSPENDED ]]; then
      echo "the slice is $state: delete it (see the top of this file) and run this again" >&2
      exit 1
    fi
    echo "waiting for $NAME: $state"
    sleep 30
  done
}

on_hosts() { "${tpus[@]}" tpu-vm ssh "$NAME" --zone "$ZONE" --worker "$1" --command "$2"; }

# The run survives a lost connection and writes to a log on every host, and its status beside it.
run=".venv/bin/t5x-lite $(printf '%q ' "$@") >> ~/t5x-lite.log 2>&1; echo \$? > ~/t5x-lite.status"
status=75
while [[ $status == 75 ]]; do # it was stopped, say for maintenance of a host, and saved
  wait_until_active
  on_hosts all "test -d t5x_lite || git clone --depth 1 $(printf %q "$repository") t5x_lite
    cd t5x_lite && test -d .venv || python3 -m venv .venv && .venv/bin/pip install --quiet '.[tpu]'"
  # JAX discovers the other hosts.
  on_hosts all "cd t5x_lite; touch ~/t5x-lite.log; rm -f ~/t5x-lite.status
    nohup bash -c $(printf %q "$run") > /dev/null 2>&1 < /dev/null &
    run=\$!; tail --pid \$run --lines 0 --follow ~/t5x-lite.log; wait \$run" || true
  if ! status=$(on_hosts 0 "cat ~/t5x-lite.status"); then
    echo "lost the connection to $NAME: if it still exists, the run continues there; see ~/t5x-lite.log" >&2
    exit 1
  fi
done
exit "$status"
