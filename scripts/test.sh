#!/usr/bin/env bash
# Makes or reuses .venv, installs the test extra, and runs the suite. Arguments go to pytest:
#   bash scripts/test.sh                  everything but the tests marked slow or parity
#   bash scripts/test.sh -m slow          those that take longer
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment.sh
install_into_venv '.[test]'

marked=(-m "not slow and not parity")
for argument in "$@"; do
  [[ $argument == -m ]] && marked=()
done
# Most of the time goes into compiling small programs, which keeps one core busy: two processes, a file at a time each.
exec .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "${marked[@]}" "$@"
