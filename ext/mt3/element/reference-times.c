/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/reference-times.h"

/* Buffers may be as short as a sample. The time of a shorter one than this
 * follows from the one before. */
#define STEP (10 * GST_MSECOND)

/* What one clock showed at @running_time. Those of one buffer follow one
 * another; without @reference it had none. */
typedef struct {
  GstClockTime running_time;
  GstCaps *reference; /* (nullable) */
  GstClockTime timestamp;
} Entry;

struct _GstMt3ReferenceTimes {
  GMutex lock;
  GArray *entries; /* Entry by running time */
};

static void
entry_clear (gpointer data)
{
  gst_clear_caps (&((Entry *) data)->reference);
}

GstMt3ReferenceTimes *
gst_mt3_reference_times_new (void)
{
  GstMt3ReferenceTimes *times = g_new0 (GstMt3ReferenceTimes, 1);

  g_mutex_init (&times->lock);
  times->entries = g_array_new (FALSE, FALSE, sizeof (Entry));
  g_array_set_clear_func (times->entries, entry_clear);

  return times;
}

void
gst_mt3_reference_times_free (GstMt3ReferenceTimes *times)
{
  g_array_unref (times->entries);
  g_mutex_clear (&times->lock);
  g_free (times);
}

void
gst_mt3_reference_times_clear (GstMt3ReferenceTimes *times)
{
  g_mutex_lock (&times->lock);
  g_array_set_size (times->entries, 0);
  g_mutex_unlock (&times->lock);
}

static Entry *
gst_mt3_reference_times_nth (GstMt3ReferenceTimes *times, guint n)
{
  return &g_array_index (times->entries, Entry, n);
}

/* Whether a buffer at @running_time tells something that does not follow from
 * the last one. Called with the lock. */
static gboolean
gst_mt3_reference_times_is_news (GstMt3ReferenceTimes *times,
    GstClockTime running_time, gboolean has_references)
{
  const Entry *last;

  if (times->entries->len == 0)
    return has_references;
  last = gst_mt3_reference_times_nth (times, times->entries->len - 1);
  /* What comes from before follows the audio, and has no time of its own. */
  if (running_time <= last->running_time)
    return FALSE;
  if (!last->reference || !has_references)
    return has_references != (last->reference != NULL);
  return running_time >= last->running_time + STEP;
}

/* @late: by how much @running_time is after the first sample. Called with the
 * lock. */
static void
gst_mt3_reference_times_append (GstMt3ReferenceTimes *times,
    GstClockTime running_time, GstBuffer *buffer, GstClockTime late)
{
  Entry entry = {.running_time = running_time};
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta_filtered (
              buffer, &state, GST_REFERENCE_TIMESTAMP_META_API_TYPE))) {
    const GstReferenceTimestampMeta *told = (GstReferenceTimestampMeta *) meta;

    entry.reference = gst_caps_ref (told->reference);
    entry.timestamp = told->timestamp + late;
    g_array_append_val (times->entries, entry);
  }
  if (!entry.reference)
    g_array_append_val (times->entries, entry);
}

/* FALSE for what has no running time. */
static gboolean
get_running_time (
    const GstSegment *segment, GstClockTime pts, GstClockTime *running_time)
{
  return GST_CLOCK_TIME_IS_VALID (pts) &&
         gst_segment_to_running_time_full (
             segment, GST_FORMAT_TIME, pts, running_time) == 1;
}

void
gst_mt3_reference_times_add (
    GstMt3ReferenceTimes *times, const GstSegment *segment, GstBuffer *buffer)
{
  GstClockTime pts = GST_BUFFER_PTS (buffer), running_time;
  /* Running time begins with the segment. */
  GstClockTime late = pts < segment->start ? segment->start - pts : 0;
  gboolean has_references =
      gst_buffer_get_reference_timestamp_meta (buffer, NULL) != NULL;

  if (late > 0 && late >= GST_BUFFER_DURATION (buffer))
    return;
  if (!get_running_time (segment, pts + late, &running_time))
    return;
  g_mutex_lock (&times->lock);
  if (gst_mt3_reference_times_is_news (times, running_time, has_references))
    gst_mt3_reference_times_append (times, running_time, buffer, late);
  g_mutex_unlock (&times->lock);
}

/* The first entry of the buffer that counts at @running_time. Called with the
 * lock, with entries. */
static guint
gst_mt3_reference_times_find (
    GstMt3ReferenceTimes *times, GstClockTime running_time)
{
  guint n = times->entries->len - 1;

  while (n > 0 &&
         gst_mt3_reference_times_nth (times, n)->running_time > running_time)
    n--;
  while (n > 0 && gst_mt3_reference_times_nth (times, n - 1)->running_time ==
                      gst_mt3_reference_times_nth (times, n)->running_time)
    n--;
  return n;
}

void
gst_mt3_reference_times_attach (
    GstMt3ReferenceTimes *times, const GstSegment *segment, GstBuffer *buffer)
{
  GstClockTime running_time;

  if (!get_running_time (segment, GST_BUFFER_PTS (buffer), &running_time))
    return;
  g_mutex_lock (&times->lock);
  if (times->entries->len > 0) {
    guint n = gst_mt3_reference_times_find (times, running_time);
    GstClockTime at = gst_mt3_reference_times_nth (times, n)->running_time;

    for (; n < times->entries->len; n++) {
      const Entry *entry = gst_mt3_reference_times_nth (times, n);

      if (entry->running_time != at || !entry->reference)
        break;
      gst_buffer_add_reference_timestamp_meta (buffer, entry->reference,
          entry->timestamp + running_time - at, GST_CLOCK_TIME_NONE);
    }
  }
  g_mutex_unlock (&times->lock);
}

void
gst_mt3_reference_times_forget (
    GstMt3ReferenceTimes *times, const GstSegment *segment, GstClockTime pts)
{
  GstClockTime running_time;

  if (!get_running_time (segment, pts, &running_time))
    return;
  g_mutex_lock (&times->lock);
  if (times->entries->len > 0)
    g_array_remove_range (
        times->entries, 0, gst_mt3_reference_times_find (times, running_time));
  g_mutex_unlock (&times->lock);
}
