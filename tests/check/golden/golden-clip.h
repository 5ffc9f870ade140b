/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * golden-clip.h: an evaluation clip of ../shared/eval (see its README.md):
 * audio, and the tokens and notes that the float32 reference makes of it.
 */
#pragma once

#include <glib.h>

#include "notes/note.h"

G_BEGIN_DECLS

/**
 * GoldenClip:
 * @samples: 16 kHz mono
 * @windows: of GArray of guint16: the tokens of each window
 * @notes: of #Mt3Note without ids and confidence, in the reference's order
 */
typedef struct {
  gchar *name;
  gfloat *samples;
  gsize n_samples;
  GPtrArray *windows;
  GArray *notes;
  guint64 invalid_events;
  guint64 dropped_events;
} GoldenClip;

/* Directories of all clips (transfer full), or NULL when $MT3_SHARED has
 * none. */
GPtrArray *golden_clip_list (void);

/* Reads a clip's directory; aborts when a file is not as it should be. */
GoldenClip *golden_clip_read (const gchar *directory);
void golden_clip_free (GoldenClip *clip);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GoldenClip, golden_clip_free)

G_END_DECLS
