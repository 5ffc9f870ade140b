/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * window.h: a window of audio, and where its memory comes from.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _Mt3WindowPool Mt3WindowPool;

/**
 * Mt3Window:
 * @pool: (nullable): where its memory goes; one without is plain memory
 * @index: 0, 1, 2 ... since mt3_windower_new() or _reset()
 * @n_frames: frames that exist, 1 .. window_frames; only the last window has
 *   fewer. Rows of the spectrogram past them are 0.0.
 * @last: no window follows
 * @n_replaced: samples of this window that were NaN or Inf and became 0
 * @peak: largest absolute sample
 * @samples: window_samples floats, zeros after the last real sample
 */
typedef struct {
  Mt3WindowPool *pool;
  guint64 index;
  guint n_frames;
  gboolean last;
  guint n_replaced;
  gfloat peak;
  gfloat samples[];
} Mt3Window;

/**
 * mt3_window_new:
 * @window_samples: its length; that of @pool's windows
 * @pool: (nullable): what may have memory for it
 *
 * Returns: (transfer full): a window, all zero but for its samples, which are
 * undefined; mt3_window_free() it. Thread safe.
 */
Mt3Window *mt3_window_new (gsize window_samples, Mt3WindowPool *pool);

/* (nullable). Thread safe. */
void mt3_window_free (Mt3Window *window);

/**
 * mt3_window_pool_new:
 * @window_samples: of all its windows
 * @most_kept: windows whose memory it keeps when they are freed, at most
 *
 * A C library gives 128 KiB back to the system as they are freed, and each page
 * that it gets for the next costs a fault: 3 ms of a file of 180 s, see
 * docs/engine.md.
 *
 * Returns: (transfer full): a reference; each window has one of its own.
 */
Mt3WindowPool *mt3_window_pool_new (gsize window_samples, guint most_kept);
Mt3WindowPool *mt3_window_pool_ref (Mt3WindowPool *pool);
void mt3_window_pool_unref (Mt3WindowPool *pool); /* (nullable) */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3WindowPool, mt3_window_pool_unref)

/* Windows that are free now, whose memory is kept. */
guint mt3_window_pool_n_kept (Mt3WindowPool *pool);

G_END_DECLS
