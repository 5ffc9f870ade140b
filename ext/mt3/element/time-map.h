/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * time-map.h: where in upstream's time a moment of the transcribed audio lies.
 *
 * The audio that the engine hears is one run of samples without gaps, and a
 * position in it is a count of samples. Upstream's timestamps follow that count
 * but for two reasons: another segment begins, or its clock is found to have
 * drifted from the samples. Each time an anchor says which timestamp the
 * position from there on has.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/**
 * GstMt3TimeAnchor:
 * @position: of a sample, since the first one
 * @pts: of that sample, in @segment
 * @seqnum: of @segment's event
 */
typedef struct {
  GstClockTime position;
  GstClockTime pts;
  GstSegment segment;
  guint32 seqnum;
} GstMt3TimeAnchor;

typedef struct _GstMt3TimeMap GstMt3TimeMap;

/* All functions: any thread. */
GstMt3TimeMap *gst_mt3_time_map_new (void);
void gst_mt3_time_map_free (GstMt3TimeMap *map);
void gst_mt3_time_map_clear (GstMt3TimeMap *map);

/* Whether the timestamp of a position is not what the anchors so far say. */
gboolean gst_mt3_time_map_differs (
    GstMt3TimeMap *map, GstClockTime position, GstClockTime pts);

/* Positions never go back from one call to the next. */
void gst_mt3_time_map_add (GstMt3TimeMap *map, const GstMt3TimeAnchor *anchor);

/* The anchor that counts for @position; FALSE when there is none at all. */
gboolean gst_mt3_time_map_find (
    GstMt3TimeMap *map, GstClockTime position, GstMt3TimeAnchor *anchor);

/* Nobody will ask for positions before @position any more. */
void gst_mt3_time_map_forget (GstMt3TimeMap *map, GstClockTime position);

/* The timestamp of @position by an anchor that counts for it. */
static inline GstClockTime
gst_mt3_time_anchor_pts (const GstMt3TimeAnchor *anchor, GstClockTime position)
{
  return anchor->pts + (MAX (position, anchor->position) - anchor->position);
}

G_END_DECLS
