/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The rules of decoding, one case each. Tokens are written as words, windows
 * are separated by "|"; notes as "onset-end key@program velocity" or, for
 * drums, "onset-end drum key velocity". What is expected was checked against
 * the decoder of the reference.
 */
#include "notes/note-decoder.h"
#include "vocabulary/vocabulary.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 256 frames of 128 samples: windows start at 0, 2.04 (2.048 rounded down),
 * 4.09, 6.14 ... */
static const Mt3Config multitrack = {
    .sample_rate = 16000,
    .hop_length = 128,
    .window_frames = 256,
    .velocity_bins = 1,
    .ties = TRUE,
};

/* Windows start at 0, 4.09, 8.19 ... */
static const Mt3Config piano = {
    .sample_rate = 16000,
    .hop_length = 128,
    .window_frames = 512,
    .velocity_bins = 127,
    .ties = FALSE,
};

/* "pitch:60" to its token; "tie", "end" and "id:N" (any id) too. */
static guint16
parse_token (guint velocity_bins, const gchar *word)
{
  const gchar *colon = strchr (word, ':');
  Mt3Event event = {MT3_EVENT_INVALID, 0};

  if (colon)
    event.value = g_ascii_strtoull (colon + 1, NULL, 10);
  if (g_str_has_prefix (word, "id:"))
    return event.value;
  for (guint type = MT3_EVENT_SHIFT; type <= MT3_EVENT_DRUM; type++) {
    if (g_str_has_prefix (word, mt3_event_type_name (type)))
      event.type = type;
  }
  guint token = mt3_vocabulary_token (velocity_bins, event);
  ck_assert_msg (token != 0, "no such event: %s", word);
  return token;
}

static GArray *
parse_window (guint velocity_bins, const gchar *text)
{
  GArray *tokens = g_array_new (FALSE, FALSE, sizeof (guint16));
  g_auto (GStrv) words = g_strsplit (text, " ", -1);

  for (gchar **word = words; *word; word++) {
    if (**word) {
      guint16 token = parse_token (velocity_bins, *word);
      g_array_append_val (tokens, token);
    }
  }
  return tokens;
}

static void
push_text (Mt3NoteDecoder *decoder, const Mt3Config *config, guint64 index,
    gboolean last, const gchar *text)
{
  g_autoptr (GArray) tokens = parse_window (config->velocity_bins, text);

  mt3_note_decoder_push (decoder, index, last, (const guint16 *) tokens->data,
      NULL, tokens->len, TRUE);
}

static void
push_windows (
    Mt3NoteDecoder *decoder, const Mt3Config *config, const gchar *text)
{
  g_auto (GStrv) windows = g_strsplit (text, "|", -1);
  guint n = g_strv_length (windows);

  for (guint i = 0; i < n; i++)
    push_text (decoder, config, i, i + 1 == n, windows[i]);
}

static void
append_note (GString *text, const Mt3Note *note)
{
  if (text->len > 0)
    g_string_append (text, ", ");
  g_string_append_printf (text, "%.2f-%.2f ", note->onset, note->offset);
  if (note->is_drum) {
    ck_assert_uint_eq (note->program, 0);
    g_string_append_printf (text, "drum %u ", note->pitch);
  } else {
    g_string_append_printf (text, "%u@%u ", note->pitch, note->program);
  }
  g_string_append_printf (text, "%u", note->velocity);
}

static gchar *
describe_notes (const Mt3NoteDecoder *decoder)
{
  guint n_notes;
  const Mt3Note *notes = mt3_note_decoder_notes (decoder, &n_notes);
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < n_notes; i++)
    append_note (text, &notes[i]);
  return g_string_free (text, FALSE);
}

#define ON "velocity:1 "
#define OFF "velocity:0 "

