/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3notemeta.h: notes attached to buffers.
 */
#pragma once

#include <gst/mt3/gstmt3note.h>

G_BEGIN_DECLS

#define GST_MT3_NOTE_META_API_TYPE (gst_mt3_note_meta_api_get_type ())
#define GST_MT3_NOTE_META_INFO (gst_mt3_note_meta_get_info ())

typedef struct _GstMt3NoteMeta GstMt3NoteMeta;

/**
 * GstMt3NoteMeta:
 * @meta: parent #GstMeta
 * @note: the note
 *
 * A note on the buffer that begins or ends it; a buffer may carry several.
 *
 * Since: 0.1
 */
struct _GstMt3NoteMeta {
  GstMeta meta;

  GstMt3Note note;
};

GST_MT3_API
GType gst_mt3_note_meta_api_get_type (void);

GST_MT3_API
const GstMetaInfo *gst_mt3_note_meta_get_info (void);

GST_MT3_API
void gst_mt3_init (void);

GST_MT3_API
GstMt3NoteMeta *gst_buffer_add_mt3_note_meta (
    GstBuffer *buffer, const GstMt3Note *note);

GST_MT3_API
GstMt3NoteMeta *gst_buffer_get_mt3_note_meta (GstBuffer *buffer);

GST_MT3_API
GPtrArray *gst_buffer_get_mt3_notes (GstBuffer *buffer);

G_END_DECLS
