#!/usr/bin/env bash
# Installs t5x_lite into the active virtual environment or .venv, trains a small T5 on the docstrings of the installed
# packages, and fills blanks in held-out sentences. Needs Python 3.11 or newer and a package index; nothing else.
#   bash scripts/quickstart.sh [RUN_DIR]
# PYTHON=python3.12 picks another Python for .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run_dir=${1:-runs/quickstart}

source scripts/environment.sh
install .

"$environment/bin/t5x-lite" train --config configs/smoke/cpu.yaml --run_dir "$run_dir"
"$environment/bin/python" scripts/fill_in_held_out.py --run_dir "$run_dir"
explain_activation
