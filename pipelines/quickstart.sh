#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: quickstart.sh [AUDIO [OUTPUT.mid]]
#
# From a bare Debian 12 to a transcription: installs packages, builds, finds the
# model, transcribes AUDIO (any audio or video file) and draws the piano roll.
# Without AUDIO it renders and transcribes a demo piece. The model is the one
# of GST_MT3_MODEL or an installed one; without any, Magenta's is downloaded
# (170 MB) and installed for this user.
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

# The element itself knows where a model may be, and what is wrong with one.
find_model () {
  local answer
  answer=$(LC_ALL=C gst-launch-1.0 -q audiotestsrc num-buffers=1 ! \
    mt3transcribe ! fakesink 2>&1) && return
  if [[ $answer != *'no model found'* ]]; then
    grep -m 1 -A 3 GstMt3Transcribe <<<"$answer" >&2 || echo "$answer" >&2
    exit 1
  fi
  say 'None is installed: downloading the one that Google Magenta publishes'
  mt3-model fetch ||
    fail 'no model. docs/models.md tells other ways; GST_MT3_MODEL names one'
}

render_demo () {
  local folder=$mt3_build/demo
  mkdir -p "$folder"
  audio=$folder/piece.wav output=$folder/transcription.mid
  "$mt3_root/pipelines/demo-piece.py" "$folder/piece.mid"
  "$mt3_root/pipelines/play-midi.sh" "$folder/piece.mid" "$audio"
}

[[ $# -le 2 && ${1:-} != -* ]] || usage_and_exit
audio=${1:-} output=${2:-${audio%.*}.mid}
[[ -z $audio || -f $audio ]] || fail "there is no file $audio"

say 'Packages'
groups=(build run recipes)
[[ -n $audio ]] || groups+=(demo)
"$mt3_root/pipelines/install-packages.sh" "${groups[@]}"

say "Building in $mt3_build"
build

say 'Looking for the model'
find_model

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
