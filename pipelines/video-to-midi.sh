#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: video-to-midi.sh VIDEO OUTPUT.mid [TRACK]
#
# Transcribes one of a video's audio tracks: 0 is the first, 1 the second, and
# so on. The pictures are not decoded.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ ($# -eq 2 || $# -eq 3) && $1 != -* ]] || usage_and_exit "$@"
video=$1 output=$2 track=${3:-0}
[[ -f $video ]] || fail "there is no file $video"
[[ ! -d $output ]] || fail "$output is a folder; name a file"
[[ $track =~ ^[0-9]+$ ]] || fail "TRACK is a number from 0, not $track"
require_plugin

part=$(dirname "$output")/.$(basename "$output").part
trap 'rm -f "$part"' EXIT
transcribe "$video" "$track" filesrc "location=$(quote "$video")" ! \
  decodebin name=decoder caps=audio/x-raw expose-all-streams=false \
  decoder."src_$track" ! mt3transcribe ! \
  filesink "location=$(quote "$part")"
mv -T "$part" "$output"
