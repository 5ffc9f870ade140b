#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: tests/run.sh [OPTION...]
#
# Installs what is missing (Debian 12), builds with warnings as errors and runs
# all tests. The last line is 'N passed, N failed, N skipped'. Tests against
# the real model need ../shared and are skipped without it.
#
#   --slow           the slow tests too
#   --sanitize=KIND  under a sanitizer: address, undefined or thread
#   --valgrind       the C tests under valgrind
#   --format         check with clang-format that the sources are formatted
#   --tidy           check the sources with clang-tidy
#   --no-cuda        without the CUDA engine, where there is no nvcc for it
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

slow=no sanitize= valgrind=no format=no tidy=no cuda=enabled
for option in "$@"; do
  case $option in
    --slow) slow=yes ;;
    --sanitize=address | --sanitize=undefined | --sanitize=thread)
      sanitize=${option#*=} ;;
    --valgrind) valgrind=yes ;;
    --format) format=yes ;;
    --tidy) tidy=yes ;;
    --no-cuda) cuda=disabled ;;
    *) sed -n '3,15s/^# \?//p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
[[ -z $sanitize ]] || cuda=disabled

passed=0 failed=0 skipped=0

close () {
  echo "$passed passed, $failed failed, $skipped skipped"
  [[ $failed -eq 0 && $passed -gt 0 ]]
  exit
}

# check NAME COMMAND...: one test that is not meson's
check () {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then
    passed=$((passed + 1))
  else
    echo "$name: FAILED"
    failed=$((failed + 1))
  fi
}

# step NAME COMMAND...: without it there is nothing to test
step () {
  echo "== $1"
  "${@:2}" && return
  echo "$1: FAILED"
  failed=$((failed + 1))
  close
}

install_packages () {
  local groups=(build run recipes demo test)
  [[ $format == no && $tidy == no ]] || groups+=(lint)
  [[ $slow == no ]] || groups+=(package)
  [[ $valgrind == no ]] || groups+=(valgrind)
  [[ $cuda == disabled ]] || has_nvcc || groups+=(nvcc)
  pipelines/install-packages.sh "${groups[@]}"
}

has_nvcc () {
  command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]
}

# The kernels are compiled, for all architectures, where no GPU is, too.
find_nvcc () {
  has_nvcc && return
  tests/fetch-nvcc.sh build-nvcc && PATH=$PWD/build-nvcc/bin:$PATH && return
  echo 'no nvcc to compile the CUDA kernels with; --no-cuda tests the rest'
  return 1
}

configure () {
  local options=(-Dtests=enabled -Dbenchmarks=enabled "-Dcuda=$cuda")
  if [[ -n $sanitize ]]; then
    # GCC warns falsely about code that it has instrumented.
    options+=("-Db_sanitize=$sanitize" -Db_lundef=false -Dwerror=false)
  else
    options+=(-Dwerror=true)
  fi
  if [[ -f $build/build.ninja ]]; then
    meson configure "$build" "${options[@]}"
  else
    meson setup "$build" "${options[@]}"
  fi
}

# Python has no sanitizer to offer to a plugin that wants one, so the tests of
# the suite python stay out; neither has the plugin scanner, so plugins are
# scanned in the test's own process.
test_options () {
  echo --print-errorlogs
  [[ $slow == yes ]] || echo --no-suite=slow
  # valgrind makes the slowest program one and a half hours long.
  [[ $valgrind == no ]] ||
    printf '%s\n' --no-suite=python --timeout-multiplier=400 \
      --wrapper="$root/tests/valgrind.sh"
  [[ -z $sanitize ]] ||
    printf '%s\n' --no-suite=python --timeout-multiplier=10
  [[ $sanitize != thread ]] ||
    echo "--wrapper=env LD_PRELOAD=$root/$build/tests/tsan/glib-sync.so"
}

run_tests () {
  local options
  mapfile -t options < <(test_options)
  if [[ -n $sanitize || $valgrind == yes ]]; then
    export GST_REGISTRY_FORK=no CK_TIMEOUT_MULTIPLIER=10 G_SLICE=always-malloc
    # Not detect_stack_use_after_return: GCC then puts vectors where they are
    # not aligned (GCC bug 110027). Whole stacks, or GLib's frames hide what
    # lsan.supp names. Little freed memory kept, or tests of growth see it.
    export ASAN_OPTIONS=fast_unwind_on_malloc=0:quarantine_size_mb=16
    export LSAN_OPTIONS=suppressions=$root/tests/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1
    TSAN_OPTIONS+=:die_after_fork=0
  fi
  meson test -C "$build" --no-rebuild "${options[@]}"
  count_results
}

count_results () {
  local log counts
  # A wrapper adds its name to the log's.
  log=$(ls -t "$build"/meson-logs/testlog*.json | head -n 1)
  counts=$(python3 - "$log" <<'EOF'
import collections, json, sys
results = [json.loads(line)['result'] for line in open(sys.argv[1])]
kinds = collections.Counter(
    {'OK': 'ok', 'EXPECTEDFAIL': 'ok', 'SKIP': 'skip'}.get(r, 'bad')
    for r in results)
print(kinds['ok'], kinds['bad'], kinds['skip'])
EOF
  ) || counts='0 1 0'
  read -r ok bad skip <<<"$counts"
  passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}

c_sources () {
  git ls-files -z -- '*.c' '*.h' '*.cu' '*.cuh'
}

check_format () {
  local file unformatted=0
  while IFS= read -r -d '' file; do
    clang-format "$file" | cmp -s - "$file" && continue
    echo "not formatted (clang-format -i $file)"
    unformatted=1
  done < <(c_sources)
  return "$unformatted"
}

# Not the kernels: Debian's clang does not know all that they ask the CPU for.
check_tidy () {
  git ls-files -z -- 'ext/*.c' 'gst/*.c' |
    xargs -0 -r -n 4 -P 2 clang-tidy -p "$build" --quiet
}

check_quickstart () {
  MT3_BUILD_DIR=$root/$build pipelines/quickstart.sh &&
    [[ -s $build/demo/transcription.png ]]
}

mode=${sanitize:-$([[ $valgrind == no ]] || echo valgrind)}
build=build-tests${mode:+-$mode}

step 'install packages' install_packages
[[ $format == no ]] || check 'clang-format' check_format
[[ $cuda == disabled ]] || step 'find nvcc' find_nvcc
step 'configure' configure
step 'build' ninja --quiet -C "$build"
[[ $tidy == no ]] || check 'clang-tidy' check_tidy
echo '== tests'
run_tests
[[ -n $mode ]] || check 'quickstart' check_quickstart
close
