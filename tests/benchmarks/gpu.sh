#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# All that is measured and checked on a machine with a GPU, in one command:
# speed of the engine and of pipelines, which is the README's table, then golden
# tensors, parity of bits, failures, compute-sanitizer.
#
# usage: gpu.sh BUILD_DIR MODEL.safetensors [SHARED_DIR]
#
# Where Meson is, BUILD_DIR is built first. Elsewhere it may come from another
# machine with the same processor: `gpu.sh --pack BUILD_DIR OUT_DIR` collects
# the programs, the libraries they need, and as much of GStreamer; copy OUT_DIR
# and run `OUT_DIR/gpu.sh OUT_DIR MODEL.safetensors [SHARED_DIR]` there.
# SHARED_DIR has the reference's tensors and the recordings; without it nothing
# is measured.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs="tests/check/cuda/gpu-attention tests/check/cuda/gpu-decode
  tests/check/cuda/gpu-devices
  tests/check/cuda/gpu-failure tests/check/cuda/gpu-gemm
  tests/check/cuda/gpu-golden tests/check/cuda/gpu-parity
  tests/benchmarks/mt3-bench tests/benchmarks/mt3-bench-element
  tests/data-tools/mt3-make-model ext/mt3/engine/cuda/libmt3cuda.so
  ext/mt3/element/libgstmt3.so"
gst_plugins="coreelements flac audioparsers wavparse audiotestsrc app"

# What the machines have, and what has to be theirs.
system='/(libc|libm|libdl|librt|libpthread|ld-linux.*|libgcc_s|libstdc\+\+)\.so'