static const struct {
  const gchar *rule;
  const Mt3Config *config;
  const gchar *windows;
  const gchar *notes;
  guint invalid, dropped;
} rules[] = {
    /* Onsets and ends */
    {"an off ends its note", &multitrack,
        "tie shift:50 " ON "pitch:60 shift:100 " OFF "pitch:60",
        "0.50-1.00 60@0 127"},
    {"velocity starts at 100, program at 0", &multitrack,
        "tie shift:10 pitch:60", "0.10-0.11 60@0 100"},
    {"velocity and program last from window to window", &multitrack,
        "tie program:40 " ON "pitch:60 " OFF "|"
        "pitch:60 tie shift:10 pitch:60 " ON "|tie pitch:61",
        "0.00-2.14 60@40 127, 4.09-4.10 61@40 127"},
    {"an onset ends a sounding note of its key", &multitrack,
        "tie " ON "pitch:60 shift:50 pitch:60 shift:80 " OFF "pitch:60",
        "0.00-0.50 60@0 127, 0.50-0.80 60@0 127"},
    {"programs have keys of their own", &multitrack,
        "tie program:1 " ON "pitch:60 program:2 pitch:60 shift:50 " OFF
        "pitch:60 shift:60 program:1 pitch:60",
        "0.00-0.50 60@2 127, 0.00-0.60 60@1 127"},
    {"an off without a note is invalid", &multitrack, "tie " OFF "pitch:60", "",
        1},
    {"a note keeps the velocity of its onset", &piano,
        "velocity:30 pitch:60 shift:10 velocity:90 pitch:61 "
        "shift:20 velocity:0 pitch:60 pitch:61",
        "0.00-0.20 60@0 30, 0.10-0.20 61@0 90"},
    {"no note is shorter than 10 ms", &multitrack,
        "tie " ON "shift:50 pitch:60 " OFF "pitch:60", "0.50-0.51 60@0 127"},

    /* Drums */
    {"a drum lasts 10 ms and has no off", &multitrack,
        "tie shift:50 " ON "drum:36 drum:42",
        "0.50-0.51 drum 36 127, 0.50-0.51 drum 42 127"},
    {"a drum has program 0 whatever plays", &multitrack,
        "tie program:40 " ON "drum:38", "0.00-0.01 drum 38 127"},
    {"a drum with velocity 0 is invalid", &multitrack, "tie " OFF "drum:36", "",
        1},
    {"a drum may sound in a tie section", &multitrack, ON "drum:36 tie",
        "0.00-0.01 drum 36 127"},

    /* Time */
    {"shifts add up", &multitrack,
        "tie " ON "shift:50 shift:30 shift:0 pitch:60", "0.80-0.81 60@0 127"},
    {"shifts count from the window's start", &multitrack,
        "tie " ON "shift:50 pitch:60 shift:70 pitch:61",
        "0.50-0.71 60@0 127, 0.70-0.71 61@0 127"},
    {"any other event ends the sum of shifts", &multitrack,
        "tie shift:50 " ON "shift:70 pitch:60", "0.70-0.71 60@0 127"},
    {"an id outside the vocabulary does not end the sum", &multitrack,
        "tie " ON "shift:50 id:1500 shift:20 pitch:60", "0.70-0.71 60@0 127",
        1},
    {"an event that goes back in time is invalid", &multitrack,
        "tie " ON "shift:50 pitch:60 shift:40 pitch:61 shift:60 pitch:62",
        "0.50-0.61 60@0 127, 0.60-0.61 62@0 127", 1},
    {"a velocity that goes back in time does not count", &multitrack,
        "tie shift:50 " ON "shift:40 " OFF "shift:60 pitch:60",
        "0.60-0.61 60@0 127", 1},
    {"a window starts on a step of 10 ms, rounded down", &multitrack,
        "||" ON "tie pitch:60", "4.09-4.10 60@0 127"},
    {"30.72 rounds down to 30.71, as in the reference", &multitrack,
        "|||||||||||||||" ON "tie pitch:60", "30.71-30.72 60@0 127"},
    {"the next window's start itself belongs to the window", &multitrack,
        "tie " ON "shift:204 pitch:60|tie", "2.04-2.05 60@0 127"},
    {"what lies past the next window's start is dropped", &multitrack,
        "tie " ON "pitch:60 shift:205 pitch:61 pitch:62|tie shift:10 " OFF
        "pitch:60",
        "0.00-2.04 60@0 127", 1, 3},
    {"nothing is dropped from the last window", &multitrack,
        "tie " ON "shift:1000 pitch:60", "10.00-10.01 60@0 127"},
    {"after a late last event the next window goes back in time", &multitrack,
        "tie shift:204 " ON "pitch:60|pitch:60 tie shift:50 " OFF "pitch:60",
        "2.04-2.54 60@0 127"},

    /* Ties */
    {"a declared note goes on", &multitrack,
        "tie " ON "pitch:60|pitch:60 tie shift:50 " OFF "pitch:60",
        "0.00-2.54 60@0 127"},
    {"a note that is not declared ends with the tie section", &multitrack,
        "tie " ON "pitch:60 pitch:62|pitch:60 tie|pitch:60 tie",
        "0.00-2.04 62@0 127, 0.00-4.09 60@0 127"},
    {"a note is declared under its program", &multitrack,
        "tie program:5 " ON "pitch:60|program:6 pitch:60 tie",
        "0.00-2.04 60@5 127", 1},
    {"declaring what does not sound is invalid", &multitrack,
        "pitch:61 tie " ON "pitch:60", "0.00-0.01 60@0 127", 1},
    {"declaring twice is invalid", &multitrack,
        "tie " ON "pitch:60|pitch:60 pitch:60 tie shift:10 " OFF "pitch:60",
        "0.00-2.14 60@0 127", 1},
    {"declaring in one window does not count in the next", &multitrack,
        "tie " ON "pitch:60|pitch:60 tie|tie", "0.00-4.09 60@0 127"},
    {"a tie section ends where the time has got to", &multitrack,
        "tie " ON "pitch:60|shift:30 tie", "0.00-2.34 60@0 127"},
    {"a second tie is invalid", &multitrack, "tie tie", "", 1},
    {"a window without a tie ends nothing and begins nothing", &multitrack,
        "tie " ON "pitch:60|pitch:61|pitch:60 tie shift:10 " OFF "pitch:60",
        "0.00-4.19 60@0 127", 1},
    {"an empty window ends nothing", &multitrack,
        "tie " ON "pitch:60||pitch:60 tie shift:10 " OFF "pitch:60",
        "0.00-4.19 60@0 127"},
    {"without ties notes go on by themselves", &piano,
        "velocity:80 pitch:60|shift:10 pitch:62|velocity:0 pitch:60 pitch:62",
        "0.00-8.19 60@0 80, 4.19-8.19 62@0 80"},
    {"without ties a tie is invalid", &piano, "tie velocity:80 pitch:60",
        "0.00-0.01 60@0 80", 1},

    {"an onset that is repeated at one moment is another note", &multitrack,
        "tie " ON "shift:10 pitch:60 pitch:60 drum:36 drum:36",
        "0.10-0.11 60@0 127, 0.10-0.11 drum 36 127, 0.10-0.11 drum 36 127, "
        "0.10-0.11 60@0 127"},

    /* The end of the audio */
    {"the end ends what sounds at the current time", &multitrack,
        "tie " ON "pitch:60 shift:50 pitch:62 shift:90 " OFF "pitch:62",
        "0.50-0.90 62@0 127, 0.00-0.90 60@0 127"},
    {"but not before 10 ms after the latest onset", &multitrack,
        "tie " ON "pitch:60 shift:50 pitch:62",
        "0.00-0.51 60@0 127, 0.50-0.51 62@0 127"},
    {"notes end in the order of their onsets", &multitrack,
        "tie " ON "pitch:62 pitch:60 pitch:61 shift:10 pitch:62|tie",
        "0.00-0.10 62@0 127, 0.00-2.04 60@0 127, 0.00-2.04 61@0 127, "
        "0.10-2.04 62@0 127"},

    /* Nonsense */
    {"specials and ids outside the vocabulary are invalid", &multitrack,
        "id:0 id:1 id:2 id:1391 id:1535 id:65535 tie " ON "pitch:60",
        "0.00-0.01 60@0 127", 6},
    {"the piano model's ids reach further", &piano,
        "velocity:127 id:1516 id:1517", "0.00-0.01 drum 127 127", 1},
    {"nothing gives nothing", &multitrack, "", ""},
};

