#!/usr/bin/env bash
# Runs several processes on this machine's CPU, as a cluster would, to try a multi-host job.
#   NUM_PROCESSES=2 DEVICES=4 bash scripts/launch/local_cpu.sh train --config configs/smoke/cpu.yaml --run_dir runs/two
# NUM_PROCESSES (default 2) processes share DEVICES fake devices (default: one per process). Ctrl-C and SIGTERM reach all
# processes, which save and stop with status 75: the same command resumes. When one fails the others follow; those still
# running after GRACE (default 60) seconds are killed. The exit status is that of the first failure, or else 75 or 0.
set -euo pipefail
num_processes=${NUM_PROCESSES:-2}
devices=${DEVICES:-$num_processes}
grace=${GRACE:-60}
port=${PORT:-$((20000 + RANDOM % 12000))} # below Linux's ephemeral ports
read -ra command <<< "${T5X_LITE:-t5x-lite}"
if ((devices % num_processes)); then
  echo "DEVICES $devices is not a multiple of NUM_PROCESSES $num_processes: change one of them" >&2
  exit 2
fi

export JAX_PLATFORMS=cpu JAX_COORDINATOR_ADDRESS=localhost:$port JAX_NUM_PROCESSES=$num_processes
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$((devices / num_processes))"
processes=()
for ((index = 0; index < num_processes; index++)); do
  JAX_PROCESS_ID=$index "${command[@]}" "$@" &
  processes+=($!)
done
trap 'kill -TERM "${processes[@]}" 2> /dev/null || true' INT TERM

status=0 failed_at=
while ((${#processes[@]})); do
  running=()
  for process in "${processes[@]}"; do
    if kill -0 "$process" 2> /dev/null; then
      running+=("$process")
    else
      wait "$process" && ended=0 || ended=$?
      if ((status == 0 || (status == 75 && ended))); then status=$ended; fi
    fi
  done
  processes=(${running[@]+"${running[@]}"}) # old versions of bash treat an empty array as unset
  if ((status)) && [[ ! $failed_at ]]; then failed_at=$SECONDS; fi
  if ((status && ${#processes[@]} && SECONDS - failed_at > grace)); then kill -KILL "${processes[@]}" || true; fi
  sleep 0.2
done
exit "$status"
