/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pipeline.h"

Pipeline *
pipeline_new (const gchar *line, GError **error)
{
  return gst_parse_launch_full (line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
}

gboolean
pipeline_wait (Pipeline *pipeline, GError **error)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, error, NULL);
  return GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
}

void
pipeline_free (Pipeline *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

GstElement *
pipeline_element (Pipeline *pipeline, const gchar *name)
{
  g_autoptr (GstObject) element =
      GST_OBJECT (gst_bin_get_by_name (GST_BIN (pipeline), name));

  return GST_ELEMENT (element);
}

void
pipeline_watch (Pipeline *pipeline, const gchar *name,
    GstPadProbeCallback function, gpointer data)
{
  g_autoptr (GstPad) pad =
      gst_element_get_static_pad (pipeline_element (pipeline, name), "src");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, function, data, NULL);
}
