#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: convert-model.sh MODEL [OUTPUT.safetensors]
#
# Converts a checkpoint (a T5X folder as Google publishes it, a safetensors or a
# PyTorch file) to one safetensors file and checks it. Without OUTPUT it goes to
# ~/.local/share/gst-mt3/model.safetensors, where mt3transcribe finds it by
# itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ ($# -eq 1 || $# -eq 2) && $1 != -* ]] || usage_and_exit "$@"
model=$1
output=${2:-${XDG_DATA_HOME:-$HOME/.local/share}/gst-mt3/model.safetensors}
[[ -e $model ]] || fail "there is no file or folder $model"
command -v mt3-model >/dev/null ||
  fail "mt3-model is not built in $mt3_build: meson setup build && ninja -C build"

mkdir -p "$(dirname "$output")"
mt3-model convert "$model" "$output"
mt3-model verify "$output"
echo "The model is $output"
