#!/usr/bin/env bash
# The source distribution, and the proof that it builds: what pyproject.toml requires to build is
# fetched first, then a wheel is built from the archive where there is no network at all.
# Usage: scripts/build_sdist.sh [FOLDER], by default dist; PYTHON names the Python to use.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=${1:-dist} python=${PYTHON:-python3}
work=$(mktemp -d "${TMPDIR:-/tmp}/keras-int8nmt-sdist.XXXXXX")
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check build
"$work/venv/bin/python" -m build --sdist --outdir "$work/dist" . >"$work/log" 2>&1 ||
  { cat "$work/log" && exit 1; }
archive=$(echo "$work"/dist/*.tar.gz)

"$python" - >"$work/requirements.txt" <<'PROGRAM'
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"], "cmake", "ninja", sep="\n")
PROGRAM
"$work/venv/bin/python" -m pip download --quiet --disable-pip-version-check --dest "$work/needed" \
  --requirement "$work/requirements.txt"
offline=() network="where pip is told of no index; the network can't be taken away here"
if unshare --net true 2>/dev/null; then offline=(unshare --net) network="with no network"; fi
echo "building from $(basename "$archive") $network"
"${offline[@]}" "$work/venv/bin/python" -m pip wheel --quiet --no-deps --no-index \
  --find-links "$work/needed" --wheel-dir "$work/wheels" "$archive"
"$python" -m zipfile -l "$(echo "$work"/wheels/*.whl)" >"$work/files"
for library in libkeras_int8nmt_core.so libkeras_int8nmt.so; do
  grep -q "keras_int8nmt/_native/$library" "$work/files"
done
mkdir -p "$folder"
cp "$archive" "$folder/"
sha256sum "$folder/$(basename "$archive")"
