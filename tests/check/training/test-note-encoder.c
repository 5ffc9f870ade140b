/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * test-note-encoder.c: what the encoder writes, and that the product's decoder
 * reads the same notes back.
 */
#include "engine/decoding.h"
#include "notes/note-decoder.h"
#include "training/note-encoder.h"
#include "vocabulary/event-order.h"
#include "vocabulary/vocabulary.h"

#include <check.h>
#include <math.h>

#define MAX_TOKENS 4096

/* What a window's tokens say, in words. */
static gchar *
describe (guint bins, const guint16 *tokens, guint n_tokens)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < n_tokens; i++) {
    Mt3Event event = mt3_vocabulary_event (bins, tokens[i]);

    g_string_append_printf (text, "%s%s %u", i ? ", " : "",
        mt3_event_type_name (event.type), event.value);
  }
  return g_string_free (text, FALSE);
}

static gchar *
encode (const Mt3NoteEncoding *encoding, const Mt3Note *notes, guint n_notes)
{
  guint16 tokens[64];
  guint n_tokens = mt3_note_encoder_encode (
      encoding, notes, n_notes, tokens, G_N_ELEMENTS (tokens));

  ck_assert_uint_le (n_tokens, G_N_ELEMENTS (tokens));
  return describe (encoding->velocity_bins, tokens, n_tokens);
}

#define NOTE(on, off, key, vel, prog)                                          \
  {                                                                            \
    .onset = on, .offset = off, .pitch = key, .velocity = vel, .program = prog \
  }

static const struct {
  const gchar *name;
  guint bins;
  gint64 first, end;
  guint n_notes;
  Mt3Note notes[3];
  const gchar *tokens;
} cases[] = {
    {"silence is a lone tie", 1, 0, 204, 0, {}, "tie 0"},
    {"a note", 1, 0, 204, 1, {NOTE (0.10, 0.50, 60, 90, 0)},
        "tie 0, shift 10, program 0, velocity 1, pitch 60, shift 50, "
        "velocity 0, pitch 60"},
    {"no shift at the window's start", 1, 204, 409, 1,
        {NOTE (2.04, 9, 60, 90, 0)}, "tie 0, program 0, velocity 1, pitch 60"},
    {"what sounds is tied", 1, 204, 409, 1, {NOTE (1.0, 9.0, 60, 90, 3)},
        "program 3, pitch 60, tie 0"},
    {"a tie that ends where the window starts", 1, 204, 409, 1,
        {NOTE (1.0, 2.04, 60, 90, 3)},
        "program 3, pitch 60, tie 0, velocity 0, pitch 60"},
    {"ends come before onsets", 1, 0, 204, 2,
        {NOTE (0.1, 0.2, 64, 90, 0), NOTE (0.2, 9, 60, 90, 0)},
        "tie 0, shift 10, program 0, velocity 1, pitch 64, shift 20, "
        "velocity 0, pitch 64, velocity 1, pitch 60"},
    {"a drum has neither program nor end", 1, 0, 204, 1,
        {{.onset = 0.1,
            .offset = 0.4,
            .pitch = 38,
            .velocity = 90,
            .program = 9,
            .is_drum = TRUE}},
        "tie 0, shift 10, velocity 1, drum 38"},
    {"velocity bins round up", 8, 0, 204, 3,
        {NOTE (0, 9, 60, 1, 0), NOTE (0, 9, 61, 64, 0),
            NOTE (0, 9, 62, 127, 0)},
        "tie 0, program 0, velocity 1, pitch 60, velocity 5, pitch 61, "
        "velocity 8, pitch 62"},
    {"the next window's events are left out", 1, 0, 204, 1,
        {NOTE (2.04, 9, 60, 90, 0)}, "tie 0"},
    {"a repeated key ends the note before", 1, 0, 204, 2,
        {NOTE (0.1, 0.5, 60, 90, 0), NOTE (0.3, 9, 60, 90, 0)},
        "tie 0, shift 10, program 0, velocity 1, pitch 60, shift 30, "
        "velocity 0, pitch 60, velocity 1, pitch 60"},
    {"long shifts are sums", 1, 0, 4000, 1, {NOTE (12.5, 99, 60, 90, 0)},
        "tie 0, shift 1000, shift 250, program 0, velocity 1, pitch 60"},
};