pack () { # BUILD_DIR OUT_DIR
  local build=$1 out=$2 program plugin
  local from
  from=$(pkg-config --variable=pluginsdir gstreamer-1.0)
  mkdir -p "$out/lib" "$out/bin" "$out/plugins"
  for program in $programs; do
    mkdir -p "$out/$(dirname "$program")"
    cp "$build/$program" "$out/$program"
  done
  for plugin in $gst_plugins; do
    cp "$from/libgst$plugin.so" "$out/plugins/"
  done
  cp "$(command -v gst-launch-1.0)" "$out/bin/"
  # Of the build's programs: copies would look for its libraries beside them.
  { for program in $programs; do echo "$build/$program"; done
    ls "$out"/plugins/* "$out"/bin/*; } | xargs -n 1 ldd |
    awk '$3 ~ /^\// {print $3}' | sort -u | grep -vE "$system" |
    while read -r library; do cp -L "$library" "$out/lib/"; done
  find "$out" -type f -exec sh -c \
    'head -c 4 "$1" | grep -q ELF && strip --strip-unneeded "$1"' - {} \;
  cp "$here/gpu.sh" "$here/gpu-table.py" \
    "$here/../check/cuda/overflow-model.py" "$out/"
}

if [ "${1:-}" = --pack ]; then
  pack "$2" "$3"
  exit
fi

build=$(cd "$1" && pwd) model=$(realpath "$2") shared=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# What needs a build, and what came along.
if [ -f "$build/build.ninja" ] && command -v meson > /dev/null; then
  meson compile -C "$build" || exit 1
fi
if [ -d "$build/plugins" ]; then
  export LD_LIBRARY_PATH="$build/lib" PATH="$build/bin:$PATH"
  export GST_PLUGIN_SYSTEM_PATH=$build/plugins
fi
export GST_REGISTRY=$work/registry GST_REGISTRY_FORK=no
export GST_MT3_MODULE_DIR=$build/ext/mt3/engine/cuda
overflow=$here/../check/cuda/overflow-model.py
[ -f "$overflow" ] || overflow=$here/overflow-model.py

step () { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name ($SECONDS s)"
  "$@" || { echo "FAILED: $name"; failed=1; }
}

# Steps that may share the device: begun at once, told of one by one.
names=() outputs=() processes=()
begin () { # NAME COMMAND...
  local output
  output=$(mktemp -p "$work")
  names+=("$1") outputs+=("$output")
  shift
  "$@" > "$output" 2>&1 &
  processes+=($!)
}

finish () {
  local i
  for i in "${!names[@]}"; do
    step "${names[i]}" wait "${processes[i]}"
    cat "${outputs[i]}"
  done
}

# Python may be linked to other libraries than those that came along.
python () { env -u LD_LIBRARY_PATH python3 "$@"; }

# ------------------------------------------------------------- measurements

bench () { # FIGURES OPTION...
  local figures=$1
  shift
  "$build/tests/benchmarks/mt3-bench" -m "$model" -d cuda \
    -j "$work/$figures.json" "$@"
}

# With the plugin; mt3-bench-element is linked with the element itself.
launch () { # PIPELINE
  GST_PLUGIN_PATH=$build/ext/mt3/element GST_REGISTRY=$work/registry-launch \
    exec gst-launch-1.0 -q "$@"
}

bench_element () { # FIGURES OPTION...
  local figures=$1
  shift
  "$build/tests/benchmarks/mt3-bench-element" -m "$model" -d cuda \
    -j "$work/$figures.json" "$@"
}

# Windows with the reference's tokens, of all recordings but the long one;
# several at a time.
bench_recordings () { # PRECISION
  local clip i=0 processes=() result=0
  for clip in "$shared"/eval/dev/*; do
    bench "recording-$i" -p "$1" -b 32 -r 1 -g "$clip/tokens.json" \
      "$clip/audio.flac" > "$work/recording-$i" 2>&1 &
    processes+=($!)
    [ $((++i)) -le 5 ] || wait "${processes[i - 6]}" || result=1
  done
  for i in "${processes[@]: -5}"; do
    wait "$i" || result=1
  done
  grep -h 'identical$\|mt3-bench:' "$work"/recording-*
  return $result
}

# What the whole device holds, in MiB.
device_memory () {
  nvidia-smi --id="${CUDA_VISIBLE_DEVICES:-0}" --query-gpu=memory.used \
    --format=csv,noheader,nounits
}

bench_live () {
  local before during
  before=$(device_memory)
  { sleep 8; device_memory > "$work/during"; } &
  bench_element live -p fast -s 500 -w 6 \
    "$shared/eval/dev/openmsx_city_blues_redfarn/audio.flac" || return 1
  wait
  read -r during < "$work/during"
  echo "$((during - before))" > "$work/device-memory"
}

# From the start of a process to the first byte of live MIDI. What reads it
# goes away then, which ends the process.
first_note () { # CLIP
  local start end
  start=$(date +%s%N)
  exec 3< <(launch filesrc location="$1" ! flacparse ! flacdec \
    ! mt3transcribe model-file="$model" device=cuda midi-ticks=false \
    ! audio/x-midi-event ! fdsink sync=false 2> "$work/log")
  head -c 1 <&3 | cmp -s /dev/null - && { cat "$work/log"; return 1; }
  end=$(date +%s%N)
  exec 3<&-
  wait $!
  echo "$(((end - start) / 1000000)) ms" | tee "$work/first-note"
}

measure () {
  local long=$shared/eval/long/keep_on_rolling precision
  for precision in fast exact; do
    step "180 s, $precision" bench $precision -p $precision -r 5 \
      -g "$long/tokens.json" "$long/audio.flac"
  done
  step "one window alone" bench window -p fast -w 20 -r 5 "$long/audio.flac"
  step "2,000 windows queued" bench queue -p fast -q 2000 -r 3 \
    "$long/audio.flac"
  step "180 s through a pipeline" bench_element file -p fast -r 7 \
    "$long/audio.flac"
  (launch fakesrc num-buffers=0 ! fakesink) # makes the registry
  step "first note of a process" first_note "$long/audio.flac"
  step "500 live elements" bench_live
  step "recordings, fast" bench_recordings fast
  step "table" python "$table" "$work"
}

# ------------------------------------------------------------------- checks

make_models () {
  local make=$build/tests/data-tools/mt3-make-model
  "$make" --layers 2 --d-model 128 --heads 2 --d-ff 128 \
    --output "$work/tiny.safetensors" &&
    "$make" --layers 3 --d-model 320 --heads 5 --d-ff 768 \
      --decoder-d-ff 640 --vocab 1504 --velocity-bins 8 \
      --output "$work/narrow.safetensors" &&
    python "$overflow" "$work/tiny.safetensors" \
      "$work/overflow.safetensors" &&
    python "$overflow" "$model" "$work/large-overflow.safetensors"
}

check_golden () {
  python -c "
import numpy, sys
for name, array in numpy.load(sys.argv[1]).items():
    array.astype('<f4').tofile(f'{sys.argv[2]}/{name}.f32')
" "$shared/reference/golden.npz" "$work" &&
    "$build/tests/check/cuda/gpu-golden" "$model" "$work"
}

check_failures () {
  "$build/tests/check/cuda/gpu-failure" "$work/tiny.safetensors" \
    "$work/large-overflow.safetensors"
}

# A kernel that waits for itself would wait for ever.
parity () { timeout 200 "$build/tests/check/cuda/gpu-parity" "$@"; }

sanitize () { # TOOL
  timeout 300 compute-sanitizer --tool "$1" --error-exitcode 9 \
    "$build/tests/check/cuda/gpu-parity" "$work/tiny.safetensors" 2 3 2 \
    > "$work/$1" 2>&1
  local result=$?
  tail -n 1 "$work/$1"
  [ $result -eq 0 ] || grep -m 20 '=========' "$work/$1"
  return $result
}

check () {
  local kernels tool
  step "models to check with" make_models
  step "several devices" "$build/tests/check/cuda/gpu-devices" "$model"
  step "a full device, a lost device" check_failures
  [ -z "$shared" ] || begin "golden tensors" check_golden
  for kernels in gemm attention decode; do
    begin "kernels: $kernels" "$build/tests/check/cuda/gpu-$kernels"
  done
  begin "parity, random weights" parity "$work/tiny.safetensors"
  begin "parity, our own model's widths" parity "$work/narrow.safetensors"
  begin "parity, overflow" parity "$work/overflow.safetensors" 12 40
  begin "parity, the model" parity "$model" 50 60
  for tool in memcheck racecheck initcheck synccheck; do
    begin "compute-sanitizer $tool" sanitize $tool
  done
  finish
}

nvidia-smi -L
table=$here/gpu-table.py
[ -z "$shared" ] || measure
check
[ $failed -eq 0 ] && echo "all checks passed" || echo "some checks FAILED"
exit $failed
