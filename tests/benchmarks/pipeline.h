/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pipeline.h: pipelines that run once, from PLAYING to their end.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

typedef GstElement Pipeline;

/* What gst-launch makes of @line, or NULL and an error. */
Pipeline *pipeline_new (const gchar *line, GError **error);

/* Blocks until the end of the stream. FALSE and the error when one was posted
 * before. */
gboolean pipeline_wait (Pipeline *pipeline, GError **error);

/* Stops @pipeline and frees it. */
void pipeline_free (Pipeline *pipeline);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Pipeline, pipeline_free)

/* The element of that name in @pipeline, which keeps it. */
GstElement *pipeline_element (Pipeline *pipeline, const gchar *name);

/* Calls @function for every buffer that leaves element @name by its pad src. */
void pipeline_watch (Pipeline *pipeline, const gchar *name,
    GstPadProbeCallback function, gpointer data);

G_END_DECLS
