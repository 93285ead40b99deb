#!/usr/bin/env bash
# Installs into .venv, trains a small T5 on the docstrings of the installed packages, and fills in blanks of held-out
# sentences. Needs Python 3.11 or newer (PYTHON=python3.12 picks another one) and a package index; nothing else.
#   bash scripts/quickstart.sh [RUN_DIR]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run_dir=${1:-runs/quickstart}

source scripts/environment.sh
install_into_venv .

.venv/bin/t5x-lite train --config configs/smoke/cpu.yaml --run_dir "$run_dir"
.venv/bin/python scripts/fill_in_held_out.py --run_dir "$run_dir"