START_TEST (test_tokens)
{
  Mt3NoteEncoding encoding = {
      cases[_i].bins, TRUE, cases[_i].first, cases[_i].end};
  g_autofree gchar *tokens =
      encode (&encoding, cases[_i].notes, cases[_i].n_notes);

  ck_assert_msg (g_str_equal (tokens, cases[_i].tokens), "%s:\n%s\n%s",
      cases[_i].name, tokens, cases[_i].tokens);
}
END_TEST

START_TEST (test_counts_what_does_not_fit)
{
  Mt3NoteEncoding encoding = {1, TRUE, 0, 204};
  Mt3Note note = NOTE (0.1, 0.5, 60, 90, 0);
  guint16 tokens[3] = {0, 0, 7};

  ck_assert_uint_eq (
      mt3_note_encoder_encode (&encoding, &note, 1, tokens, 2), 8);
  ck_assert_uint_eq (tokens[2], 7);
}
END_TEST

/* Notes that no keyboard could play: few keys, any times. */
static void
crowd_notes (GRand *random, Mt3Note *notes, guint n_notes)
{
  for (guint i = 0; i < n_notes; i++) {
    gdouble onset = g_rand_double_range (random, -2.0, 2.1);

    notes[i] = (Mt3Note){
        .onset = onset,
        .offset = onset + g_rand_double_range (random, 0.0, 1.0),
        .pitch = g_rand_int_range (random, 0, 4) * 42,
        .velocity = g_rand_int_range (random, 0, 128),
        .program = g_rand_int_range (random, 0, 3) * 63,
        .is_drum = g_rand_boolean (random),
    };
  }
}

static const guint order_bins[] = {1, 8, 16, 127};

START_TEST (test_every_text_keeps_the_order_that_samplers_know)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (_i);
  Mt3NoteEncoding encoding = {order_bins[_i], TRUE, 0, 205};
  Mt3TokenOrder order;
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.velocity_bins = order_bins[_i];
  config.ordered_events = TRUE;
  order = mt3_event_order (&config, NULL);
  for (guint round = 0; round < 1000; round++) {
    Mt3TokenState state = mt3_token_order_start (&order);
    guint16 tokens[MAX_TOKENS];
    Mt3Note notes[100];
    guint n_tokens;

    crowd_notes (random, notes, round % G_N_ELEMENTS (notes));
    n_tokens = mt3_note_encoder_encode (
        &encoding, notes, round % G_N_ELEMENTS (notes), tokens, MAX_TOKENS - 1);
    tokens[n_tokens] = MT3_TOKEN_EOS;
    for (guint i = 0; i <= n_tokens; i++) {
      ck_assert_msg (
          mt3_token_order_permits (&order, &state, tokens[i], MT3_TOKEN_EOS),
          "text %u: token %u is %u", round, i, tokens[i]);
      mt3_token_order_follow (&order, &state, tokens[i]);
    }
  }
}
END_TEST

/* Where the decoder takes window @index to start, in its own arithmetic. */
static gint64
window_step (const Mt3Config *config, guint64 index)
{
  gdouble start = (gdouble) (index * config->window_frames) /
                  ((gdouble) config->sample_rate / config->hop_length);

  return mt3_note_encoder_step (start - fmod (start, 0.01));
}

/* Notes of a piece as dense as MT3 allows, on the grid, no two on one key. */
static GArray *
random_notes (GRand *random, guint bins, gdouble duration)
{
  GArray *notes = g_array_new (FALSE, TRUE, sizeof (Mt3Note));

  for (guint voice = 0; voice < 24; voice++) {
    gboolean is_drum = voice >= 20;
    gint64 step = g_rand_int_range (random, 0, 50);

    while (step < duration * MT3_SHIFTS_PER_SECOND) {
      gint64 end = step + 1 + g_rand_int_range (random, 0, is_drum ? 1 : 300);
      Mt3Note note = {
          .onset = step / 100.0,
          .offset = end / 100.0,
          .pitch = 40 + voice * 2,
          .velocity = mt3_vocabulary_velocity (
              bins, g_rand_int_range (random, 1, bins + 1)),
          .program = is_drum ? 0 : voice % 5 * 8,
          .is_drum = is_drum,
      };

      g_array_append_val (notes, note);
      step = end + g_rand_int_range (random, 0, 60);
    }
  }
  return notes;
}

