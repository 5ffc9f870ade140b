/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/note-encoder.h"
#include "vocabulary/vocabulary.h"

#include <math.h>
#include <stdlib.h>

#define MAX_VELOCITY 127

/* A note on the grid. */
typedef struct {
  gint64 on, off;
  guint8 pitch, program, velocity;
  gboolean is_drum;
} Span;

/* An onset or an end, of spans[span]. */
typedef struct {
  gint64 step;
  gboolean is_onset;
  guint span;
} Edge;

typedef struct {
  const Mt3NoteEncoding *encoding;
  guint16 *tokens;
  guint n_tokens, max_tokens;
  gint64 step; /* of the last shift written */
  gint program, velocity; /* last written; -1: none in this window */
} Writer;

gint64
mt3_note_encoder_step (gdouble seconds)
{
  return (gint64) floor (seconds * MT3_SHIFTS_PER_SECOND + 0.5);
}

/* The reference sorts by drum, program and pitch before it sorts by time. */
static gint
compare_spans (gconstpointer a, gconstpointer b)
{
  const Span *x = a, *y = b;

  if (x->is_drum != y->is_drum)
    return x->is_drum - y->is_drum;
  if (x->program != y->program)
    return x->program - y->program;
  if (x->pitch != y->pitch)
    return x->pitch - y->pitch;
  if (x->on != y->on)
    return x->on < y->on ? -1 : 1;
  return (x->off < y->off) - (x->off > y->off);
}

static gint
compare_edges (gconstpointer a, gconstpointer b)
{
  const Edge *x = a, *y = b;

  if (x->step != y->step)
    return x->step < y->step ? -1 : 1;
  if (x->is_onset != y->is_onset)
    return x->is_onset - y->is_onset;
  return x->span < y->span ? -1 : 1;
}

static gboolean
same_key (const Span *a, const Span *b)
{
  return a->is_drum == b->is_drum && a->program == b->program &&
         a->pitch == b->pitch;
}

/* Leaves of each key the notes that a keyboard could play. @spans is sorted. */
static void
separate_spans (GArray *spans)
{
  guint kept = 0;

  for (guint i = 0; i < spans->len; i++) {
    Span *span = &g_array_index (spans, Span, i);
    Span *before = kept ? &g_array_index (spans, Span, kept - 1) : NULL;

    if (before && same_key (before, span)) {
      if (before->on == span->on)
        continue;
      before->off = MIN (before->off, span->on);
    }
    g_array_index (spans, Span, kept++) = *span;
  }
  g_array_set_size (spans, kept);
}

static GArray *
spans_new (const Mt3Note *notes, guint n_notes)
{
  GArray *spans = g_array_sized_new (FALSE, FALSE, sizeof (Span), n_notes);

  for (guint i = 0; i < n_notes; i++) {
    const Mt3Note *note = &notes[i];
    Span span = {
        .on = mt3_note_encoder_step (note->onset),
        .off = mt3_note_encoder_step (note->offset),
        .pitch = note->pitch,
        .program = note->is_drum ? 0 : note->program,
        .velocity = note->velocity,
        .is_drum = note->is_drum != FALSE,
    };

    span.off = MAX (span.off, span.on + 1);
    g_array_append_val (spans, span);
  }
  g_array_sort (spans, compare_spans);
  separate_spans (spans);
  return spans;
}

static gboolean
in_window (const Mt3NoteEncoding *encoding, gint64 step)
{
  return step >= encoding->first_step && step < encoding->end_step;
}

static GArray *
edges_new (const Mt3NoteEncoding *encoding, const GArray *spans)
{
  GArray *edges = g_array_new (FALSE, FALSE, sizeof (Edge));

  for (guint i = 0; i < spans->len; i++) {
    const Span *span = &g_array_index (spans, Span, i);
    Edge onset = {span->on, TRUE, i};
    Edge end = {span->off, FALSE, i};

    if (in_window (encoding, span->on))
      g_array_append_val (edges, onset);
    if (in_window (encoding, span->off) && !span->is_drum)
      g_array_append_val (edges, end);
  }
  g_array_sort (edges, compare_edges);
  return edges;
}

static void
write_event (Writer *writer, Mt3EventType type, guint value)
{
  guint token = mt3_vocabulary_token (
      writer->encoding->velocity_bins, (Mt3Event){type, value});

  if (writer->n_tokens < writer->max_tokens)
    writer->tokens[writer->n_tokens] = token;
  writer->n_tokens++;
}

/* Shifts count from the window's start, so one that is too long for a token is
 * the sum of several. */
static void
write_shift (Writer *writer, gint64 step)
{
  gint64 left = step - writer->encoding->first_step;

  if (step == writer->step)
    return;
  for (; left > 0; left -= MIN (left, MT3_MAX_SHIFT))
    write_event (writer, MT3_EVENT_SHIFT, MIN (left, MT3_MAX_SHIFT));
  writer->step = step;
}

static void
write_program (Writer *writer, guint program)
{
  if (writer->program != (gint) program)
    write_event (writer, MT3_EVENT_PROGRAM, program);
  writer->program = program;
}

static void
write_velocity (Writer *writer, guint velocity)
{
  /* Bin 0 means note-off; every audible velocity rounds up. */
  guint bins = writer->encoding->velocity_bins;
  guint bin = (velocity * bins + MAX_VELOCITY - 1) / MAX_VELOCITY;

  if (writer->velocity != (gint) bin)
    write_event (writer, MT3_EVENT_VELOCITY, bin);
  writer->velocity = bin;
}

static void
write_ties (Writer *writer, const GArray *spans)
{
  gint64 first = writer->encoding->first_step;

  for (guint i = 0; i < spans->len; i++) {
    const Span *span = &g_array_index (spans, Span, i);

    if (span->is_drum || span->on >= first || span->off < first)
      continue;
    write_program (writer, span->program);
    write_event (writer, MT3_EVENT_PITCH, span->pitch);
  }
  write_event (writer, MT3_EVENT_TIE, 0);
}

static void
write_edge (Writer *writer, const Edge *edge, const Span *span)
{
  write_shift (writer, edge->step);
  if (!span->is_drum)
    write_program (writer, span->program);
  write_velocity (writer, edge->is_onset ? MAX (1, span->velocity) : 0);
  write_event (
      writer, span->is_drum ? MT3_EVENT_DRUM : MT3_EVENT_PITCH, span->pitch);
}

guint
mt3_note_encoder_encode (const Mt3NoteEncoding *encoding, const Mt3Note *notes,
    guint n_notes, guint16 *tokens, guint max_tokens)
{
  g_autoptr (GArray) spans = spans_new (notes, n_notes);
  g_autoptr (GArray) edges = edges_new (encoding, spans);
  Writer writer = {
      .encoding = encoding,
      .tokens = tokens,
      .max_tokens = max_tokens,
      .step = encoding->first_step,
      .program = -1,
      .velocity = -1,
  };

  if (encoding->ties)
    write_ties (&writer, spans);
  for (guint i = 0; i < edges->len; i++) {
    const Edge *edge = &g_array_index (edges, Edge, i);

    write_edge (&writer, edge, &g_array_index (spans, Span, edge->span));
  }
  return writer.n_tokens;
}
