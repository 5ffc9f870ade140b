/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note-decoder.c: a state machine over tokens; see note-decoder.h for whose.
 */
#include "notes/note-decoder.h"
#include "vocabulary/vocabulary.h"

#include <math.h>

#define MIN_DURATION 0.01
#define INITIAL_VELOCITY 100

/* A note that sounds. The order of `active` is that of a Python dict, because
 * the order in which notes end is part of the reference's result. */
typedef struct {
  Mt3Note note;
  gboolean declared; /* by this window's tie section */
  GList link; /* in decoder->active */
} ActiveNote;

struct _Mt3NoteDecoder {
  gdouble origin; /* when window 0 begins */
  gdouble frames_per_second;
  guint window_frames;
  guint velocity_bins;
  gboolean ties;
  Mt3TokenSet *allowed;
  Mt3NoteCallback callback;
  gpointer user_data;

  /* Carried from window to window */
  gdouble now;
  guint velocity; /* 0: the next pitches are note-offs */
  guint program;
  guint last_id;
  GHashTable *active_by_key; /* (pitch, program) to ActiveNote (owned) */
  GQueue active; /* the same in the order of onsets */

  /* Of the window being decoded; times in seconds */
  gdouble start;
  gdouble limit; /* what lies later belongs to the next window */
  guint64 shift; /* steps since the last other event */
  gdouble time; /* start plus the shifts */
  gboolean in_tie_section;
  gboolean empty;
  gdouble log_prob; /* of the tokens since the last pitch or drum */

  GArray *ended; /* Mt3Note */
  Mt3NoteDecoderStats stats;
};

static gpointer
note_key (guint pitch, guint program)
{
  return GUINT_TO_POINTER (program << 7 | pitch);
}

static ActiveNote *
find_active (Mt3NoteDecoder *decoder, guint pitch)
{
  return g_hash_table_lookup (
      decoder->active_by_key, note_key (pitch, decoder->program));
}

static void
report (Mt3NoteDecoder *decoder, const Mt3Note *note, gboolean ended)
{
  if (ended)
    g_array_append_vals (decoder->ended, note, 1);
  if (decoder->callback)
    decoder->callback (note, ended, decoder->user_data);
}

/* Numbers and reports a note that begins now. */
static Mt3Note
begin_note (Mt3NoteDecoder *decoder, guint pitch, guint program, gboolean drum)
{
  Mt3Note note = {
      .id = ++decoder->last_id,
      .onset = decoder->now,
      .offset = NAN,
      .pitch = pitch,
      .velocity = decoder->velocity,
      .program = program,
      .is_drum = drum,
      .confidence = fmin (1.0, exp (decoder->log_prob)),
  };

  decoder->stats.notes++;
  report (decoder, &note, FALSE);
  return note;
}

static void
end_note (Mt3NoteDecoder *decoder, Mt3Note *note, gdouble offset)
{
  note->offset = MAX (offset, note->onset + MIN_DURATION);
  report (decoder, note, TRUE);
}

static void
end_active (Mt3NoteDecoder *decoder, ActiveNote *active, gdouble offset)
{
  end_note (decoder, &active->note, offset);
  g_queue_unlink (&decoder->active, &active->link);
  g_hash_table_remove (decoder->active_by_key,
      note_key (active->note.pitch, active->note.program));
}

static void
begin_active (Mt3NoteDecoder *decoder, guint pitch)
{
  ActiveNote *active = g_new0 (ActiveNote, 1);

  active->note = begin_note (decoder, pitch, decoder->program, FALSE);
  active->link.data = active;
  g_queue_push_tail_link (&decoder->active, &active->link);
  g_hash_table_insert (
      decoder->active_by_key, note_key (pitch, decoder->program), active);
}

static gboolean
is_program_allowed (const Mt3NoteDecoder *decoder)
{
  Mt3Event event = {MT3_EVENT_PROGRAM, decoder->program};

  return !decoder->allowed ||
         mt3_token_set_contains (decoder->allowed,
             mt3_vocabulary_token (decoder->velocity_bins, event));
}

/* The events below return FALSE when the event does not fit. */

static gboolean
decode_pitch (Mt3NoteDecoder *decoder, guint pitch)
{
  ActiveNote *active = find_active (decoder, pitch);

  if (decoder->in_tie_section) {
    if (!active || active->declared)
      return FALSE;
    active->declared = TRUE;
    return TRUE;
  }
  if (decoder->velocity == 0 ? !active : !is_program_allowed (decoder))
    return FALSE;
  if (active)
    end_active (decoder, active, decoder->now);
  if (decoder->velocity > 0)
    begin_active (decoder, pitch);
  return TRUE;
}