START_TEST (test_rule)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (rules[_i].config, NULL, NULL);
  Mt3NoteDecoderStats stats;

  push_windows (decoder, rules[_i].config, rules[_i].windows);
  mt3_note_decoder_finish (decoder);

  g_autofree gchar *notes = describe_notes (decoder);
  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_msg (strcmp (notes, rules[_i].notes) == 0,
      "%s: expected \"%s\", got \"%s\"", rules[_i].rule, rules[_i].notes,
      notes);
  ck_assert_msg (stats.invalid_events == rules[_i].invalid,
      "%s: %" G_GUINT64_FORMAT " invalid events", rules[_i].rule,
      stats.invalid_events);
  ck_assert_msg (stats.dropped_events == rules[_i].dropped,
      "%s: %" G_GUINT64_FORMAT " dropped events", rules[_i].rule,
      stats.dropped_events);
}
END_TEST

START_TEST (test_velocity_bins_and_programs_come_back_exactly)
{
  for (guint velocity = 1; velocity <= 127; velocity++) {
    g_autoptr (Mt3NoteDecoder) decoder =
        mt3_note_decoder_new (&piano, NULL, NULL);
    g_autofree gchar *text =
        g_strdup_printf ("program:%u velocity:%u pitch:%u drum:%u", velocity,
            velocity, velocity, velocity);
    g_autofree gchar *expected =
        g_strdup_printf ("0.00-0.01 drum %u %u, 0.00-0.01 %u@%u %u", velocity,
            velocity, velocity, velocity, velocity);

    push_windows (decoder, &piano, text);
    mt3_note_decoder_finish (decoder);
    g_autofree gchar *notes = describe_notes (decoder);
    ck_assert_str_eq (notes, expected);
  }
}
END_TEST

