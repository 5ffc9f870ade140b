#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: play-live.sh SOURCE [PROPERTY=VALUE...]
#
# Plays the transcription of live audio with a General MIDI sound font, some
# seconds after the audio. SOURCE is a file, or a live source as
# gst-launch-1.0 names it, such as autoaudiosrc or "pulsesrc device=monitor".
# Properties are those of mt3transcribe. SOUNDFONT names another font than
# FluidR3, SINK another output than autoaudiosink.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ $# -ge 1 && $1 != -* ]] || usage_and_exit "$@"
source=$1
shift
font=${SOUNDFONT:-/usr/share/sounds/sf2/FluidR3_GM.sf2}
[[ -f $font ]] || fail "there is no sound font $font; run pipelines/install-packages.sh demo"
require_plugin

if [[ -f $source ]]; then
  input=(filesrc "location=$source" ! decodebin caps=audio/x-raw
    expose-all-streams=false)
else
  read -ra input <<<"$source"
fi
read -ra output <<<"${SINK:-autoaudiosink}"
launch "${input[@]}" ! mt3transcribe "$@" ! audio/x-midi-event ! \
  fluiddec "soundfont=$font" ! audioconvert ! audioresample ! \
  "${output[@]}" >/dev/null
