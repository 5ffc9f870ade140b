#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# usage: valgrind.sh PROGRAM [ARGUMENT...]
#
# The wrapper of tests/run.sh --valgrind: fails on invalid accesses and on
# memory that is definitely lost. CK_FORK=no: all in one process. Threads take
# turns, or one that waits for others may wait for ever.
export CK_FORK=no
exec valgrind --quiet --error-exitcode=1 --leak-check=full \
  --errors-for-leak-kinds=definite --num-callers=30 --fair-sched=try \
  --suppressions=/usr/share/glib-2.0/valgrind/glib.supp \
  --suppressions="$(dirname "$0")/gst.supp" "$@"
