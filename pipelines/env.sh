# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the recipes: lets GStreamer find the plugin of this source tree's
# build (MT3_BUILD_DIR, default build/), and that the CUDA engine, before
# installed ones.

mt3_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mt3_build=${MT3_BUILD_DIR:-$mt3_root/build}

export GST_PLUGIN_PATH="$mt3_build/ext/mt3/element${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
if [[ -z ${GST_MT3_MODULE_DIR:-} &&
  -e $mt3_build/ext/mt3/engine/cuda/libmt3cuda.so ]]; then
  export GST_MT3_MODULE_DIR=$mt3_build/ext/mt3/engine/cuda
fi
export PATH="$mt3_build/ext/mt3/tools:$PATH"
# The model of this tree, behind all that are installed.
export XDG_DATA_DIRS="${XDG_DATA_DIRS:-/usr/local/share:/usr/share}:$mt3_root/ext/mt3/data"

# Prints the comment at the head of the running script.
usage () {
  awk 'NR > 2 && /^#/ { sub(/^# ?/, ""); print; next } NR > 2 { exit }' "$0"
}

# usage: usage_and_exit "$@": whoever asked for it gets it as an answer, and
# whoever was wrong as a complaint
usage_and_exit () {
  case ${1:-} in
    -h | --help) usage; exit 0 ;;
  esac
  usage >&2
  exit 2
}

fail () {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

require_plugin () {
  gst-inspect-1.0 mt3transcribe >/dev/null 2>&1 ||
    fail "GStreamer does not know mt3transcribe, and $mt3_build has none. Build it: meson setup build && ninja -C build"
}

# usage: launch ARGUMENT...: gst-launch-1.0 of the arguments. Prints what
# mt3transcribe has done so far. 130 when interrupted, as of what a signal ends;
# gst-launch-1.0 alone ends as if all had gone well.
launch () {
  (echo "$BASHPID" && exec gst-launch-1.0 -m "$@") | follow
}

# Reads the process of launch, and what that says; passes on warnings.
# gst-launch-1.0 (1.22) may wait for ever after an error that comes before its
# main loop runs, or for a pad that never comes. The loop still tells of both,
# and can be interrupted.
follow () {
  local process line code=0
  trap '' INT # is for gst-launch-1.0, which says what it then does
  read -r process
  while IFS= read -r line; do
    case $line in
      *' (transcribe) '*) echo "${line#*(transcribe) }" ;;
      *'GstMessageError, '*) interrupt "$process" ;;
      *'GstMessageWarning, '*) # the next line is for people
        IFS= read -r line && echo "$line" >&2
        ;;
      'failed delayed linking '*)
        echo "$line" >&2
        interrupt "$process"
        ;;
      *'GstLaunchInterrupt, '*) code=130 ;;
    esac
  done
  return "$code"
}

# Fails; once, since gst-launch-1.0 stops in order at the first interrupt only.
interrupt () {
  kill -INT "$1" 2>/dev/null || true
  cat >/dev/null
  exit 1
}

# A text as gst-launch-1.0 reads it.
quote () {
  echo "${1//\\/\\\\}"
}

# usage: transcribe FILE TRACK ARGUMENT...: gst-launch-1.0 of the arguments. Of
# a file without sound or without such a track it says so; GStreamer does not.
transcribe () {
  local file=$1 track=$2 errors said code=0
  errors=$(mktemp)
  launch "${@:3}" 2>"$errors" || code=$?
  said=$(<"$errors")
  rm "$errors"
  # decodebin lists what it did not decode: without sound, the pictures alone.
  if [[ $code -ne 0 && $said == *'Missing decoder: '*' width='* &&
    ! $said =~ 'Missing decoder: '[^$'\n']*'(audio/' ]]; then
    fail "there is no sound in $file"
  fi
  if [[ $code -ne 0 && ($said == *'failed delayed linking'* ||
    $said == *'reason not-linked'*) && $said != *'Missing decoder: '* ]]; then
    fail "there is no audio track $track in $file; the first is 0"
  fi
  [[ -z $said ]] || echo "$said" >&2
  # As when the model cannot be opened; xargs, for one, takes it as "stop".
  [[ $code -ne 255 ]] || code=1
  return "$code"
}
