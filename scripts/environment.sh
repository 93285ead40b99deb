# shellcheck shell=bash
# Sourced by the other scripts: `install REQUIREMENT` installs the package from this checkout, in editable form, into the
# active virtual environment, or else into .venv, which it creates. `$environment` is its directory.
environment=${VIRTUAL_ENV:-.venv}

install() {
  local python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "t5x_lite needs Python 3.11 or newer, but '$python' is older or missing: set PYTHON, as in PYTHON=python3.12 bash $0" >&2
    exit 1
  fi
  if [[ ! -x $environment/bin/python ]]; then
    echo "Creating $environment"
    "$python" -m venv "$environment"
  fi
  echo "Installing t5x_lite into $environment (about half a minute)"
  # Bytecode is compiled on first import instead, so that installation is faster.
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --editable "$1"
}

# Explains how to put `t5x-lite` on the PATH, unless the environment is already active.
explain_activation() {
  if [[ -z ${VIRTUAL_ENV:-} ]]; then
    echo "To use t5x-lite in this shell: source .venv/bin/activate"
  fi
}
