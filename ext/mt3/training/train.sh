#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One command: renders the note bank, trains on one GPU, exports and evaluates.
#
#   train.sh RUN [options of train.py]
#
# Expects, where $MT3_DATA points to (default: ./training-data):
#   corpus.npz     what gather.py wrote
#   fonts/*.sf[23] sound fonts, or bank-* folders that are rendered already
#   samples/       what gather-samples.py wrote (optional)
#   clips/         clips to evaluate on (optional; see evaluate.py)
# and the programs of a build folder in $MT3_TRAINING_BIN (default: where meson
# put them under ./build).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage () {
  sed -n '3,14s/^# \?//p' "${BASH_SOURCE[0]}"
}

fail () {
  echo "train.sh: $*" >&2
  exit 1
}

case ${1:-} in
  -h | --help) usage; exit 0 ;;
  '' | -*) usage >&2; exit 2 ;;
esac
run=$1
shift
data=${MT3_DATA:-training-data}
bin=${MT3_TRAINING_BIN:-build/ext/mt3/training}
export MT3_TRAINING_LIBRARY=${MT3_TRAINING_LIBRARY:-$bin/libmt3training.so}

# Before a bank of gigabytes is rendered.
[ -f "$data/corpus.npz" ] ||
  fail "there is no $data/corpus.npz; gather.py writes it"
python3 "$here/train.py" --help >/dev/null ||
  fail 'train.py cannot start; it needs python3-torch and python3-numpy'

# Every font has a bank of its own: fonts may arrive one by one.
render() {
  local folder=$data/bank-$1
  shift
  [ -e "$folder/bank.instruments" ] && return
  mkdir -p "$folder"
  "$bin/mt3-render-bank" "$@" "$folder"
}
for font in "$data"/fonts/*.sf[23]; do
  [ -e "$font" ] && render "$(basename "$font")" --font "$font"
done
if [ -e "$data/samples/samples.tsv" ]; then
  render samples --samples "$data/samples"
fi
render synthetic --synthetic 6

python3 "$here/train.py" --corpus "$data/corpus.npz" --bank "$data"/bank-* \
  --out "$run" "$@"
if [ -d "$data/clips" ]; then
  device=$(python3 -c 'import torch
print("cuda" if torch.cuda.is_available() else "cpu")')
  python3 "$here/evaluate.py" "$run/model.safetensors" "$data/clips" \
    --device "$device" --out "$run/results.json"
fi
