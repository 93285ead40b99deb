#!/usr/bin/env bash
# Runs on the GPUs of a SLURM cluster, one process per GPU; JAX discovers the processes from SLURM's variables.
#   sbatch --nodes 4 scripts/launch/slurm_gpu.sh train --config configs/pretrain/t5_1_1_large_v5e_32.yaml \
#     --run_dir /shared/runs/large --mesh.fsdp 8 --mesh.data -1 --task.source '/shared/data/*.jsonl.gz'
# run_dir and the data must be on a file system that all nodes share. Two minutes before its time limit the job receives
# SIGTERM, saves a checkpoint, ends with status 75 and is requeued; it then resumes. Every other status ends the job. VENV
# is the virtual environment, .venv by default.
#SBATCH --job-name=t5x-lite
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=t5x-lite-%j.log
set -euo pipefail
program=${VENV:-.venv}/bin/t5x-lite
stopped=
# Processes that were stopped end with 75, one shortly after the other; those of a failed one have two minutes to end.
srun --kill-on-bad-exit=0 --wait=120 "$program" "$@" &
step=$!
trap 'stopped=yes; kill -TERM "$step"' TERM # srun forwards it to all processes
status=0
wait "$step" || status=$?
if [[ $stopped ]]; then
  status=0
  wait "$step" || status=$? # the signal has ended the first wait
fi
# A job that is being cancelled is not running any more.
if ((status == 75)) && [[ $(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T) == RUNNING ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
