#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# All that is checked and measured on a machine with a GPU, in one command:
# golden tensors, parity of bits, compute-sanitizer, speed. The last lines are
# the table of the README.
#
# usage: gpu.sh BUILD_DIR MODEL.safetensors [SHARED_DIR]
#
# Where Meson is, BUILD_DIR is built first. Elsewhere it may come from another
# machine with the same processor: `gpu.sh --pack BUILD_DIR OUT_DIR` collects
# the programs and the libraries they need; copy OUT_DIR and run
# `OUT_DIR/gpu.sh OUT_DIR MODEL.safetensors [SHARED_DIR]` there. SHARED_DIR has
# the reference's tensors and the recordings; without it only parity and the
# sanitizer run.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs="tests/check/cuda/gpu-golden tests/check/cuda/gpu-parity
  tests/benchmarks/mt3-bench tests/data-tools/mt3-make-model
  ext/mt3/engine/cuda/libmt3cuda.so"

if [ "${1:-}" = --pack ]; then
  build=$2 out=$3
  mkdir -p "$out/lib"
  for program in $programs; do
    mkdir -p "$out/$(dirname "$program")"
    cp "$build/$program" "$out/$program"
    ldd "$build/$program" | awk '$3 ~ /^\// {print $3}'
  done | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux.*|libgcc_s)\.so' |
    while read -r library; do cp -Ln "$library" "$out/lib/"; done
  cp "$here/gpu.sh" "$here/../check/cuda/overflow-model.py" "$out/"
  exit
fi

build=$(cd "$1" && pwd) model=$2 shared=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# What needs a build, and the libraries that came along.
if [ -f "$build/build.ninja" ] && command -v meson > /dev/null; then
  meson compile -C "$build" || exit 1
fi
[ -d "$build/lib" ] && export LD_LIBRARY_PATH="$build/lib"
export GST_MT3_MODULE_DIR=$build/ext/mt3/engine/cuda
overflow=$here/../check/cuda/overflow-model.py
[ -f "$overflow" ] || overflow=$here/overflow-model.py

step () { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name"
  "$@" || { echo "FAILED: $name"; failed=1; }
}

sanitize () { # TOOL
  timeout 300 compute-sanitizer --tool "$1" --error-exitcode 9 \
    "$build/tests/check/cuda/gpu-parity" "$work/tiny.safetensors" 2 3 2 \
    > "$work/$1" 2>&1
  local result=$?
  tail -n 1 "$work/$1"
  [ $result -eq 0 ] || grep -m 20 '=========' "$work/$1"
  return $result
}

bench () { "$build/tests/benchmarks/mt3-bench" -m "$model" -d cuda "$@"; }

nvidia-smi -L

step "make a small model" "$build/tests/data-tools/mt3-make-model" --layers 2 \
  --d-model 128 --heads 2 --d-ff 128 --output "$work/tiny.safetensors"
step "make one of our own model's widths" \
  "$build/tests/data-tools/mt3-make-model" --layers 3 --d-model 320 --heads 5 \
  --d-ff 768 --decoder-d-ff 640 --vocab 1504 --velocity-bins 8 \
  --output "$work/narrow.safetensors"
step "make one that overflows" env -u LD_LIBRARY_PATH python3 "$overflow" \
  "$work/tiny.safetensors" "$work/overflow.safetensors"

if [ -n "$shared" ]; then
  env -u LD_LIBRARY_PATH python3 -c "
import numpy, sys
for name, array in numpy.load(sys.argv[1]).items():
    array.astype('<f4').tofile(f'{sys.argv[2]}/{name}.f32')
" "$shared/reference/golden.npz" "$work"
  step "golden tensors" "$build/tests/check/cuda/gpu-golden" "$model" "$work"
fi
step "parity, random weights" "$build/tests/check/cuda/gpu-parity" \
  "$work/tiny.safetensors"
step "parity, our own model's widths" "$build/tests/check/cuda/gpu-parity" \
  "$work/narrow.safetensors"
step "parity, overflow" "$build/tests/check/cuda/gpu-parity" \
  "$work/overflow.safetensors" 12 40
step "parity, the model" "$build/tests/check/cuda/gpu-parity" "$model" 50 60
for tool in memcheck racecheck initcheck synccheck; do
  step "compute-sanitizer $tool" sanitize $tool
done

if [ -n "$shared" ]; then
  long=$shared/eval/long/keep_on_rolling
  for precision in fast exact; do
    step "180 s clip, $precision" bench -p $precision -r 5 \
      -g "$long/tokens.json" "$long/audio.flac"
  done
  for clip in "$shared"/eval/dev/*; do
    bench -p fast -r 1 -g "$clip/tokens.json" "$clip/audio.flac" \
      > "$work/clip" 2>&1
    echo "$(basename "$clip"): $(grep -iE 'identical|same|golden' "$work/clip")"
  done
  step "one window alone" bench -p fast -w 20 -r 5 "$long/audio.flac"
  step "2,000 windows queued" bench -p fast -q 2000 -r 3 "$long/audio.flac"
  step "500 live streams" bench -p fast -s 500 \
    "$shared/eval/dev/openmsx_city_blues_redfarn/audio.flac"
fi

[ $failed -eq 0 ] && echo "all checks passed" || echo "some checks FAILED"
exit $failed
