/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * windower.h: cuts a stream of samples into the windows that MT3 transcribes.
 *
 * Rules (magenta/mt3 preprocessors and spectrograms; checked against the
 * golden files): frames of hop_length samples; the whole signal is padded with
 * zeros to a whole number of frames, and an exact multiple gains one frame;
 * windows of window_frames frames follow each other without overlap; the last
 * one may be shorter. So a window filled by real samples is never the last.
 */
#pragma once

#include "checkpoint/model-config.h"
#include "windows/window.h"

G_BEGIN_DECLS

typedef struct _Mt3Windower Mt3Windower;

/* @pool: (nullable): what its windows' memory comes from */
Mt3Windower *mt3_windower_new (const Mt3Config *config, Mt3WindowPool *pool);
void mt3_windower_free (Mt3Windower *windower);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Windower, mt3_windower_free)

/**
 * mt3_windower_push:
 * @samples: mono float samples at config's rate; NULL means silence
 *
 * Takes samples until a window is full, and no further.
 *
 * Returns: how many of @n_samples were taken; if fewer than @n_samples, or if
 * the window is full, mt3_windower_take() has one. Never blocks.
 */
gsize mt3_windower_push (
    Mt3Windower *windower, const gfloat *samples, gsize n_samples);

/* (transfer full) (nullable): the full window, once; mt3_window_free() it. */
Mt3Window *mt3_windower_take (Mt3Windower *windower);

/* (transfer full) (nullable): pads and returns the last window; NULL when not
 * one sample was ever pushed. Starts over at index 0. */
Mt3Window *mt3_windower_finish (Mt3Windower *windower);

/* Drops what is pending and starts over at index 0. */
void mt3_windower_reset (Mt3Windower *windower);

/* Samples pushed since the start. */
guint64 mt3_windower_n_samples (const Mt3Windower *windower);

G_END_DECLS
