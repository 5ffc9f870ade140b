/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3messages.c: notes on the bus, in the style of level and spectrum.
 */
/**
 * SECTION:gstmt3messages
 * @title: MT3 messages
 * @short_description: notes on the bus
 *
 * When its property `post-messages` is set, `mt3transcribe` posts an element
 * message named `mt3-notes` for every window of audio in which notes begin or
 * end, and one at the end of the audio for those that still sound. Its
 * structure has these fields:
 *
 * * #GstClockTime `timestamp`: of the window's first sample
 * * #GstClockTime `stream-time`: stream time of that sample
 * * #GstClockTime `running-time`: running time of that sample
 * * #GstClockTime `duration`: of the window; 0 at the end of the audio
 * * #GstValueList of #GstStructure `notes`: each note once, with its end if
 *   that is known; see #GstMt3Note for the fields
 *
 * All notes of a message begin or end in its window, but for what the model
 * writes past the window's end; `onset` and `end` of a note are stream times.
 *
 * A note that goes on into later windows comes again, with the same id, when
 * its end is known.
 *
 * gst_mt3_notes_message_parse() reads it.
 *
 * Since: 0.1
 */
#include "gstmt3messages.h"

/**
 * gst_mt3_notes_message_new:
 * @src: (nullable): the element that posts it
 * @timestamp: of the first sample of the audio that the notes were heard in
 * @stream_time: stream time of that sample
 * @running_time: running time of that sample
 * @duration: of that audio
 * @notes: (element-type GstMt3Note): the notes
 *
 * Makes a message of notes, as `mt3transcribe` posts it.
 *
 * Returns: (transfer full): an element message
 *
 * Since: 0.1
 */
GstMessage *
gst_mt3_notes_message_new (GstObject *src, GstClockTime timestamp,
    GstClockTime stream_time, GstClockTime running_time, GstClockTime duration,
    GPtrArray *notes)
{
  GstStructure *structure = gst_structure_new (GST_MT3_NOTES_MESSAGE_NAME,
      "timestamp", GST_TYPE_CLOCK_TIME, timestamp, "stream-time",
      GST_TYPE_CLOCK_TIME, stream_time, "running-time", GST_TYPE_CLOCK_TIME,
      running_time, "duration", GST_TYPE_CLOCK_TIME, duration, NULL);
  GValue list = G_VALUE_INIT;

  gst_value_list_init (&list, notes->len);
  for (guint i = 0; i < notes->len; i++) {
    GValue value = G_VALUE_INIT;

    g_value_init (&value, GST_TYPE_STRUCTURE);
    g_value_take_boxed (
        &value, gst_mt3_note_to_structure (g_ptr_array_index (notes, i)));
    gst_value_list_append_and_take_value (&list, &value);
  }
  gst_structure_take_value (structure, "notes", &list);
  return gst_message_new_element (src, structure);
}

/* (nullable): all of them, or NULL when one is no note. */
static GPtrArray *
notes_from_list (const GValue *list)
{
  g_autoptr (GPtrArray) notes =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mt3_note_free);

  if (!list || !GST_VALUE_HOLDS_LIST (list))
    return NULL;
  for (guint i = 0; i < gst_value_list_get_size (list); i++) {
    const GValue *value = gst_value_list_get_value (list, i);
    GstMt3Note *note;

    if (!GST_VALUE_HOLDS_STRUCTURE (value) ||
        !(note = gst_mt3_note_from_structure (gst_value_get_structure (value))))
      return NULL;
    g_ptr_array_add (notes, note);
  }
  return g_steal_pointer (&notes);
}

/* (nullable): the notes; NULL when a field is missing or another type. */
static GPtrArray *
parse_structure (const GstStructure *structure, GstClockTime times[4])
{
  if (!gst_structure_get (structure, "timestamp", GST_TYPE_CLOCK_TIME,
          &times[0], "stream-time", GST_TYPE_CLOCK_TIME, &times[1],
          "running-time", GST_TYPE_CLOCK_TIME, &times[2], "duration",
          GST_TYPE_CLOCK_TIME, &times[3], NULL))
    return NULL;
  return notes_from_list (gst_structure_get_value (structure, "notes"));
}

/**
 * gst_mt3_notes_message_parse:
 * @message: any message
 * @timestamp: (out) (optional): of the first sample of the audio that the
 *   notes were heard in
 * @stream_time: (out) (optional): stream time of that sample
 * @running_time: (out) (optional): running time of that sample
 * @duration: (out) (optional): of that audio
 * @notes: (out) (optional) (nullable) (transfer container)
 *   (element-type GstMt3Note): the notes; free with g_ptr_array_unref()
 *
 * Reads a message of notes.
 *
 * Returns: whether @message is a complete message of notes; if not, all times
 *   are %GST_CLOCK_TIME_NONE and @notes is %NULL
 *
 * Since: 0.1
 */
gboolean
gst_mt3_notes_message_parse (GstMessage *message, GstClockTime *timestamp,
    GstClockTime *stream_time, GstClockTime *running_time,
    GstClockTime *duration, GPtrArray **notes)
{
  GstClockTime times[4];
  GstClockTime *outs[] = {timestamp, stream_time, running_time, duration};
  g_autoptr (GPtrArray) parsed = NULL;

  if (gst_message_has_name (message, GST_MT3_NOTES_MESSAGE_NAME))
    parsed = parse_structure (gst_message_get_structure (message), times);
  for (guint i = 0; i < G_N_ELEMENTS (outs); i++) {
    if (outs[i])
      *outs[i] = parsed ? times[i] : GST_CLOCK_TIME_NONE;
  }
  if (notes)
    *notes = parsed ? g_ptr_array_ref (parsed) : NULL;
  return parsed != NULL;
}
