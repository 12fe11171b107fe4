#!/usr/bin/env bash
# The wheel that is published: for every Linux with glibc 2.28 or later (manylinux_2_28: Ubuntu 20.04,
# Debian 10, RHEL 8 and what came after), whatever this machine has. `pip wheel .` makes one for this
# machine and later ones. Same compiler, same flags; what differs is which glibc it is linked against
# (keras_int8nmt/cc/glibc/glibc.cmake).
# Usage: scripts/build_wheel.sh [x86_64|aarch64] [FOLDER], by default this machine's and dist; PYTHON
# names the Python to use. aarch64 on another machine needs aarch64-linux-gnu-g++.
set -euo pipefail

cd "$(dirname "$0")/.."
machine=${1:-$(uname -m)} folder=${2:-dist} python=${PYTHON:-python3}
glibc=2.28 platform=manylinux_2_28_$machine
work=$(mktemp -d "${TMPDIR:-/tmp}/keras-int8nmt-wheel.XXXXXX")
trap 'rm -rf "$work"' EXIT
# The time that files in the wheel bear: of the commit.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}

"$python" -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
pip() { "$work/venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install -r scripts/wheel_requirements.txt

options=(-C "cmake.define.KERAS_INT8NMT_GLIBC=$glibc")
if [ "$machine" = x86_64 ]; then
  # The OpenMP of manylinux_2_28 itself, which this package's dependency SentencePiece brings under
  # this name: where both are loaded, the process has one.
  pip download --no-deps --dest "$work" --only-binary :all: --python-version 3.11 \
    --platform manylinux_2_28_x86_64 sentencepiece==0.2.3
  gomp=libgomp-6a29c32d.so.1.0.0
  "$python" -m zipfile -e "$work"/sentencepiece-*.whl "$work/sentencepiece"
  echo "2aa037784caec5079de4f23a7d526a62bcc03a3fb98ac94031345daabe21c465  $work/sentencepiece/sentencepiece.libs/$gomp" |
    sha256sum --check --quiet
  options+=(-C "cmake.define.GOMP_LIBRARY=$work/sentencepiece/sentencepiece.libs/$gomp"
    -C cmake.define.KERAS_INT8NMT_ONEDNN=ON)
else
  options+=(-C cmake.define.KERAS_INT8NMT_ONEDNN=OFF)
fi
if [ "$machine" != "$(uname -m)" ]; then
  compiler=$machine-linux-gnu-g++
  command -v "$compiler" >/dev/null || { echo "there is no $compiler here" >&2 && exit 1; }
  options+=(-C cmake.define.CMAKE_SYSTEM_NAME=Linux
    -C "cmake.define.CMAKE_SYSTEM_PROCESSOR=$machine"
    -C "cmake.define.CMAKE_CXX_COMPILER=$compiler")
  export _PYTHON_HOST_PLATFORM=linux-$machine
fi
pip wheel --no-build-isolation --no-deps --wheel-dir "$work/built" "${options[@]}" .
unset _PYTHON_HOST_PLATFORM

if [ "$machine" = "$(uname -m)" ]; then
  # TensorFlow's library is whatever TensorFlow the user has.
  auditwheel repair --plat "$platform" --exclude libtensorflow_framework.so.2 \
    --wheel-dir "$work/repaired" "$work"/built/*.whl
else
  # auditwheel reads wheels of other machines, and repairs none; there is nothing to repair in this one.
  mkdir "$work/repaired"
  cp "$work"/built/*.whl "$work/repaired/"
  python -m wheel tags --remove --platform-tag "$platform" "$work"/repaired/*.whl
fi
# So that it has the same bytes under every umask.
"$python" scripts/set_wheel_modes.py "$work"/repaired/*.whl
auditwheel show "$work"/repaired/*.whl
"$python" scripts/check_wheel.py "$work"/repaired/*.whl
mkdir -p "$folder"
cp "$work"/repaired/*.whl "$folder/"
sha256sum "$folder/$(basename "$work"/repaired/*.whl)"
