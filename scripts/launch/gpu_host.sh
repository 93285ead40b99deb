#!/usr/bin/env bash
# Trains on one host with several GPUs: a single process drives all of them.
#   bash scripts/launch/gpu_host.sh train --config configs/pretrain/t5_1_1_small_docstrings.yaml --run_dir runs/small \
#     --mesh.fsdp 8 --mesh.data 1
# CUDA_VISIBLE_DEVICES selects GPUs. The first run installs JAX for CUDA 12 (EXTRA=cuda13 for CUDA 13) into the active
# virtual environment or .venv. Status 75 means that the run was stopped by a signal and saved: the same command resumes
# it, as systemd does with RestartForceExitStatus=75.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source scripts/environment.sh
install ".[${EXTRA:-cuda12}]"
# JAX preallocates three quarters of the GPU's memory by default.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}
exec "$environment/bin/t5x-lite" "$@"