static gboolean
decode_drum (Mt3NoteDecoder *decoder, guint key)
{
  if (decoder->velocity == 0)
    return FALSE;

  Mt3Note note = begin_note (decoder, key, 0, TRUE);
  end_note (decoder, &note, note.onset);
  return TRUE;
}

/* Ends what the tie section did not declare as continuing. */
static gboolean
decode_tie (Mt3NoteDecoder *decoder)
{
  if (!decoder->in_tie_section)
    return FALSE;

  for (GList *l = decoder->active.head, *next; l; l = next) {
    ActiveNote *active = l->data;
    next = l->next;
    if (!active->declared)
      end_active (decoder, active, decoder->now);
  }
  decoder->in_tie_section = FALSE;
  return TRUE;
}

/* Everything but shifts, at decoder->time. */
static gboolean
decode_event (Mt3NoteDecoder *decoder, Mt3Event event)
{
  decoder->shift = 0;
  if (decoder->time < decoder->now)
    return FALSE;
  decoder->now = decoder->time;

  switch (event.type) {
    case MT3_EVENT_PITCH:
      return decode_pitch (decoder, event.value);
    case MT3_EVENT_DRUM:
      return decode_drum (decoder, event.value);
    case MT3_EVENT_VELOCITY:
      decoder->velocity =
          mt3_vocabulary_velocity (decoder->velocity_bins, event.value);
      return TRUE;
    case MT3_EVENT_PROGRAM:
      decoder->program = event.value;
      return TRUE;
    case MT3_EVENT_TIE:
      return decode_tie (decoder);
    case MT3_EVENT_SHIFT:
    case MT3_EVENT_INVALID:
      break;
  }
  g_return_val_if_reached (FALSE);
}

/* Decodes one token. FALSE: its time lies beyond the window. */
static gboolean
decode_token (Mt3NoteDecoder *decoder, guint token)
{
  Mt3Event event = mt3_vocabulary_event (decoder->velocity_bins, token);

  if (event.type == MT3_EVENT_SHIFT) {
    decoder->shift += event.value;
    decoder->time =
        decoder->start + (gdouble) decoder->shift / MT3_SHIFTS_PER_SECOND;
    return decoder->time <= decoder->limit;
  }

  gboolean is_note =
      event.type == MT3_EVENT_PITCH || event.type == MT3_EVENT_DRUM;
  if (event.type == MT3_EVENT_INVALID || !decode_event (decoder, event))
    decoder->stats.invalid_events++;
  else if (is_note)
    decoder->empty = FALSE;
  if (is_note)
    decoder->log_prob = 0.0;
  return TRUE;
}

/* When a window starts, rounded down to a shift step in the reference's
 * arithmetic, which for some windows gives a step too early. */
static gdouble
window_start (const Mt3NoteDecoder *decoder, guint64 index)
{
  gdouble start =
      (gdouble) (index * decoder->window_frames) / decoder->frames_per_second;

  return decoder->origin + (start - fmod (start, 1.0 / MT3_SHIFTS_PER_SECOND));
}

static void
begin_window (Mt3NoteDecoder *decoder, guint64 index, gboolean last)
{
  gdouble next_start = window_start (decoder, index + 1);

  decoder->start = decoder->time = window_start (decoder, index);
  /* To the reference, a next window that starts at 0 is none. */
  decoder->limit =
      last || next_start == decoder->origin ? INFINITY : next_start;
  decoder->shift = 0;
  decoder->log_prob = 0.0;
  decoder->empty = TRUE;
  decoder->in_tie_section = decoder->ties;
  for (GList *l = decoder->active.head; l; l = l->next)
    ((ActiveNote *) l->data)->declared = FALSE;
}

void
mt3_note_decoder_push (Mt3NoteDecoder *decoder, guint64 index, gboolean last,
    const guint16 *tokens, const gfloat *log_probs, guint n_tokens,
    gboolean ended)
{
  begin_window (decoder, index, last);
  for (guint i = 0; i < n_tokens; i++) {
    if (log_probs)
      decoder->log_prob += log_probs[i];
    if (!decode_token (decoder, tokens[i])) {
      decoder->stats.dropped_events += n_tokens - i;
      break;
    }
  }
  decoder->stats.windows++;
  decoder->stats.empty_windows += decoder->empty;
  decoder->stats.unfinished_windows += !ended;
}

