#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# Builds the fuzz targets with clang, libFuzzer, ASan and UBSan in build-fuzz
# and runs each (default: all) for SECONDS (default: 60), starting from its
# seeds and from what earlier runs found. A crash leaves its input in
# build-fuzz/crash-*; give that file to build-fuzz/tests/fuzz/TARGET.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build-fuzz
seconds=${1:-60}
targets=("${@:2}")

if [[ ! -f $build/build.ninja ]]; then
  CC=clang meson setup "$build" "$root" -Dfuzz=enabled -Dtests=enabled \
    -Dc_args=-fsanitize=fuzzer-no-link -Db_sanitize=address,undefined \
    -Db_lundef=false
fi
if [[ ${#targets[@]} -eq 0 ]]; then
  mapfile -t targets < <(cd "$root/tests/fuzz" && ls fuzz-*.c)
fi

# Slices would hide small errors from ASan.
export G_SLICE=always-malloc
# GLib's fatal messages end in a trap, which must leave its input too.
export ASAN_OPTIONS=handle_sigtrap=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
cd "$build"
for target in "${targets[@]%.c}"; do
  ninja "tests/fuzz/$target" "tests/fuzz/$target-replay"
  mkdir -p "corpus/$target"
  "tests/fuzz/$target-replay" --write "corpus/$target"
  echo "== $target, $seconds s"
  "tests/fuzz/$target" -max_total_time="$seconds" -max_len=16384 -timeout=60 \
    -rss_limit_mb=1024 -print_final_stats=1 "corpus/$target"
done
