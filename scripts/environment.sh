# shellcheck shell=bash
# Sourced by the other scripts: `install_into_venv REQUIREMENT` makes .venv if it is not there and installs the
# package from this checkout, in editable form.
install_into_venv() {
  local python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "t5x_lite needs Python 3.11 or newer, and '$python' is not: set PYTHON to one, as in PYTHON=python3.12 bash $0" >&2
    exit 1
  fi
  if [[ ! -x .venv/bin/python ]]; then
    echo "Making .venv"
    "$python" -m venv .venv
  fi
  echo "Installing t5x_lite into .venv"
  # No byte code for everything as it installs: Python makes it for what is imported.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable "$1"
}