static void
end_all (Mt3NoteDecoder *decoder)
{
  while (!g_queue_is_empty (&decoder->active))
    end_active (decoder, g_queue_peek_head (&decoder->active), decoder->now);
}

void
mt3_note_decoder_interrupt (Mt3NoteDecoder *decoder, guint64 index)
{
  decoder->now = MAX (decoder->now, window_start (decoder, index));
  end_all (decoder);
}

static void
set_model (Mt3NoteDecoder *decoder, const Mt3Config *config, gdouble start)
{
  decoder->origin = start;
  decoder->frames_per_second =
      (gdouble) config->sample_rate / config->hop_length;
  decoder->window_frames = config->window_frames;
  decoder->velocity_bins = config->velocity_bins;
  decoder->ties = config->ties;
}

void
mt3_note_decoder_change_model (
    Mt3NoteDecoder *decoder, const Mt3Config *config, gdouble start)
{
  set_model (decoder, config, start);
  mt3_note_decoder_interrupt (decoder, 0);
  decoder->now = start;
  decoder->velocity = INITIAL_VELOCITY;
  decoder->program = 0;
}

void
mt3_note_decoder_push_silence (Mt3NoteDecoder *decoder, guint64 index)
{
  mt3_note_decoder_interrupt (decoder, index);
  decoder->stats.windows++;
  decoder->stats.silent_windows++;
}

void
mt3_note_decoder_set_allowed (
    Mt3NoteDecoder *decoder, const Mt3TokenSet *allowed)
{
  Mt3TokenSet *old = decoder->allowed;

  decoder->allowed = mt3_token_set_ref (allowed);
  mt3_token_set_unref (old);
}

void
mt3_note_decoder_finish (Mt3NoteDecoder *decoder)
{
  for (GList *l = decoder->active.head; l; l = l->next) {
    gdouble soonest = ((ActiveNote *) l->data)->note.onset + MIN_DURATION;
    decoder->now = MAX (decoder->now, soonest);
  }
  end_all (decoder);
}

void
mt3_note_decoder_reset (Mt3NoteDecoder *decoder)
{
  decoder->now = 0.0;
  decoder->velocity = INITIAL_VELOCITY;
  decoder->program = 0;
  decoder->last_id = 0;
  g_queue_init (&decoder->active);
  g_hash_table_remove_all (decoder->active_by_key);
  g_array_set_size (decoder->ended, 0);
  decoder->stats = (Mt3NoteDecoderStats){0};
}

Mt3NoteDecoder *
mt3_note_decoder_new (
    const Mt3Config *config, Mt3NoteCallback callback, gpointer user_data)
{
  Mt3NoteDecoder *decoder = g_new0 (Mt3NoteDecoder, 1);

  set_model (decoder, config, 0.0);
  decoder->callback = callback;
  decoder->user_data = user_data;
  decoder->active_by_key = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  decoder->ended = g_array_new (FALSE, FALSE, sizeof (Mt3Note));
  mt3_note_decoder_reset (decoder);
  return decoder;
}

void
mt3_note_decoder_free (Mt3NoteDecoder *decoder)
{
  mt3_token_set_unref (decoder->allowed);
  g_hash_table_unref (decoder->active_by_key);
  g_array_unref (decoder->ended);
  g_free (decoder);
}

const Mt3Note *
mt3_note_decoder_notes (const Mt3NoteDecoder *decoder, guint *n_notes)
{
  *n_notes = decoder->ended->len;
  return (const Mt3Note *) decoder->ended->data;
}

guint
mt3_note_decoder_n_active (const Mt3NoteDecoder *decoder)
{
  return decoder->active.length;
}

GArray *
mt3_note_decoder_active_notes (const Mt3NoteDecoder *decoder)
{
  GArray *notes = g_array_sized_new (
      FALSE, FALSE, sizeof (Mt3Note), decoder->active.length);

  for (const GList *l = decoder->active.head; l; l = l->next)
    g_array_append_vals (notes, &((const ActiveNote *) l->data)->note, 1);
  return notes;
}

void
mt3_note_decoder_forget_ended (Mt3NoteDecoder *decoder)
{
  g_array_set_size (decoder->ended, 0);
}

void
mt3_note_decoder_get_stats (
    const Mt3NoteDecoder *decoder, Mt3NoteDecoderStats *stats)
{
  *stats = decoder->stats;
}
