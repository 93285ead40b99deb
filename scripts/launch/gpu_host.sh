#!/usr/bin/env bash
# One host with several GPUs: a single process sees all of them, and nothing has to be found.
#   bash scripts/launch/gpu_host.sh train --config configs/pretrain/t5_1_1_small_docstrings.yaml --run_dir runs/small \
#     --mesh.fsdp 8 --mesh.data 1
# CUDA_VISIBLE_DEVICES chooses among them. The first run makes .venv with JAX for CUDA 12 (EXTRA=cuda13 for CUDA 13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source scripts/environment.sh
install_into_venv ".[${EXTRA:-cuda12}]"
# Whatever GPU memory is not taken by others: JAX's own default leaves a quarter of it unused.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}
exec .venv/bin/t5x-lite "$@"
