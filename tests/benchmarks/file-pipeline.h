/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * file-pipeline.h: one recording through a pipeline, as fast as it goes.
 */
#pragma once

#include "pipeline.h"

G_BEGIN_DECLS

/**
 * file_pipeline_run:
 * @line: of a pipeline whose file source is called "in"
 * @seconds: (out): from PLAYING to the end of the stream
 */
gboolean file_pipeline_run (
    const gchar *line, const gchar *clip, gdouble *seconds, GError **error);

/**
 * file_pipeline_first_note:
 * @line: the same, and its mt3transcribe is called "mt3" and makes live MIDI
 * @seconds: (out): from PLAYING to the first note that leaves the element
 */
gboolean file_pipeline_first_note (
    const gchar *line, const gchar *clip, gdouble *seconds, GError **error);

G_END_DECLS
