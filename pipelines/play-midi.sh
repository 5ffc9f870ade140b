#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: play-midi.sh INPUT.mid [OUTPUT.wav]
#
# Plays a MIDI file with a General MIDI sound font, or renders it to
# OUTPUT.wav. SOUNDFONT names another font than FluidR3.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ ($# -eq 1 || $# -eq 2) && $1 != -* ]] || usage_and_exit "$@"
[[ -f $1 ]] || fail "there is no file $1"
font=${SOUNDFONT:-/usr/share/sounds/sf2/FluidR3_GM.sf2}
[[ -f $font ]] || fail "there is no sound font $font; run pipelines/install-packages.sh demo"

if [[ $# -eq 2 ]]; then
  { : >"$2"; } 2>/dev/null || fail "cannot write $2"
  # Its exit status is 0 where it could not write, too.
  if ! fluidsynth -n -i -q -g 0.6 -r 44100 -F "$2" "$font" "$1" ||
    [[ ! -s $2 ]]; then
    [[ ! -f $2 ]] || rm "$2"
    fail "fluidsynth cannot render $1 to $2"
  fi
else
  launch filesrc "location=$1" ! midiparse ! \
    fluiddec "soundfont=$font" ! audioconvert ! audioresample ! autoaudiosink
fi
