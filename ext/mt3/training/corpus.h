/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * corpus.h: the music that windows are cut from, as corpus.py lays it out.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What a piece is good for; the order is that of corpus.py's KINDS. */
typedef enum {
  MT3_PIECE_PIANO,
  MT3_PIECE_BAND,
  MT3_PIECE_DRUMS,
  MT3_PIECE_STRINGS,
  MT3_N_PIECE_KINDS,
} Mt3PieceKind;

/* Seconds from the start of the piece. @key_up is when the key was let go,
 * @offset when the pedal let go, too. */
typedef struct {
  gfloat onset, offset, key_up;
  guint8 pitch, velocity;
  guint8 padding[2];
} Mt3CorpusNote;

/* One instrument's notes, in the order of onsets. */
typedef struct {
  guint32 first_note, n_notes;
  gfloat duration;
  guint8 program, is_drum, mean_pitch, padding;
} Mt3CorpusPart;

typedef struct {
  guint32 first_part, n_parts;
  gfloat duration;
  guint32 kind;
} Mt3CorpusPiece;

G_STATIC_ASSERT (sizeof (Mt3CorpusNote) == 16);
G_STATIC_ASSERT (sizeof (Mt3CorpusPart) == 16);
G_STATIC_ASSERT (sizeof (Mt3CorpusPiece) == 16);

typedef struct {
  const Mt3CorpusNote *notes;
  const Mt3CorpusPart *parts;
  const Mt3CorpusPiece *pieces;
  guint32 n_notes, n_parts, n_pieces;
} Mt3Corpus;

G_END_DECLS
