#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: quickstart.sh [AUDIO [OUTPUT.mid]]
#
# From a bare Debian 12 to a transcription: installs packages, builds, transcribes
# AUDIO (any audio or video file) and draws the piano roll. Without AUDIO it
# renders and transcribes a demo piece. The model is that of GST_MT3_MODEL, an
# installed one, or the one that comes along.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

say () {
  echo "==> $*"
}

build () {
  if [[ ! -f $mt3_build/build.ninja ]]; then
    meson setup "$mt3_build" "$mt3_root" --buildtype=release \
      -Dtests=disabled -Dbenchmarks=disabled >/dev/null
  fi
  ninja -C "$mt3_build"
}

render_demo () {
  local folder=$mt3_build/demo
  mkdir -p "$folder"
  audio=$folder/piece.wav output=$folder/transcription.mid
  "$mt3_root/pipelines/demo-piece.py" "$folder/piece.mid"
  "$mt3_root/pipelines/play-midi.sh" "$folder/piece.mid" "$audio"
}

[[ $# -le 2 && ${1:-} != -* ]] || usage_and_exit "$@"
audio=${1:-}
name=${audio##*/}
output=${2:-${audio%"$name"}${name%.*}.mid}
[[ -z $audio || -f $audio ]] || fail "there is no file $audio"

say 'Packages'
groups=(build run recipes)
[[ -n $audio ]] || groups+=(demo)
"$mt3_root/pipelines/install-packages.sh" "${groups[@]}"

say "Building in $mt3_build"
build

if [[ -z $audio ]]; then
  say 'Rendering the demo piece'
  render_demo
fi

say "Transcribing $audio"
"$mt3_root/pipelines/transcribe-file.sh" "$audio" "$output"

picture=${output%.mid}.png
"$mt3_root/pipelines/piano-roll.py" "$output" "$picture"
say "MIDI file:  $output"
say "Piano roll: $picture"
