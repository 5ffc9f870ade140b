/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3messages.h: notes on the bus.
 */
#pragma once

#include <gst/mt3/gstmt3note.h>

G_BEGIN_DECLS

/**
 * GST_MT3_NOTES_MESSAGE_NAME:
 *
 * Name of the structure of an element message that carries notes.
 *
 * Since: 0.1
 */
#define GST_MT3_NOTES_MESSAGE_NAME "mt3-notes"

GST_MT3_API
GstMessage *gst_mt3_notes_message_new (GstObject *src, GstClockTime timestamp,
    GstClockTime stream_time, GstClockTime running_time, GstClockTime duration,
    GPtrArray *notes);

GST_MT3_API
gboolean gst_mt3_notes_message_parse (GstMessage *message,
    GstClockTime *timestamp, GstClockTime *stream_time,
    GstClockTime *running_time, GstClockTime *duration, GPtrArray **notes);

G_END_DECLS
