/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file-pipeline.h"

#include <gst/mt3/mt3.h>

static gboolean
play (Pipeline *pipeline, const gchar *clip, gint64 *start, GError **error)
{
  g_object_set (pipeline_element (pipeline, "in"), "location", clip, NULL);
  *start = g_get_monotonic_time ();
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  return pipeline_wait (pipeline, error);
}

gboolean
file_pipeline_run (
    const gchar *line, const gchar *clip, gdouble *seconds, GError **error)
{
  g_autoptr (Pipeline) pipeline = pipeline_new (line, error);
  gint64 start;

  if (pipeline == NULL || !play (pipeline, clip, &start, error))
    return FALSE;
  *seconds = 1e-6 * (g_get_monotonic_time () - start);
  return TRUE;
}

static GstPadProbeReturn
note_time (GstPad *pad, GstPadProbeInfo *info, gpointer time)
{
  if (gst_buffer_get_mt3_note_meta (GST_PAD_PROBE_INFO_BUFFER (info)) == NULL)
    return GST_PAD_PROBE_OK;
  *(gint64 *) time = g_get_monotonic_time ();
  return GST_PAD_PROBE_REMOVE;
}

gboolean
file_pipeline_first_note (
    const gchar *line, const gchar *clip, gdouble *seconds, GError **error)
{
  g_autoptr (Pipeline) pipeline = pipeline_new (line, error);
  gint64 start, note = 0;

  if (pipeline == NULL)
    return FALSE;
  pipeline_watch (pipeline, "mt3", note_time, &note);
  if (!play (pipeline, clip, &start, error))
    return FALSE;
  if (note == 0) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        "%s: not a note", clip);
    return FALSE;
  }
  *seconds = 1e-6 * (note - start);
  return TRUE;
}
