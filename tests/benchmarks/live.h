/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * live.h: streams fed at the speed of sound.
 */
#pragma once

#include "clip.h"
#include "engine/engine.h"

G_BEGIN_DECLS

/* Latencies in seconds, from the end of a window to its tokens. */
typedef struct {
  guint n_windows;
  gdouble median, p99, most;
} LiveRun;

/* Plays @windows into each of @n_streams streams in real time, the streams
 * shifted against each other. */
gboolean live_run (Mt3Engine *engine, GPtrArray *windows, guint n_streams,
    LiveRun *run, GError **error);

G_END_DECLS
