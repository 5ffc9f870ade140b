/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Windows of tokens: a byte of velocity bins, a byte of flags (1: ties, 2:
 * forget ended notes after every window), then tokens of two bytes, little
 * endian, of which WINDOW_END ends a window.
 */
#include "fuzz.h"
#include "notes/note-decoder.h"
#include "vocabulary/vocabulary.h"

#include <math.h>

#define HEADER_SIZE 2
#define WINDOW_END 0xffff
#define TIES 1
#define FORGET 2

/* What the callback was told. */
typedef struct {
  guint64 onsets;
  guint64 ends;
  gdouble latest_onset;
} Told;

static void
check_note (const Mt3Note *note, gboolean ended, gpointer user_data)
{
  Told *told = user_data;

  g_assert_cmpuint (note->pitch, <=, 127);
  g_assert_cmpuint (note->program, <=, 127);
  g_assert (note->velocity >= 1 && note->velocity <= 127);
  g_assert (note->confidence == 1.0f);
  if (ended) {
    told->ends++;
    g_assert (note->offset >= note->onset + 0.01);
  } else {
    g_assert_cmpuint (note->id, ==, ++told->onsets);
    g_assert (isnan (note->offset));
    g_assert (note->onset >= told->latest_onset);
    told->latest_onset = note->onset;
  }
}

/* Pushes window after window; returns how many. */
static guint64
push_windows (
    Mt3NoteDecoder *decoder, const guint8 *data, gsize size, gboolean forget)
{
  gsize n_tokens = size / 2;
  g_autofree guint16 *tokens = g_new (guint16, n_tokens + 1);
  guint64 n_windows = 0;
  gsize first = 0;

  for (gsize i = 0; i <= n_tokens; i++) {
    tokens[i] = i < n_tokens ? data[2 * i] | data[2 * i + 1] << 8 : WINDOW_END;
    if (tokens[i] != WINDOW_END)
      continue;
    mt3_note_decoder_push (decoder, n_windows++, i == n_tokens, tokens + first,
        NULL, (guint) (i - first), TRUE);
    first = i + 1;
    if (forget)
      mt3_note_decoder_forget_ended (decoder);
  }
  return n_windows;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  if (size < HEADER_SIZE)
    return 0;

  Mt3Config config = {.sample_rate = 16000,
      .hop_length = 128,
      .window_frames = 256,
      .velocity_bins = 1 + data[0] % 127,
      .ties = data[1] & TIES};
  Told told = {0};
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&config, check_note, &told);
  guint64 n_windows = push_windows (
      decoder, data + HEADER_SIZE, size - HEADER_SIZE, data[1] & FORGET);
  Mt3NoteDecoderStats stats;

  g_assert_cmpuint (
      mt3_note_decoder_n_active (decoder), ==, told.onsets - told.ends);
  mt3_note_decoder_finish (decoder);
  mt3_note_decoder_get_stats (decoder, &stats);
  g_assert_cmpuint (told.onsets, ==, told.ends);
  g_assert_cmpuint (stats.notes, ==, told.onsets);
  g_assert_cmpuint (stats.windows, ==, n_windows);
  g_assert_cmpuint (mt3_note_decoder_n_active (decoder), ==, 0);
  return 0;
}

static void
add_tokens (GPtrArray *seeds, guint velocity_bins, guint8 flags,
    const Mt3Event *events, guint n_events)
{
  GByteArray *seed = g_byte_array_new ();
  guint8 header[HEADER_SIZE] = {velocity_bins - 1, flags};

  g_byte_array_append (seed, header, sizeof header);
  for (guint i = 0; i < n_events; i++) {
    guint token = mt3_vocabulary_token (velocity_bins, events[i]);
    guint16 bytes = GUINT16_TO_LE (token ? token : WINDOW_END);

    g_byte_array_append (seed, (const guint8 *) &bytes, sizeof bytes);
  }
  g_ptr_array_add (seeds, g_byte_array_free_to_bytes (seed));
}

void
fuzz_seeds (GPtrArray *seeds)
{
  static const Mt3Event events[] = {
      {MT3_EVENT_TIE, 0},
      {MT3_EVENT_SHIFT, 50},
      {MT3_EVENT_PROGRAM, 40},
      {MT3_EVENT_VELOCITY, 1},
      {MT3_EVENT_PITCH, 60},
      {MT3_EVENT_PITCH, 64},
      {MT3_EVENT_DRUM, 36},
      {MT3_EVENT_SHIFT, 100},
      {MT3_EVENT_VELOCITY, 0},
      {MT3_EVENT_PITCH, 60},
      {MT3_EVENT_INVALID, 0}, /* the next window */
      {MT3_EVENT_PROGRAM, 40},
      {MT3_EVENT_PITCH, 64},
      {MT3_EVENT_TIE, 0},
      {MT3_EVENT_SHIFT, 1000},
      {MT3_EVENT_PITCH, 64},
  };

  add_tokens (seeds, 1, TIES, events, G_N_ELEMENTS (events));
  add_tokens (seeds, 127, FORGET, events, G_N_ELEMENTS (events));
}
