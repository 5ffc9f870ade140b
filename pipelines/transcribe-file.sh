#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: transcribe-file.sh INPUT OUTPUT.mid [PROPERTY=VALUE...]
#
# Transcribes the sound of an audio or video file. OUTPUT.mid appears only when
# it is complete. Properties are those of mt3transcribe, such as
#
#   transcribe-file.sh song.mp3 song.mid device=cpu model-file=mine.safetensors
#   transcribe-file.sh sonata.flac sonata.mid beam-size=4 programs=piano
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ $# -ge 2 ]] || usage_and_exit "$@"
input=$1 output=$2
shift 2
[[ -f $input ]] || fail "there is no file $input"
[[ ! -d $output ]] || fail "$output is a folder; name a file"
[[ -d $(dirname "$output") ]] ||
  fail "there is no folder $(dirname "$output")"
require_plugin

part=$(dirname "$output")/.$(basename "$output").part
trap 'rm -f "$part"' EXIT
transcribe "$input" 0 filesrc "location=$(quote "$input")" ! \
  decodebin caps=audio/x-raw expose-all-streams=false ! \
  mt3transcribe "$@" ! filesink "location=$(quote "$part")"
mv -T "$part" "$output"