START_TEST (test_an_index_that_was_left_out_advances_time)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);

  push_text (decoder, &multitrack, 0, FALSE, "tie " ON "pitch:60");
  push_text (decoder, &multitrack, 3, TRUE, "tie pitch:62");
  mt3_note_decoder_finish (decoder);

  g_autofree gchar *notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "0.00-6.14 60@0 127, 6.14-6.15 62@0 127");
}
END_TEST

/* What a callback was told, one word a report: "+id" and "-id". */
static void
log_report (const Mt3Note *note, gboolean ended, gpointer user_data)
{
  ck_assert_int_eq (isnan (note->offset), !ended);
  g_string_append_printf (user_data, "%c%u ", ended ? '-' : '+', note->id);
}

START_TEST (test_reports_come_in_the_order_of_decoding)
{
  g_autoptr (GString) log = g_string_new (NULL);
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, log_report, log);

  push_text (decoder, &multitrack, 0, FALSE,
      "tie " ON "pitch:60 pitch:62 drum:36 shift:10 pitch:60");
  ck_assert_str_eq (log->str, "+1 +2 +3 -3 -1 +4 ");
  g_string_truncate (log, 0);
  push_text (decoder, &multitrack, 1, TRUE, "pitch:60 tie");
  ck_assert_str_eq (log->str, "-2 ");
  g_string_truncate (log, 0);
  mt3_note_decoder_finish (decoder);
  ck_assert_str_eq (log->str, "-4 ");
}
END_TEST

START_TEST (test_notes_that_sound_can_be_seen_before_they_end)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);

  push_text (decoder, &multitrack, 0, FALSE,
      "tie " ON "pitch:64 pitch:60 shift:10 pitch:64");
  g_autoptr (GArray) active = mt3_note_decoder_active_notes (decoder);

  ck_assert_uint_eq (active->len, 2);
  ck_assert_uint_eq (mt3_note_decoder_n_active (decoder), 2);
  ck_assert_uint_eq (g_array_index (active, Mt3Note, 0).id, 2);
  ck_assert_uint_eq (g_array_index (active, Mt3Note, 1).id, 3);
  ck_assert (isnan (g_array_index (active, Mt3Note, 1).offset));
}
END_TEST

