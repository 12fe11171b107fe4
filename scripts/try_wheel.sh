#!/usr/bin/env bash
# A wheel as a user gets it: installed into a new environment with nothing else on the PATH, so no
# compiler either; then the demo, and the built-in model held to its stored tokens and scores.
# Usage: scripts/try_wheel.sh WHEEL PYTHON [PACKAGES...], such as tensorflow==2.18.1.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(realpath "$1") python=$2
shift 2
work=$(mktemp -d "${TMPDIR:-/tmp}/keras-int8nmt-try.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  "$wheel" "$@" pytest pytest-timeout
cd "$work"
alone() { env -i HOME="$work" PATH="$work/venv/bin" TF_CPP_MIN_LOG_LEVEL=2 "$@"; }
alone python - <<'PROGRAM'
import shutil
import sys
from importlib.metadata import version

from keras_int8nmt import native

assert not native.reason(), native.reason()
assert shutil.which("g++") is None
names = ("tensorflow", "keras", "numpy")
print("Python", sys.version.split()[0], *(f"{name} {version(name)}" for name in names))
print(native.info())
PROGRAM
alone keras-int8nmt demo
alone pytest --rootdir="$root" -c "$root/pyproject.toml" -p no:cacheprovider \
  "$root/tests/translation/test_stored_answers.py"
