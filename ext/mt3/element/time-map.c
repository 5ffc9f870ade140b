/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/time-map.h"

/* Timestamps are rounded, by some to milliseconds. */
#define TOLERANCE GST_MSECOND

struct _GstMt3TimeMap {
  GMutex lock;
  GArray *anchors; /* GstMt3TimeAnchor by position */
};

GstMt3TimeMap *
gst_mt3_time_map_new (void)
{
  GstMt3TimeMap *map = g_new0 (GstMt3TimeMap, 1);

  g_mutex_init (&map->lock);
  map->anchors = g_array_new (FALSE, FALSE, sizeof (GstMt3TimeAnchor));

  return map;
}

void
gst_mt3_time_map_free (GstMt3TimeMap *map)
{
  g_array_unref (map->anchors);
  g_mutex_clear (&map->lock);
  g_free (map);
}

void
gst_mt3_time_map_clear (GstMt3TimeMap *map)
{
  g_mutex_lock (&map->lock);
  g_array_set_size (map->anchors, 0);
  g_mutex_unlock (&map->lock);
}

static GstMt3TimeAnchor *
gst_mt3_time_map_nth (GstMt3TimeMap *map, guint n)
{
  return &g_array_index (map->anchors, GstMt3TimeAnchor, n);
}

/* How many anchors lie at or before @position. Called with the lock. */
static guint
gst_mt3_time_map_count (GstMt3TimeMap *map, GstClockTime position)
{
  guint n = map->anchors->len;

  while (n > 0 && gst_mt3_time_map_nth (map, n - 1)->position > position)
    n--;
  return n;
}

gboolean
gst_mt3_time_map_differs (
    GstMt3TimeMap *map, GstClockTime position, GstClockTime pts)
{
  GstMt3TimeAnchor last;
  GstClockTimeDiff difference;

  if (!gst_mt3_time_map_find (map, G_MAXUINT64, &last))
    return TRUE;
  difference = GST_CLOCK_DIFF (gst_mt3_time_anchor_pts (&last, position), pts);

  return ABS (difference) > TOLERANCE;
}

void
gst_mt3_time_map_add (GstMt3TimeMap *map, const GstMt3TimeAnchor *anchor)
{
  g_mutex_lock (&map->lock);
  g_array_append_vals (map->anchors, anchor, 1);
  g_mutex_unlock (&map->lock);
}

gboolean
gst_mt3_time_map_find (
    GstMt3TimeMap *map, GstClockTime position, GstMt3TimeAnchor *anchor)
{
  gboolean found;

  g_mutex_lock (&map->lock);
  found = map->anchors->len > 0;
  if (found) {
    guint n = gst_mt3_time_map_count (map, position);

    *anchor = *gst_mt3_time_map_nth (map, MAX (n, 1) - 1);
  }
  g_mutex_unlock (&map->lock);

  return found;
}

void
gst_mt3_time_map_forget (GstMt3TimeMap *map, GstClockTime position)
{
  guint n;

  g_mutex_lock (&map->lock);
  n = gst_mt3_time_map_count (map, position);
  if (n > 1)
    g_array_remove_range (map->anchors, 0, n - 1);
  g_mutex_unlock (&map->lock);
}