START_TEST (test_a_silent_window_ends_what_sounds)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autofree gchar *notes = NULL;
  Mt3NoteDecoderStats stats;

  push_text (
      decoder, &multitrack, 0, FALSE, "tie shift:100 " ON "pitch:60 pitch:64");
  mt3_note_decoder_push_silence (decoder, 1);
  mt3_note_decoder_push_silence (decoder, 2);
  push_text (decoder, &multitrack, 3, TRUE, "tie shift:10 pitch:60 pitch:65");
  mt3_note_decoder_finish (decoder);

  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "1.00-2.04 60@0 127, 1.00-2.04 64@0 127, "
                           "6.24-6.25 60@0 127, 6.24-6.25 65@0 127");
  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.windows, 4);
  ck_assert_uint_eq (stats.silent_windows, 2);
  ck_assert_uint_eq (stats.empty_windows, 0);
}
END_TEST

START_TEST (test_a_silent_window_ends_notes_without_ties_too)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&piano, NULL, NULL);
  g_autofree gchar *notes = NULL;

  push_text (decoder, &piano, 0, FALSE, "shift:100 velocity:90 pitch:60");
  mt3_note_decoder_push_silence (decoder, 1);
  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "1.00-4.09 60@0 90");
}
END_TEST

START_TEST (test_an_interruption_ends_what_sounds_and_is_no_window)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autofree gchar *notes = NULL;
  Mt3NoteDecoderStats stats;

  push_text (decoder, &multitrack, 0, FALSE, "tie shift:100 " ON "pitch:60");
  mt3_note_decoder_interrupt (decoder, 1);
  push_text (decoder, &multitrack, 5, TRUE, "pitch:60 tie shift:10 pitch:62");
  mt3_note_decoder_finish (decoder);

  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "1.00-2.04 60@0 127, 10.34-10.35 62@0 127");
  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.windows, 2);
  ck_assert_uint_eq (stats.invalid_events, 1);
}
END_TEST

/* As a new decoder that begins at 3 s, but for the ids. */
START_TEST (test_another_model_begins_where_it_is_told)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autofree gchar *text = NULL;
  const Mt3Note *notes;
  guint n_notes;

  push_text (decoder, &multitrack, 0, FALSE,
      "tie program:40 shift:100 " ON "pitch:60 " OFF);
  mt3_note_decoder_change_model (decoder, &piano, 3.0);
  push_text (decoder, &piano, 0, FALSE, "shift:50 pitch:60");
  push_text (decoder, &piano, 1, TRUE, "shift:10 velocity:90 pitch:62");
  mt3_note_decoder_finish (decoder);

  text = describe_notes (decoder);
  ck_assert_str_eq (
      text, "1.00-3.00 60@40 127, 3.50-7.20 60@0 100, 7.19-7.20 62@0 90");
  notes = mt3_note_decoder_notes (decoder, &n_notes);
  for (guint i = 0; i < n_notes; i++)
    ck_assert_uint_eq (notes[i].id, i + 1);
}
END_TEST

/* What the last window before says of later takes nothing from the next. */
START_TEST (test_another_model_begins_where_the_window_is_cut)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autofree gchar *notes = NULL;

  push_text (decoder, &multitrack, 0, TRUE,
      "tie " ON "shift:100 pitch:60 shift:150 pitch:61");
  mt3_note_decoder_change_model (decoder, &multitrack, 1.2);
  push_text (decoder, &multitrack, 0, TRUE,
      "tie " ON "pitch:62 shift:20 " OFF "pitch:62");
  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "1.00-1.50 60@0 127, 1.50-1.51 61@0 127, "
                           "1.20-1.40 62@0 127");
}
END_TEST

