#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# All that is measured and checked on a machine with a GPU, in one command.
# First what the README's table says, in the order of weight: the engine's
# speed, pipelines, the reference's tokens and notes, the model that comes
# along, and PyTorch; then kernels, parity of bits, failures, compute-sanitizer.
#
# usage: gpu.sh [--figures|--checks] BUILD_DIR MODEL [SHARED_DIR [OUT_DIR]]
#
# MODEL is MT3 as mt3-model converts it. SHARED_DIR has the reference's tensors
# and the recordings; without it nothing is measured. OUT_DIR keeps figures,
# MIDI files and what each check printed. --figures leaves the checks out,
# --checks the figures. The environment variable DRAFT names another draft
# network for MT3 than the one that comes along (docs/models.md); empty, MT3 runs
# by itself.
#
# Where Meson is, BUILD_DIR is built first. Elsewhere it may come from another
# machine with the same processor: `gpu.sh --pack BUILD_DIR OUT_DIR` collects
# the programs, the libraries they need, and as much of GStreamer. Take OUT_DIR
# and the source tree there. Python needs NumPy; mir_eval and mido for the
# notes, PyTorch to be measured.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
kernel_tests=(attention decode draft gemm) # programs that need no model
watched_windows=4 # of their largest batch where every access is watched
programs="${kernel_tests[*]/#/tests/check/cuda/gpu-}
  tests/check/cuda/gpu-devices tests/check/cuda/gpu-failure
  tests/check/cuda/gpu-golden tests/check/cuda/gpu-parity
  tests/benchmarks/mt3-bench tests/benchmarks/mt3-bench-element
  tests/data-tools/mt3-make-model ext/mt3/engine/cuda/libmt3cuda.so
  ext/mt3/element/libgstmt3.so"
gst_plugins="coreelements flac audioparsers wavparse audiotestsrc app"

# What the machines have, and what has to be theirs.
system='/(libc|libm|libdl|librt|libpthread|ld-linux.*|libgcc_s|libstdc\+\+)\.so'

commit () { git -C "$root" describe --always --dirty 2> /dev/null; }

pack () { # BUILD_DIR OUT_DIR
  local build=$1 out=$2 program plugin
  local from
  from=$(pkg-config --variable=pluginsdir gstreamer-1.0)
  mkdir -p "$out/lib" "$out/bin" "$out/plugins"
  for program in $programs; do
    mkdir -p "$out/$(dirname "$program")"
    cp "$build/$program" "$out/$program"
  done
  program=tests/benchmarks/libmt3kerneltrace.so
  [ ! -f "$build/$program" ] || cp "$build/$program" "$out/$program"
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
  commit > "$out/commit"
}

if [ "${1:-}" = --pack ]; then
  pack "$2" "$3"
  exit
