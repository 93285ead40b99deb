#!/usr/bin/env bash
# Installs the test extra into the active virtual environment or .venv, and runs the tests. Arguments go to pytest:
#   bash scripts/test.sh                  all tests but those marked slow or parity
#   bash scripts/test.sh -m slow          the slow ones
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment.sh
install '.[test]'

marked=(-m "not slow and not parity")
for argument in "$@"; do
  [[ $argument == -m ]] && marked=()
done
# Most of the time goes into compiling small programs, which uses one core: two processes, each taking a file at a time.
exec "$environment/bin/python" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "${marked[@]}" "$@"