static gint
compare_notes (gconstpointer a, gconstpointer b)
{
  const Mt3Note *x = a, *y = b;

  if (x->pitch != y->pitch)
    return x->pitch - y->pitch;
  return (x->onset > y->onset) - (x->onset < y->onset);
}

static GArray *
round_trip (const Mt3Config *config, const GArray *notes, guint n_windows)
{
  Mt3NoteDecoder *decoder = mt3_note_decoder_new (config, NULL, NULL);
  GArray *decoded = g_array_new (FALSE, FALSE, sizeof (Mt3Note));
  Mt3NoteDecoderStats stats;
  guint n_decoded;

  for (guint i = 0; i < n_windows; i++) {
    gboolean last = i + 1 == n_windows;
    guint16 tokens[MAX_TOKENS];
    Mt3NoteEncoding encoding = {config->velocity_bins, TRUE,
        window_step (config, i),
        last ? G_MAXINT64 : window_step (config, i + 1)};
    guint n_tokens = mt3_note_encoder_encode (&encoding,
        (const Mt3Note *) notes->data, notes->len, tokens, MAX_TOKENS);

    ck_assert_uint_le (n_tokens, MAX_TOKENS);
    mt3_note_decoder_push (decoder, i, last, tokens, NULL, n_tokens, TRUE);
  }
  mt3_note_decoder_finish (decoder);
  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.invalid_events, 0);
  ck_assert_uint_eq (stats.dropped_events, 0);

  const Mt3Note *data = mt3_note_decoder_notes (decoder, &n_decoded);
  g_array_append_vals (decoded, data, n_decoded);
  mt3_note_decoder_free (decoder);
  g_array_sort (decoded, compare_notes);
  return decoded;
}

static const guint round_trip_bins[] = {1, 8, 16, 127};

START_TEST (test_decoder_reads_the_same_notes)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (_i);
  guint n_windows = 40; /* every phase between windows and grid */
  Mt3Config config;
  mt3_config_init_multitrack (&config);
  config.velocity_bins = round_trip_bins[_i];
  g_autoptr (GArray) notes =
      random_notes (random, config.velocity_bins, n_windows * 2.048);
  g_autoptr (GArray) decoded = round_trip (&config, notes, n_windows);

  g_array_sort (notes, compare_notes);
  ck_assert_uint_eq (decoded->len, notes->len);
  for (guint i = 0; i < notes->len; i++) {
    const Mt3Note *a = &g_array_index (notes, Mt3Note, i);
    const Mt3Note *b = &g_array_index (decoded, Mt3Note, i);

    ck_assert_uint_eq (a->pitch, b->pitch);
    ck_assert_uint_eq (a->program, b->program);
    ck_assert_uint_eq (a->velocity, b->velocity);
    ck_assert_int_eq (a->is_drum, b->is_drum);
    ck_assert_double_eq_tol (a->onset, b->onset, 1e-6);
    ck_assert_double_eq_tol (a->offset, b->offset, 1e-6);
  }
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("note encoder");
  TCase *tokens = tcase_create ("tokens");
  TCase *trip = tcase_create ("round trip");

  tcase_add_loop_test (tokens, test_tokens, 0, G_N_ELEMENTS (cases));
  tcase_add_test (tokens, test_counts_what_does_not_fit);
  tcase_add_loop_test (tokens,
      test_every_text_keeps_the_order_that_samplers_know, 0,
      G_N_ELEMENTS (order_bins));
  suite_add_tcase (suite, tokens);
  tcase_add_loop_test (trip, test_decoder_reads_the_same_notes, 0,
      G_N_ELEMENTS (round_trip_bins));
  suite_add_tcase (suite, trip);

  SRunner *runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  int failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? 1 : 0;
}