fi
figures=yes checks=yes
case ${1:-} in
--figures) checks='' ;;&
--checks) figures='' ;;&
--*) shift ;;
esac
if [ $# -lt 2 ]; then
  sed -n 's/^# usage: /usage: /p' "$0" >&2
  exit 2
fi

build=$(cd "$1" && pwd) model=$(realpath "$2") shared=${3:-}
small=$root/ext/mt3/data/gst-mt3/model.safetensors
device=${CUDA_VISIBLE_DEVICES:-0}
device=${device%%,*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${4:-$work/out}
mkdir -p "$out"
failed=()

# What needs a build, and what came along.
if [ -f "$build/build.ninja" ] && command -v meson > /dev/null; then
  meson compile -C "$build" || exit 1
fi
if [ -d "$build/plugins" ]; then
  export LD_LIBRARY_PATH="$build/lib" PATH="$build/bin:$PATH"
  export GST_PLUGIN_SYSTEM_PATH=$build/plugins GST_REGISTRY_FORK=no
fi
unset GST_PLUGIN_PATH GST_PLUGIN_PATH_1_0 # mt3-bench-element has the element
export GST_REGISTRY=$work/registry
# Where a draft network is found by the model that it is for.
export XDG_DATA_HOME=$work/data
mkdir -p "$XDG_DATA_HOME/gst-mt3"
draft=${DRAFT-$root/ext/mt3/data/gst-mt3/draft.safetensors}
if [ -n "$draft" ]; then
  ln -s "$(realpath "$draft")" "$XDG_DATA_HOME/gst-mt3/draft.safetensors" ||
    exit 1
fi
export GST_MT3_MODULE_DIR=$build/ext/mt3/engine/cuda

# ---------------------------------------------------------------- steps

report () { # NAME RESULT
  [ "$2" -eq 0 ] && return
  echo "FAILED: $1"
  failed+=("$1")
}

step () { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name ($SECONDS s)"
  "$@"
  report "$name" $?
}

# Steps that may share the device: so many at once, told of as they end.
at_once=10
declare -A names=() outputs=()
begin () { # NAME COMMAND...
  local output
  [ ${#names[@]} -lt $at_once ] || finish_one
  output=$out/$(tr -cs '[:alnum:]\n' - <<< "$1").log
  local name=$1
  shift
  "$@" > "$output" 2>&1 &
  names[$!]=$name outputs[$!]=$output
}

finish_one () {
  local process result
  wait -n -p process "${!names[@]}"
  result=$?
  echo "== ${names[$process]} ($SECONDS s)"
  if [ $result -eq 0 ]; then
    tail -n 2 "${outputs[$process]}"
  else
    cat "${outputs[$process]}"
  fi
  report "${names[$process]}" $result
  unset "names[$process]" "outputs[$process]"
}

finish () {
  while [ ${#names[@]} -gt 0 ]; do finish_one; done
}

# Python may be linked to other libraries than those that came along.
python () { env -u LD_LIBRARY_PATH python3 "$@"; }

has_python () { python -c "import $1" 2> /dev/null; }

# ------------------------------------------------------------- measurements

bench () { # FIGURES MODEL OPTION...
  local figures=$1 model=$2
  shift 2
  "$build/tests/benchmarks/mt3-bench" -m "$model" -d cuda \
    -j "$out/$figures.json" "$@"
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
    -j "$out/$figures.json" "$@"
}

# Windows with the reference's tokens, of all recordings but the long one;
# several at a time.
bench_recordings () { # PRECISION
  local clip i=0 processes=() result=0
  for clip in "$shared"/eval/dev/*; do
    bench "recording-$i" "$model" -p "$1" -b 32 -r 1 -g "$clip/tokens.json" \
      "$clip/audio.flac" > "$work/recording-$i" 2>&1 &
    processes+=($!)
    [ $((++i)) -le 5 ] || wait "${processes[i - 6]}" || result=1
  done
  for i in "${processes[@]:i > 5 ? i - 5 : 0}"; do
    wait "$i" || result=1
  done
  grep -h 'identical$\|mt3-bench:' "$work"/recording-* | sort | uniq -c
  return $result
}

# What the whole device holds, in MiB.
device_memory () {
  nvidia-smi --id="$device" --query-gpu=memory.used \
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
  echo "$((during - before))" > "$out/device-memory"
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
  echo "$(((end - start) / 1000000)) ms" | tee "$out/first-note"
}

# All recordings at once, in one process: $out/NAME/CLIP/audio.mid
transcribe () { # NAME MODEL DEVICE PRECISION
  local clip name pipeline=()
  for clip in "$shared"/eval/*/*/audio.flac; do
    name=$(dirname "${clip#"$shared/eval/"}")
    mkdir -p "$out/$1/$name"
    pipeline+=(filesrc location="$clip" ! flacparse ! flacdec
      ! mt3transcribe model-file="$2" device="$3" precision="$4"
      ! filesink location="$out/$1/$name/audio.mid")
  done
  (launch "${pipeline[@]}")
}

# Whether the CPU and the GPU write the same files.
same_files () { # NAME NAME
  diff -rq "$out/$1" "$out/$2" &&
    echo "$(find "$out/$1" -name audio.mid | wc -l) files are the same"
}

notes () {
  transcribe notes-exact "$model" cuda exact &&
    transcribe notes-fast "$model" cuda fast &&
    transcribe small-exact "$small" cuda exact &&
    transcribe small-fast "$small" cuda fast || return 1
  if ! has_python mir_eval || ! has_python mido; then
    echo "no mir_eval or mido here: gpu-notes.py scores $out"
    return
  fi
  python "$here/gpu-notes.py" "$shared/eval" "$out"
}

small_as_cpu () {
  transcribe small-exact "$small" cuda exact &&
    transcribe small-cpu "$small" cpu exact && same_files small-cpu small-exact
}

# The kernels of an encoder layer beside libraries'.
measure_layer () {
  local product
  if ! has_python torch; then
    echo "no PyTorch here"
    return
  fi
  for product in 1 2 3 4; do
    "$build/tests/check/cuda/gpu-gemm" 32 $product || return 1
  done > "$out/gpu-gemm.log"
  "$build/tests/check/cuda/gpu-attention" > "$out/gpu-attention.log" &&
    python "$here/torch-layer.py" --json "$out/layer.json" "$out"
}

measure_torch () {
  local long=$shared/eval/long/keep_on_rolling
  if ! has_python torch; then
    echo "no PyTorch here"
    return
  fi
  (launch filesrc location="$long/audio.flac" ! flacparse ! flacdec \
    ! filesink location="$work/long.raw") &&
    python "$here/torch-graphs.py" --json "$out/torch.json" \
      "$model" "$work/long.raw" "$long/tokens.json"
}

measure () {
  local long=$shared/eval/long/keep_on_rolling precision
  (launch fakesrc num-buffers=0 ! fakesink) # makes the registry
  for precision in fast exact; do
    step "180 s, $precision" bench $precision "$model" -p $precision -r 5 \
      -g "$long/tokens.json" "$long/audio.flac"
  done
  for precision in fast exact; do
    step "one window alone, $precision" bench window-$precision "$model" \
      -p $precision -w 20 -r 5 "$long/audio.flac"
    step "2,000 windows queued, $precision" bench queue-$precision "$model" \
      -p $precision -q 2000 -r 5 "$long/audio.flac"
  done
  step "180 s through a pipeline" bench_element file -p fast -r 7 \
    "$long/audio.flac"
  step "recordings, fast" bench_recordings fast
  step "notes of all recordings" notes
  step "first note of a process" first_note "$long/audio.flac"
  step "500 live elements" bench_live
  for precision in fast exact; do
    step "mt3-small, 180 s, $precision" bench small-$precision "$small" \
      -p $precision -r 5 "$long/audio.flac"
  done
  step "mt3-small, 2,000 windows queued" bench small-queue "$small" -p fast \
    -q 2000 -r 3 "$long/audio.flac"
  step "PyTorch" measure_torch
  step "an encoder layer by libraries" measure_layer
  step "table" python "$here/gpu-table.py" "$out"
}

# ------------------------------------------------------------------- checks

make_models () {
  local make=$build/tests/data-tools/mt3-make-model
  local overflow=$here/../check/cuda/overflow-model.py
  "$make" --layers 2 --d-model 128 --heads 2 --d-ff 128 \
    --output "$work/tiny.safetensors" --draft "$work/draft.safetensors" &&
    "$make" --layers 3 --d-model 320 --heads 5 --d-ff 768 \
      --decoder-d-ff 640 --vocab 1504 --velocity-bins 8 --hop 125 --mels 32 \
      --output "$work/narrow.safetensors" &&
    python "$overflow" "$work/tiny.safetensors" \
      "$work/overflow.safetensors" &&
    python "$overflow" "$model" "$work/large-overflow.safetensors"
}

unpack_golden () {
  python -c "
import numpy, sys
for name, array in numpy.load(sys.argv[1]).items():
    array.astype('<f4').tofile(f'{sys.argv[2]}/{name}.f32')
" "$shared/reference/golden.npz" "$work"
}

# A kernel that waits for itself would wait for ever.
check_program () { # NAME ARGUMENT...
  local name=$1
  shift
  timeout 200 "$build/tests/check/cuda/$name" "$@"
}

drafted () { # PROGRAM ARGUMENT..., with drafts that are hardly ever right
  GST_MT3_DRAFT=$work/draft.safetensors "$@"
}

# Windows of a small model, few and so many that every kernel for many rows has
# work; and the programs that check kernels one by one. racecheck keeps what it
# saw of all kernels under way: it gets them one after the other, without graphs,
# and 2 GB do for what 128 did not.
sanitize () { # TOOL NAME ARGUMENT...
  local tool=$1 name=$2 log result
  local options=(--tool "$tool") environment=(CK_FORK=no MT3_TEST_UNTIMED=1)
  shift 2
  case $tool in
  racecheck)
    options+=(--force-synchronization-limit 1)
    environment+=(CUDA_LAUNCH_BLOCKING=1 GST_MT3_CUDA_GRAPHS=0) ;;
  esac
  # Calls that find no memory are what gpu-failure is about.
  [ "$name" != gpu-failure ] || options+=(--report-api-errors no)
  log=$(mktemp -p "$work")
  env "${environment[@]}" timeout 400 compute-sanitizer "${options[@]}" \
    --error-exitcode 9 "$build/tests/check/cuda/$name" "$@" > "$log" 2>&1
  result=$?
  [ $result -eq 0 ] || grep -m 40 '=========\|FAILED' "$log"
  tail -n 1 "$log"
  return $result
}

full_device () { # CASE
  CK_RUN_CASE=$1 sanitize memcheck gpu-failure "$work/tiny.safetensors" \
    "$work/large-overflow.safetensors"
}

check () {
  local tool kernels mode case
  step "models to check with" make_models
  step "several devices and engines" check_program gpu-devices "$model"
  if [ -n "$shared" ] && unpack_golden; then
    begin "golden tensors" check_program gpu-golden "$model" "$work"
  fi
  for kernels in "${kernel_tests[@]}"; do
    begin "kernels: $kernels" check_program "gpu-$kernels"
  done
  begin "parity, MT3" check_program gpu-parity "$model" 50 60
  begin "parity, mt3-small" check_program gpu-parity "$small" 50 60
  begin "parity, overflow" check_program gpu-parity \
    "$work/overflow.safetensors" 12 40
  begin "parity, random weights" check_program gpu-parity \
    "$work/tiny.safetensors"
  begin "parity, random drafts" drafted check_program gpu-parity \
    "$work/tiny.safetensors"
  begin "parity, random drafts, overflow" drafted check_program gpu-parity \
    "$work/overflow.safetensors" 12 40
  begin "parity, long texts" check_program gpu-parity \
    "$work/tiny.safetensors" 40 300
  begin "parity, our own model's widths" check_program gpu-parity \
    "$work/narrow.safetensors"
  [ -z "$shared" ] || begin "mt3-small, the CPU's files" small_as_cpu
  # Beside sanitizers some of these take more than their time.
  finish
  # The longest first. racecheck is slow: it has fewer windows, a process a mode.
  [ -z "$shared" ] || begin "racecheck, golden tensors" sanitize racecheck \
    gpu-golden "$model" "$work"
  for mode in 0 1 2 3; do
    begin "racecheck, 24 windows, mode $mode" drafted sanitize racecheck \
      gpu-parity "$work/tiny.safetensors" 24 2 1 24 $mode
  done
  for mode in 1 2; do
    begin "racecheck, our own model's widths, mode $mode" sanitize racecheck \
      gpu-parity "$work/narrow.safetensors" 24 2 1 24 $mode
  done
  begin "racecheck, overflow" drafted sanitize racecheck gpu-parity \
    "$work/overflow.safetensors" 12 2 1 12 0
  begin "racecheck, several engines" sanitize racecheck gpu-devices \
    "$work/tiny.safetensors"
  for tool in memcheck initcheck synccheck; do
    begin "$tool, 400 windows" drafted sanitize $tool gpu-parity \
      "$work/tiny.safetensors" 400 2 1
    begin "$tool, two windows" drafted sanitize $tool gpu-parity \
      "$work/tiny.safetensors" 2 3 2
    begin "$tool, our own model's widths" sanitize $tool gpu-parity \
      "$work/narrow.safetensors" 24 2 1
    begin "$tool, overflow" drafted sanitize $tool gpu-parity \
      "$work/overflow.safetensors" 12 2 1
    begin "$tool, several engines" sanitize $tool gpu-devices \
      "$work/tiny.safetensors"
    [ -z "$shared" ] ||
      begin "$tool, golden tensors" sanitize $tool gpu-golden "$model" "$work"
  done
  for tool in racecheck memcheck initcheck synccheck; do
    for kernels in "${kernel_tests[@]}"; do
      begin "$tool, kernels: $kernels" sanitize $tool "gpu-$kernels" \
        $watched_windows
    done
  done
  finish
  # With the device to itself.
  step "a full device, a lost device" check_program gpu-failure \
    "$work/tiny.safetensors" "$work/large-overflow.safetensors"
  # But for those that lose the device by an access that no tool lets pass.
  for case in too-many-windows full full-auto fills-up-auto fills-up; do
    step "memcheck, a full device: $case" full_device $case
  done
}

echo "gst-mt3 $(cat "$build/commit" 2> /dev/null || commit), $(date -u +%F\ %R)"
nvidia-smi --id="$device" --query-gpu=name,driver_version --format=csv,noheader
[ -z "$figures" ] || [ -z "$shared" ] || measure
[ -z "$checks" ] || check
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all checks passed ($SECONDS s)"
