/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * print-note.c: a program outside the source tree, built with what pkg-config
 * says: puts a note on a buffer and reads it back.
 */
#include <gst/mt3/mt3.h>

int
main (int argc, char **argv)
{
  GstMt3Note note = {.id = 1, .pitch = 60, .end = GST_CLOCK_TIME_NONE};
  const GstMt3NoteMeta *meta;
  GstBuffer *buffer;

  gst_init (&argc, &argv);
  buffer = gst_buffer_new ();
  gst_buffer_add_mt3_note_meta (buffer, &note);
  meta = gst_buffer_get_mt3_note_meta (buffer);
  g_print ("note %u, pitch %u\n", meta->note.id, meta->note.pitch);
  gst_buffer_unref (buffer);

  return 0;
}
