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

#include "gstmt3notebytes.h"

static gboolean
gst_mt3_note_meta_init (GstMeta *meta, gpointer params, GstBuffer *buffer)
{
  GstMt3NoteMeta *note_meta = (GstMt3NoteMeta *) meta;

  memset (&note_meta->note, 0, sizeof note_meta->note);
  return TRUE;
}

static guint
hash_note (gconstpointer data)
{
  const GstMt3Note *note = data;

  return note->id ^ g_int64_hash (&note->end);
}

/* Whether two notes tell the same: the onset or the end of one note. */
static gboolean
is_same (gconstpointer a, gconstpointer b)
{
  const GstMt3Note *one = a, *other = b;

  return one->id == other->id && one->end == other->end;
}

static GstMt3NoteMeta *
next_note (GstBuffer *buffer, gpointer *state)
{
  return (GstMt3NoteMeta *) gst_buffer_iterate_meta_filtered (
      buffer, state, GST_MT3_NOTE_META_API_TYPE);
}

/* Adds those notes of @from that @to does not have yet, as when metas are
 * copied twice on their way through an element. */
static void
add_notes (GstBuffer *to, GstBuffer *from)
{
  g_autoptr (GHashTable) notes = g_hash_table_new (hash_note, is_same);
  gpointer state = NULL;
  GstMt3NoteMeta *meta;

  while ((meta = next_note (to, &state)))
    g_hash_table_add (notes, &meta->note);
  state = NULL;
  while ((meta = next_note (from, &state))) {
    if (!g_hash_table_contains (notes, &meta->note))
      gst_buffer_add_mt3_note_meta (to, &meta->note);
  }
}

/* GStreamer calls this for one meta after the other. With the first all notes
 * go along: to compare one at a time would take time with the square of their
 * number, and a file has many.
 *
 * A part of a buffer goes without notes; that is no failure, and to say it is
 * one would have GStreamer log an error. */
static gboolean
gst_mt3_note_meta_transform (GstBuffer *dest, GstMeta *meta, GstBuffer *buffer,
    GQuark type, gpointer data)
{
  if (!GST_META_TRANSFORM_IS_COPY (type))
    return FALSE;
  if (!((const GstMetaTransformCopy *) data)->region &&
      meta == gst_buffer_get_meta (buffer, GST_MT3_NOTE_META_API_TYPE))
    add_notes (dest, buffer);
  return TRUE;
}

#if GST_CHECK_VERSION(1, 24, 0)

static gboolean
gst_mt3_note_meta_serialize (
    const GstMeta *meta, GstByteArrayInterface *data, guint8 *version)
{
  guint8 *bytes =
      gst_byte_array_interface_append (data, GST_MT3_NOTE_BYTES_SIZE);

  if (!bytes)
    return FALSE;
  gst_mt3_note_write_bytes (&((const GstMt3NoteMeta *) meta)->note, bytes);
  *version = GST_MT3_NOTE_BYTES_VERSION;
  return TRUE;
}

static GstMeta *
gst_mt3_note_meta_deserialize (const GstMetaInfo *info, GstBuffer *buffer,
    const guint8 *bytes, gsize size, guint8 version)
{
  GstMt3Note note;

  if (!gst_mt3_note_read_bytes (&note, bytes, size, version))
    return NULL;
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
 * gst_mt3_init:
 *
 * Makes the meta known to GStreamer, which must be initialized. Only who
 * receives buffers from another process needs this, before the first of them:
 * metas that are not known then are left out. It may be called again.
 *
 * Since: 0.1
 */
void
gst_mt3_init (void)
{
  gst_mt3_note_meta_get_info ();
}

/**
 * gst_buffer_add_mt3_note_meta:
 * @buffer: (transfer none): a buffer, which must be writable; see
 *   gst_buffer_make_writable()
 * @note: a note
 *
 * Attaches a copy of @note to @buffer.
 *
 * Returns: (transfer none) (nullable): the meta, owned by @buffer; %NULL, after
 *   a critical warning, when @buffer is not writable
 *
 * Since: 0.1
 */
GstMt3NoteMeta *
gst_buffer_add_mt3_note_meta (GstBuffer *buffer, const GstMt3Note *note)
{
  GstMt3NoteMeta *meta;

  g_return_val_if_fail (GST_IS_BUFFER (buffer), NULL);
  g_return_val_if_fail (gst_buffer_is_writable (buffer), NULL);
  g_return_val_if_fail (note != NULL, NULL);

  meta = (GstMt3NoteMeta *) gst_buffer_add_meta (
      buffer, GST_MT3_NOTE_META_INFO, NULL);
  meta->note = *note;
  return meta;
}

/**
 * gst_buffer_get_mt3_note_meta:
 * @buffer: a buffer
 *
 * Looks for a note without copying it.
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
 * Collects the notes that @buffer begins or ends.
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
  GstMt3NoteMeta *meta;

  while ((meta = next_note (buffer, &state)))
    g_ptr_array_add (notes, gst_mt3_note_copy (&meta->note));
  return notes;
}
