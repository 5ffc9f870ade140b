/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * live-pipeline.h: many live elements in one process.
 */
#pragma once

#include "golden-notes.h"
#include "pipeline.h"

G_BEGIN_DECLS

/**
 * LivePipelineRun:
 * @median, @p99, @most: seconds from a window's last sample to the last of its
 *   notes that left the element, over all windows with notes but those that
 *   the end of the audio cut off
 * @latest_feed: seconds that audio was given late, at most: above the rest by
 *   this much at worst, because the machine that feeds is too slow
 * @n_golden: streams whose notes are the golden ones, or without those, the
 *   first stream's
 */
typedef struct {
  guint n_windows;
  guint n_dropped;
  guint64 n_notes;
  guint n_golden;
  gdouble median, p99, most;
  gdouble latest_feed;
} LivePipelineRun;

/**
 * live_pipeline_run:
 * @element: text of a mt3transcribe with its properties
 * @samples: (element-type gfloat): the audio, as the model takes it
 * @rate: of @samples
 * @window: samples of a window
 * @golden: (nullable): see golden_notes_read()
 *
 * Plays @samples in real time into @n_streams elements, shifted against each
 * other by a window in all.
 */
gboolean live_pipeline_run (const gchar *element, GArray *samples, guint rate,
    guint window, guint n_streams, const GArray *golden, LivePipelineRun *run,
    GError **error);

G_END_DECLS
