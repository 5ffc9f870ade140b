#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: only-instruments.sh INSTRUMENTS INPUT OUTPUT.mid [PROPERTY=VALUE...]
#
# Transcribes an audio or video file of which it is known who plays, such as
#
#   only-instruments.sh piano,drums song.mp3 song.mid
#   only-instruments.sh 'Acoustic Bass, strings, 56-63' song.mp3 song.mid
#
# INSTRUMENTS are names, classes or numbers of General MIDI, and drums, between
# commas, as the property programs has them. The rest is as with
# transcribe-file.sh.
set -euo pipefail
folder=$(dirname "${BASH_SOURCE[0]}")
source "$folder/env.sh"

[[ $# -ge 3 ]] || usage_and_exit "$@"
instruments=$1
shift

exec "$folder/transcribe-file.sh" "$@" "programs=\"$instruments\""
