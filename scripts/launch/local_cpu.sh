#!/usr/bin/env bash
# Several processes on this machine's CPU, as a cluster has them: to try what is to run on one.
#   NUM_PROCESSES=2 DEVICES=4 bash scripts/launch/local_cpu.sh train --config configs/smoke/cpu.yaml --run_dir runs/two
# NUM_PROCESSES (2) processes share DEVICES (as many as processes) fake devices. Ctrl-C and SIGTERM reach all of them,
# which save and stop. When one fails, so do the others: what is left of them after GRACE (60) seconds is killed. The exit
# status is the first that is not 0.
set -euo pipefail
num_processes=${NUM_PROCESSES:-2}
devices=${DEVICES:-$num_processes}
grace=${GRACE:-60}
port=${PORT:-$((20000 + RANDOM % 12000))} # below those that Linux gives to clients
read -ra command <<< "${T5X_LITE:-t5x-lite}"
if ((devices % num_processes)); then
  echo "DEVICES is $devices, which NUM_PROCESSES $num_processes does not divide: change one of them" >&2
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
      if ((status == 0)); then status=$ended; fi
    fi
  done
  processes=(${running[@]+"${running[@]}"}) # so that an empty one is none to old versions of bash
  if ((status)) && [[ ! $failed_at ]]; then failed_at=$SECONDS; fi
  if ((status && ${#processes[@]} && SECONDS - failed_at > grace)); then kill -KILL "${processes[@]}" || true; fi
  sleep 0.2
done
exit "$status"
