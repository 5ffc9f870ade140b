/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * read-notes.c: how an application reads notes off the bus and off buffers.
 *
 * usage: read-notes INPUT
 *
 * cc -o read-notes read-notes.c $(pkg-config --cflags --libs gstreamer-mt3-1.0)
 */
#include <gst/mt3/mt3.h>

#define PIPELINE                                                               \
  "filesrc name=source ! decodebin caps=audio/x-raw expose-all-streams=false " \
  "! mt3transcribe post-messages=true ! audio/x-midi-event ! "                 \
  "fakesink name=sink sync=false signal-handoffs=true"

/* A line at once: two threads print. */
static void
print_notes (const gchar *source, GPtrArray *notes)
{
  for (guint i = 0; i < notes->len; i++) {
    const GstMt3Note *note = g_ptr_array_index (notes, i);
    g_autofree gchar *end =
        GST_CLOCK_TIME_IS_VALID (note->end)
            ? g_strdup_printf (" to %.2f s", (gdouble) note->end / GST_SECOND)
            : g_strdup ("");

    g_print ("%s: note %u, program %u%s, key %u, from %.2f s%s\n", source,
        note->id, note->program, note->is_drum ? " (drums)" : "", note->pitch,
        (gdouble) note->onset / GST_SECOND, end);
  }
}

/* In a streaming thread, for every buffer. */
static void
handle_buffer (
    GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user_data)
{
  g_autoptr (GPtrArray) notes = gst_buffer_get_mt3_notes (buffer);

  print_notes ("buffer", notes);
}

/* Returns whether more will come. */
static gboolean
handle_message (GstMessage *message)
{
  g_autoptr (GPtrArray) notes = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree gchar *details = NULL;

  switch (GST_MESSAGE_TYPE (message)) {
    case GST_MESSAGE_ELEMENT:
      if (gst_mt3_notes_message_parse (message, NULL, NULL, NULL, NULL, &notes))
        print_notes ("message", notes);
      return TRUE;
    case GST_MESSAGE_ERROR:
      gst_message_parse_error (message, &error, &details);
      g_printerr (
          "read-notes: %s\n%s\n", error->message, details ? details : "");
      return FALSE;
    default:
      return GST_MESSAGE_TYPE (message) != GST_MESSAGE_EOS;
  }
}

static gboolean
transcribe (GstElement *pipeline)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  gboolean is_over = FALSE, is_good = TRUE;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (!is_over) {
    g_autoptr (GstMessage) message =
        gst_bus_timed_pop (bus, GST_CLOCK_TIME_NONE);

    is_over = !handle_message (message);
    is_good = GST_MESSAGE_TYPE (message) != GST_MESSAGE_ERROR;
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  return is_good;
}

int
main (int argc, char **argv)
{
  g_autoptr (GstElement) pipeline = NULL, source = NULL, sink = NULL;
  g_autoptr (GError) error = NULL;

  gst_init (&argc, &argv);
  if (argc != 2) {
    g_printerr ("usage: read-notes INPUT\n");
    return 2;
  }
  pipeline = gst_parse_launch (PIPELINE, &error);
  if (error) {
    g_printerr ("read-notes: %s\n", error->message);
    return 1;
  }
  source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  g_object_set (source, "location", argv[1], NULL);
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_signal_connect (sink, "handoff", G_CALLBACK (handle_buffer), NULL);

  return transcribe (pipeline) ? 0 : 1;
}
