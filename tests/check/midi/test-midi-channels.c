/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "midi/midi-channels.h"

#include <check.h>
#include <stdlib.h>

#define N_PITCHED 15

static Mt3MidiChannels *channels;
static guint last_id;

static void
setup (void)
{
  channels = mt3_midi_channels_new ();
  last_id = 0;
}

static void
teardown (void)
{
  mt3_midi_channels_free (channels);
}

/* Begins a note as an output does; returns it. */
static Mt3Note
begin (guint program, gboolean is_drum, guint *channel)
{
  Mt3Note note = {.id = ++last_id,
      .pitch = 60,
      .velocity = 100,
      .program = program,
      .is_drum = is_drum};

  *channel = mt3_midi_channels_choose (channels, &note);
  mt3_midi_channels_begin (channels, *channel, &note);
  return note;
}

/* One sounding note each of programs 0 to 14. */
static void
fill (Mt3Note notes[N_PITCHED], guint used[N_PITCHED])
{
  for (guint i = 0; i < N_PITCHED; i++)
    notes[i] = begin (i, FALSE, &used[i]);
}

START_TEST (test_drums_have_channel_10_and_nobody_else_has)
{
  Mt3Note notes[N_PITCHED];
  guint used[N_PITCHED], drums, other;

  fill (notes, used);
  for (guint i = 0; i < N_PITCHED; i++)
    ck_assert_uint_eq (used[i], i < MT3_MIDI_DRUM_CHANNEL ? i : i + 1);
  begin (0, TRUE, &drums);
  ck_assert_uint_eq (drums, MT3_MIDI_DRUM_CHANNEL);
  begin (100, FALSE, &other);
  ck_assert_uint_ne (other, MT3_MIDI_DRUM_CHANNEL);
}
END_TEST

START_TEST (test_a_program_keeps_its_channel)
{
  guint first, other, again;
  Mt3Note note = begin (40, FALSE, &first);

  mt3_midi_channels_end (channels, &note);
  begin (41, FALSE, &other);
  begin (40, FALSE, &again);
  ck_assert_uint_ne (first, other);
  ck_assert_uint_eq (first, again);
}
END_TEST

START_TEST (test_a_channel_changes_its_program_before_the_first_note_only)
{
  Mt3Note note = {.id = 1, .pitch = 60, .velocity = 1, .program = 0};

  for (note.is_drum = FALSE; note.is_drum <= TRUE; note.is_drum++) {
    guint channel = mt3_midi_channels_choose (channels, &note);

    ck_assert (!mt3_midi_channels_plays (channels, channel, &note));
    mt3_midi_channels_begin (channels, channel, &note);
    ck_assert (mt3_midi_channels_plays (channels, channel, &note));
  }
}
END_TEST

START_TEST (test_the_silent_channel_used_longest_ago_is_taken_over)
{
  Mt3Note notes[N_PITCHED];
  guint used[N_PITCHED], taken;

  fill (notes, used);
  /* 7 fell silent before 3; all others sound. */
  mt3_midi_channels_end (channels, &notes[7]);
  mt3_midi_channels_end (channels, &notes[3]);
  begin (100, FALSE, &taken);
  ck_assert_uint_eq (taken, used[7]);
  begin (101, FALSE, &taken);
  ck_assert_uint_eq (taken, used[3]);
}
END_TEST

START_TEST (test_when_all_sound_the_one_used_longest_ago_is_cut)
{
  Mt3Note notes[N_PITCHED], note = {.id = 100, .program = 100}, cut;
  guint used[N_PITCHED], channel, again;

  fill (notes, used);
  begin (0, FALSE, &again);
  channel = mt3_midi_channels_choose (channels, &note);
  ck_assert_uint_eq (channel, used[1]);
  ck_assert (!mt3_midi_channels_plays (channels, channel, &note));
  ck_assert (mt3_midi_channels_cut (channels, channel, &cut));
  ck_assert_uint_eq (cut.id, notes[1].id);
  ck_assert (!mt3_midi_channels_cut (channels, channel, &cut));
  ck_assert_int_lt (mt3_midi_channels_end (channels, &notes[1]), 0);
}
END_TEST

START_TEST (test_a_note_ends_where_it_began_and_once)
{
  guint channel;
  Mt3Note first = begin (5, FALSE, &channel), second;

  second = begin (5, FALSE, &channel);
  ck_assert_int_eq (mt3_midi_channels_end (channels, &second), (gint) channel);
  ck_assert_int_eq (mt3_midi_channels_end (channels, &second), -1);
  ck_assert_int_eq (mt3_midi_channels_end (channels, &first), (gint) channel);
}
END_TEST

START_TEST (test_a_program_change_has_two_bytes)
{
  Mt3Note note = {.program = 127};
  guint8 bytes[2];

  mt3_midi_program_message (&note, 15, bytes);
  ck_assert_uint_eq (bytes[0], 0xcf);
  ck_assert_uint_eq (bytes[1], 127);
  note.is_drum = TRUE;
  mt3_midi_program_message (&note, MT3_MIDI_DRUM_CHANNEL, bytes);
  ck_assert_uint_eq (bytes[0], 0xc9);
  ck_assert_uint_eq (bytes[1], 0);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("midi-channels");
  TCase *tcase = tcase_create ("channels");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_drums_have_channel_10_and_nobody_else_has);
  tcase_add_test (tcase, test_a_program_keeps_its_channel);
  tcase_add_test (
      tcase, test_a_channel_changes_its_program_before_the_first_note_only);
  tcase_add_test (
      tcase, test_the_silent_channel_used_longest_ago_is_taken_over);
  tcase_add_test (tcase, test_when_all_sound_the_one_used_longest_ago_is_cut);
  tcase_add_test (tcase, test_a_note_ends_where_it_began_and_once);
  tcase_add_test (tcase, test_a_program_change_has_two_bytes);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
