/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3notemeta.c: how a note travels with its buffer.
 */
/**
 * SECTION:gstmt3notemeta
 * @title: GstMt3NoteMeta
 * @short_description: notes attached to buffers
 *
 * `mt3transcribe` puts a note on the buffer that begins it and, with the same
 * id and its end, on the buffer that ends it.
 *
 * The meta goes along when a whole buffer is copied. A part of a buffer has no
 * notes, for nothing says to which part a note belongs.
 *
 * |[<!-- language="C" -->
 * g_autoptr (GPtrArray) notes = gst_buffer_get_mt3_notes (buffer);
 *
 * for (guint i = 0; i < notes->len; i++) {
 *   const GstMt3Note *note = g_ptr_array_index (notes, i);
 *
 *   if (!GST_CLOCK_TIME_IS_VALID (note->end))
 *     g_print ("%u begins at %" GST_TIME_FORMAT "\n", note->pitch,
 *         GST_TIME_ARGS (note->onset));
 * }
 * ]|
 *
 * Since: 0.1
 */
#include "gstmt3notemeta.h"

static gboolean
gst_mt3_note_meta_init (GstMeta *meta, gpointer params, GstBuffer *buffer)
{
  GstMt3NoteMeta *note_meta = (GstMt3NoteMeta *) meta;

  memset (&note_meta->note, 0, sizeof note_meta->note);
  return TRUE;
}

/* Whether @buffer tells this onset or end already, as when metas are copied
 * twice on their way through an element. */
static gboolean
has_note (GstBuffer *buffer, const GstMt3Note *note)
{
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta_filtered (
              buffer, &state, GST_MT3_NOTE_META_API_TYPE))) {
    const GstMt3Note *other = &((GstMt3NoteMeta *) meta)->note;

    if (other->id == note->id && other->end == note->end)
      return TRUE;
  }
  return FALSE;
}

/* A part of a buffer goes without notes; that is no failure, and to say it is
 * one would have GStreamer log an error. */
static gboolean
gst_mt3_note_meta_transform (GstBuffer *dest, GstMeta *meta, GstBuffer *buffer,
    GQuark type, gpointer data)
{
  const GstMt3NoteMeta *note_meta = (GstMt3NoteMeta *) meta;

  if (!GST_META_TRANSFORM_IS_COPY (type))
    return FALSE;
  if (!((const GstMetaTransformCopy *) data)->region &&
      !has_note (dest, &note_meta->note))
    gst_buffer_add_mt3_note_meta (dest, &note_meta->note);
  return TRUE;
}

#if GST_CHECK_VERSION(1, 24, 0)

/* Version 0, little endian: id (4 bytes), pitch, velocity, program, is_drum (1
 * each), onset, end, confidence (8 each). */
#define SERIALIZED_SIZE 32

static gboolean
gst_mt3_note_meta_serialize (
    const GstMeta *meta, GstByteArrayInterface *data, guint8 *version)
{
  const GstMt3Note *note = &((const GstMt3NoteMeta *) meta)->note;
  guint8 *bytes = gst_byte_array_interface_append (data, SERIALIZED_SIZE);

  if (!bytes)
    return FALSE;
  GST_WRITE_UINT32_LE (bytes, note->id);
  bytes[4] = note->pitch;
  bytes[5] = note->velocity;
  bytes[6] = note->program;
  bytes[7] = note->is_drum ? 1 : 0;
  GST_WRITE_UINT64_LE (bytes + 8, note->onset);
  GST_WRITE_UINT64_LE (bytes + 16, note->end);
  GST_WRITE_DOUBLE_LE (bytes + 24, note->confidence);
  *version = 0;
  return TRUE;
}

static GstMeta *
gst_mt3_note_meta_deserialize (const GstMetaInfo *info, GstBuffer *buffer,
    const guint8 *bytes, gsize size, guint8 version)
{
  GstMt3Note note = {0};

  if (version != 0 || size != SERIALIZED_SIZE)
    return NULL;
  note.id = GST_READ_UINT32_LE (bytes);
  note.pitch = bytes[4];
  note.velocity = bytes[5];
  note.program = bytes[6];
  note.is_drum = bytes[7] != 0;
  note.onset = GST_READ_UINT64_LE (bytes + 8);
  note.end = GST_READ_UINT64_LE (bytes + 16);
  note.confidence = GST_READ_DOUBLE_LE (bytes + 24);
  return (GstMeta *) gst_buffer_add_mt3_note_meta (buffer, &note);
}