/* The last note of a window may lie after the next window's rounded start. */
START_TEST (test_silence_does_not_go_back_in_time)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autofree gchar *notes = NULL;

  push_text (decoder, &multitrack, 0, TRUE, "tie shift:300 " ON "pitch:60");
  mt3_note_decoder_push_silence (decoder, 1);
  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "3.00-3.01 60@0 127");
}
END_TEST

/* Allowed is program 40 alone. */
static const struct {
  const gchar *windows, *notes;
  guint invalid;
} allowed_rules[] = {
    {"tie program:40 " ON "pitch:60 shift:9 " OFF "pitch:60",
        "0.00-0.09 60@40 127", 0},
    {"tie " ON "pitch:60", "", 1}, /* program 0 was never named */
    {"tie program:5 " ON "pitch:60 program:40 pitch:61", "0.00-0.01 61@40 127",
        1},
    {"tie " ON "drum:36", "0.00-0.01 drum 36 127", 0},
};

START_TEST (test_notes_of_programs_that_are_not_allowed_are_invalid)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (1536);
  g_autofree gchar *notes = NULL;
  Mt3NoteDecoderStats stats;

  mt3_token_set_add (
      allowed, mt3_vocabulary_token (1, (Mt3Event){MT3_EVENT_PROGRAM, 40}));
  mt3_note_decoder_set_allowed (decoder, allowed);
  push_windows (decoder, &multitrack, allowed_rules[_i].windows);
  mt3_note_decoder_finish (decoder);
  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, allowed_rules[_i].notes);
  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.invalid_events, allowed_rules[_i].invalid);
}
END_TEST

START_TEST (test_what_sounds_goes_on_when_less_is_allowed)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autoptr (Mt3TokenSet) nothing = mt3_token_set_new (1536);
  g_autofree gchar *notes = NULL;

  push_text (decoder, &multitrack, 0, FALSE, "tie " ON "pitch:60");
  mt3_note_decoder_set_allowed (decoder, nothing);
  push_text (
      decoder, &multitrack, 1, TRUE, "pitch:60 tie shift:50 " OFF "pitch:60");
  notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "0.00-2.54 60@0 127");
}
END_TEST

START_TEST (test_statistics_count_windows_and_notes)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autoptr (GArray) cut = parse_window (1, "tie " ON "pitch:60");
  Mt3NoteDecoderStats stats;

  push_text (decoder, &multitrack, 0, FALSE, "");
  push_text (decoder, &multitrack, 1, FALSE, "tie " OFF "pitch:60");
  mt3_note_decoder_push (
      decoder, 2, TRUE, (const guint16 *) cut->data, NULL, cut->len, FALSE);

  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.windows, 3);
  ck_assert_uint_eq (stats.empty_windows, 2);
  ck_assert_uint_eq (stats.unfinished_windows, 1);
  ck_assert_uint_eq (stats.notes, 1);
  ck_assert_uint_eq (stats.invalid_events, 1);
}
END_TEST

START_TEST (test_confidence_is_the_product_since_the_note_before)
{
  static const gfloat p[] = {0.5f, 0.9f, 0.8f, 0.7f, 0.5f, 1.0f, 0.25f};
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autoptr (GArray) tokens = parse_window (
      1, "tie shift:10 " ON "pitch:60 pitch:62 program:3 drum:36");
  gfloat log_probs[G_N_ELEMENTS (p)];
  guint n_notes;

  for (guint i = 0; i < G_N_ELEMENTS (p); i++)
    log_probs[i] = logf (p[i]);
  mt3_note_decoder_push (decoder, 0, TRUE, (const guint16 *) tokens->data,
      log_probs, tokens->len, TRUE);
  mt3_note_decoder_finish (decoder);

  const Mt3Note *notes = mt3_note_decoder_notes (decoder, &n_notes);
  ck_assert_uint_eq (n_notes, 3);
  ck_assert_float_eq_tol (notes[0].confidence, 0.25f, 1e-6f);
  ck_assert_float_eq_tol (notes[1].confidence, 0.252f, 1e-6f);
  ck_assert_float_eq_tol (notes[2].confidence, 0.5f, 1e-6f);
}
END_TEST

START_TEST (test_confidence_is_1_without_probabilities)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  guint n_notes;

  push_windows (decoder, &multitrack, "tie " ON "drum:36");
  ck_assert_float_eq (
      mt3_note_decoder_notes (decoder, &n_notes)->confidence, 1.0f);
}
END_TEST

START_TEST (test_reset_is_like_new)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  const gchar *windows = "tie shift:100 " ON "program:7 pitch:60";
  Mt3NoteDecoderStats stats;

  push_windows (decoder, &multitrack, windows);
  mt3_note_decoder_reset (decoder);
  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.windows, 0);
  ck_assert_uint_eq (mt3_note_decoder_n_active (decoder), 0);

  push_windows (decoder, &multitrack, "tie pitch:60");
  mt3_note_decoder_finish (decoder);
  g_autofree gchar *notes = describe_notes (decoder);
  ck_assert_str_eq (notes, "0.00-0.01 60@0 100");
}
END_TEST

START_TEST (test_ended_notes_can_be_forgotten)
{
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  guint n_notes;

  push_text (decoder, &multitrack, 0, FALSE, "tie " ON "drum:36 pitch:60");
  mt3_note_decoder_forget_ended (decoder);
  mt3_note_decoder_notes (decoder, &n_notes);
  ck_assert_uint_eq (n_notes, 0);

  mt3_note_decoder_finish (decoder);
  ck_assert_uint_eq (mt3_note_decoder_notes (decoder, &n_notes)->id, 2);
  ck_assert_uint_eq (n_notes, 1);
}
END_TEST

START_TEST (test_every_program_has_a_name)
{
  for (guint program = 0; program < 128; program++)
    ck_assert_uint_gt (strlen (mt3_program_name (program, FALSE)), 0);
  ck_assert_str_eq (mt3_program_name (0, FALSE), "Acoustic Grand Piano");
  ck_assert_str_eq (mt3_program_name (40, FALSE), "Violin");
  ck_assert_str_eq (mt3_program_name (80, FALSE), "Lead 1 (square)");
  ck_assert_str_eq (mt3_program_name (127, FALSE), "Gunshot");
  ck_assert_str_eq (mt3_program_name (0, TRUE), "Drums");
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("note decoder");
  TCase *tcase = tcase_create ("note decoder");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_rule, 0, G_N_ELEMENTS (rules));
  tcase_add_test (tcase, test_velocity_bins_and_programs_come_back_exactly);
  tcase_add_test (tcase, test_an_index_that_was_left_out_advances_time);
  tcase_add_test (tcase, test_reports_come_in_the_order_of_decoding);
  tcase_add_test (tcase, test_notes_that_sound_can_be_seen_before_they_end);
  tcase_add_test (tcase, test_a_silent_window_ends_what_sounds);
  tcase_add_test (tcase, test_a_silent_window_ends_notes_without_ties_too);
  tcase_add_test (
      tcase, test_an_interruption_ends_what_sounds_and_is_no_window);
  tcase_add_test (tcase, test_another_model_begins_where_it_is_told);
  tcase_add_test (tcase, test_another_model_begins_where_the_window_is_cut);
  tcase_add_test (tcase, test_silence_does_not_go_back_in_time);
  tcase_add_loop_test (tcase,
      test_notes_of_programs_that_are_not_allowed_are_invalid, 0,
      G_N_ELEMENTS (allowed_rules));
  tcase_add_test (tcase, test_what_sounds_goes_on_when_less_is_allowed);
  tcase_add_test (tcase, test_statistics_count_windows_and_notes);
  tcase_add_test (tcase, test_confidence_is_the_product_since_the_note_before);
  tcase_add_test (tcase, test_confidence_is_1_without_probabilities);
  tcase_add_test (tcase, test_reset_is_like_new);
  tcase_add_test (tcase, test_ended_notes_can_be_forgotten);
  tcase_add_test (tcase, test_every_program_has_a_name);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