static const GstMetaInfo *
register_info (void)
{
  GstMetaInfo *info = gst_meta_info_new (
      GST_MT3_NOTE_META_API_TYPE, "GstMt3NoteMeta", sizeof (GstMt3NoteMeta));

  info->init_func = gst_mt3_note_meta_init;
  info->transform_func = gst_mt3_note_meta_transform;
  info->serialize_func = gst_mt3_note_meta_serialize;
  info->deserialize_func = gst_mt3_note_meta_deserialize;
  return gst_meta_info_register (info);
}

#else

static const GstMetaInfo *
register_info (void)
{
  return gst_meta_register (GST_MT3_NOTE_META_API_TYPE, "GstMt3NoteMeta",
      sizeof (GstMt3NoteMeta), gst_mt3_note_meta_init, NULL,
      gst_mt3_note_meta_transform);
}

#endif

/**
 * gst_mt3_note_meta_api_get_type: (skip)
 *
 * Since: 0.1
 */
GType
gst_mt3_note_meta_api_get_type (void)
{
  static GType type = 0;
  /* No tags: a note depends on nothing that a converter changes. */
  static const gchar *tags[] = {NULL};

  if (g_once_init_enter (&type)) {
    GType registered = gst_meta_api_type_register ("GstMt3NoteMetaAPI", tags);
    g_once_init_leave (&type, registered);
  }
  return type;
}

/**
 * gst_mt3_note_meta_get_info: (skip)
 *
 * Since: 0.1
 */
const GstMetaInfo *
gst_mt3_note_meta_get_info (void)
{
  static const GstMetaInfo *info = NULL;

  if (g_once_init_enter ((GstMetaInfo **) &info)) {
    const GstMetaInfo *registered = register_info ();
    g_once_init_leave ((GstMetaInfo **) &info, (GstMetaInfo *) registered);
  }
  return info;
}

/**
 * gst_buffer_add_mt3_note_meta:
 * @buffer: (transfer none): a writable buffer
 * @note: a note
 *
 * Attaches a copy of @note to @buffer.
 *
 * Returns: (transfer none): the meta, owned by @buffer
 *
 * Since: 0.1
 */
GstMt3NoteMeta *
gst_buffer_add_mt3_note_meta (GstBuffer *buffer, const GstMt3Note *note)
{
  GstMt3NoteMeta *meta = (GstMt3NoteMeta *) gst_buffer_add_meta (
      buffer, GST_MT3_NOTE_META_INFO, NULL);

  meta->note = *note;
  return meta;
}

/**
 * gst_buffer_get_mt3_note_meta:
 * @buffer: a buffer
 *
 * Returns: (transfer none) (nullable): the first note of @buffer, if any
 *
 * Since: 0.1
 */
GstMt3NoteMeta *
gst_buffer_get_mt3_note_meta (GstBuffer *buffer)
{
  return (GstMt3NoteMeta *) gst_buffer_get_meta (
      buffer, GST_MT3_NOTE_META_API_TYPE);
}

/**
 * gst_buffer_get_mt3_notes:
 * @buffer: a buffer
 *
 * Returns: (transfer container) (element-type GstMt3Note): copies of all notes
 *   of @buffer, in the order in which they were added; free with
 *   g_ptr_array_unref()
 *
 * Since: 0.1
 */
GPtrArray *
gst_buffer_get_mt3_notes (GstBuffer *buffer)
{
  GPtrArray *notes =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mt3_note_free);
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta_filtered (
              buffer, &state, GST_MT3_NOTE_META_API_TYPE)))
    g_ptr_array_add (
        notes, gst_mt3_note_copy (&((GstMt3NoteMeta *) meta)->note));
  return notes;
}
