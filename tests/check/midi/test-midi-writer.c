/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "midi/midi-writer.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NOTES 4

/* Whole files, in hexadecimal. */
#define HEADER(n_tracks) "4d546864 00000006 0001 " n_tracks " 01f4 "
#define TRACK(size) "4d54726b " size " "
#define TEMPO "00 ff 51 03 07a120 " /* 500,000 us a quarter */
#define END "00 ff 2f 00 "
#define CONDUCTOR TRACK ("0000000b") TEMPO END
#define PIANO                                                                  \
  "00 ff 03 14 41636f7573746963204772616e64205069616e6f " /* its name */       \
  "00 c0 00 " /* program 0 */
#define DRUMS                                                                  \
  "00 ff 03 05 4472756d73 "                                                    \
  "00 c9 00 "

static const struct {
  const gchar *rule;
  const gchar *title;
  Mt3Note notes[MAX_NOTES];
  guint n_notes;
  const gchar *bytes;
} files[] = {
    {"without notes there is a conductor track", NULL, {{0}}, 0,
        HEADER ("0001") CONDUCTOR},
    {"the title names the conductor track", "R\303\251", {{0}}, 0,
        HEADER ("0001") TRACK ("00000012") "00 ff 03 03 52c3a9 " TEMPO END},
    {"times are ticks of 1 ms, deltas of variable length", NULL,
        {{1, 0.5, 0.628, 60, 100, 0, FALSE, 1}}, 1,
        HEADER ("0002") CONDUCTOR TRACK ("00000029") PIANO
        "8374 90 3c 64 " /* 500 ticks on */
        "8100 80 3c 40 " /* 128 ticks on */
        END},
    {"drums play on channel 10, in the last track", NULL,
        {{1, 0.0, 0.01, 36, 127, 0, TRUE, 1},
            {2, 0.0, 0.01, 60, 1, 0, FALSE, 1}},
        2,
        HEADER ("0003") CONDUCTOR TRACK ("00000027") PIANO
        "00 90 3c 01 "
        "0a 80 3c 40 " END TRACK ("00000018") DRUMS "00 99 24 7f "
                                                    "0a 89 24 40 " END},
    {"in a tick notes end before others begin; each event has its status", NULL,
        {{1, 0.0, 0.1, 60, 100, 0, FALSE, 1},
            {2, 0.1, 0.2, 62, 100, 0, FALSE, 1},
            {3, 0.1, 0.2, 60, 90, 0, FALSE, 1}},
        3,
        HEADER ("0002") CONDUCTOR TRACK ("00000037") PIANO "00 90 3c 64 "
                                                           "64 80 3c 40 "
                                                           "00 90 3c 5a "
                                                           "00 90 3e 64 "
                                                           "64 80 3c 40 "
                                                           "00 80 3e 40 " END},
};

static gchar *
to_hex (const GByteArray *bytes)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < bytes->len; i++)
    g_string_append_printf (text, "%02x", bytes->data[i]);
  return g_string_free (text, FALSE);
}

START_TEST (test_file_byte_for_byte)
{
  g_autoptr (GByteArray) file =
      mt3_midi_write (files[_i].notes, files[_i].n_notes, files[_i].title);
  g_autofree gchar *bytes = to_hex (file);
  g_auto (GStrv) words = g_strsplit (files[_i].bytes, " ", -1);
  g_autofree gchar *expected = g_strjoinv ("", words);

  ck_assert_msg (strcmp (bytes, expected) == 0, "%s: expected\n%s, got\n%s",
      files[_i].rule, expected, bytes);
}
END_TEST

static guint
read_quantity (const guint8 **bytes)
{
  guint value = 0;
  guint8 byte;

  do {
    byte = *(*bytes)++;
    value = value << 7 | (byte & 0x7f);
  } while (byte & 0x80);
  return value;
}

/* "port 1", "program 40 on 3" ... */
static const guint8 *
describe_event (GString *text, guint tick, const guint8 *bytes)
{
  guint8 status = *bytes++;

  switch (status & 0xf0) {
    case 0x80:
      g_string_append_printf (text, "%u-%u ", tick, bytes[0]);
      return bytes + 2;
    case 0x90:
      g_string_append_printf (text, "%u+%u:%u ", tick, bytes[0], bytes[1]);
      return bytes + 2;
    case 0xc0:
      g_string_append_printf (
          text, "program %u on %u: ", bytes[0], status & 0x0f);
      return bytes + 1;
    default:
      ck_assert_uint_eq (status, 0xff);
  }
  if (*bytes == 0x21)
    g_string_append_printf (text, "port %u, ", bytes[2]);
  bytes++;
  guint size = read_quantity (&bytes);
  return bytes + size;
}

/* The instruments' tracks in words, a line each: what the track is, then
 * "tick+key:velocity" and "tick-key". */
static gchar *
describe (const GByteArray *file)
{
  GString *text = g_string_new (NULL);
  const guint8 *track = file->data + 14;
  const guint8 *end = file->data + file->len;

  for (guint n = 0; track < end; n++) {
    const guint8 *bytes = track + 8;
    guint tick = 0;

    track =
        bytes + (track[4] << 24 | track[5] << 16 | track[6] << 8 | track[7]);
    ck_assert (track <= end);
    while (bytes < track) {
      tick += read_quantity (&bytes);
      bytes = describe_event (text, tick, bytes);
    }
    if (n > 0)
      g_string_append_c (text, '\n');
  }
  return g_string_free (text, FALSE);
}

#define AT(onset, offset)                                                      \
  {                                                                            \
    1, onset, offset, 60, 100, 0, FALSE, 1                                     \
  }
#define PIANO_IS "program 0 on 0: "

static const struct {
  const gchar *rule;
  Mt3Note notes[MAX_NOTES];
  guint n_notes;
  const gchar *tracks;
} rules[] = {
    {"times round to the nearest tick", {AT (0.0004, 0.0026)}, 1,
        PIANO_IS "0+60:100 3-60 \n"},
    {"a note lasts a tick at least", {AT (0.5, 0.5)}, 1,
        PIANO_IS "500+60:100 501-60 \n"},
    {"even one that ends before it begins", {AT (0.5, 0.1)}, 1,
        PIANO_IS "500+60:100 501-60 \n"},
    {"a note of a tick ends after it begins and before the next",
        {AT (0.5, 0.5), AT (0.501, 0.6)}, 2,
        PIANO_IS "500+60:100 501-60 501+60:100 600-60 \n"},
    {"a note ends where its key begins again", {AT (0, 1), AT (0.5, 1.5)}, 2,
        PIANO_IS "0+60:100 500-60 500+60:100 1500-60 \n"},
    {"even if the later one is within it", {AT (0, 1), AT (0.5, 0.7)}, 2,
        PIANO_IS "0+60:100 500-60 500+60:100 700-60 \n"},
    {"notes of one key that begin together are kept",
        {AT (0, 0.02), AT (0, 0.01), AT (0.5, 0.6)}, 3,
        PIANO_IS "0+60:100 0+60:100 10-60 20-60 500+60:100 600-60 \n"},
    {"of those the first off is the first on's",
        {{1, 0, 0.02, 60, 90, 0, FALSE, 1}, AT (0, 0.01)}, 2,
        PIANO_IS "0+60:100 0+60:90 10-60 20-60 \n"},
    {"other keys and programs do not cut",
        {AT (0, 1), {2, 0.5, 0.6, 61, 100, 0, FALSE, 1},
            {3, 0.5, 0.6, 60, 100, 1, FALSE, 1}},
        3,
        PIANO_IS "0+60:100 500+61:100 600-61 1000-60 \n"
                 "program 1 on 1: 500+60:100 600-60 \n"},
    {"a note that still sounds ends with the file",
        {AT (0, NAN), {2, 0.5, 0.75, 60, 100, 1, FALSE, 1}}, 2,
        PIANO_IS "0+60:100 750-60 \n"
                 "program 1 on 1: 500+60:100 750-60 \n"},
    {"even if it is all there is", {AT (0.5, NAN)}, 1,
        PIANO_IS "500+60:100 501-60 \n"},
    {"times that no file can hold count as the last that it can",
        {AT (0, 1e300), {2, INFINITY, NAN, 61, 100, 0, FALSE, 1}}, 2,
        PIANO_IS "0+60:100 268435454+61:100 268435455-60 268435455-61 \n"},
    {"times before the start count as the start", {AT (-1, -0.5)}, 1,
        PIANO_IS "0+60:100 1-60 \n"},
};

START_TEST (test_rule)
{
  g_autoptr (GByteArray) file =
      mt3_midi_write (rules[_i].notes, rules[_i].n_notes, NULL);
  g_autofree gchar *tracks = describe (file);

  ck_assert_msg (strcmp (tracks, rules[_i].tracks) == 0,
      "%s: expected\n%s, got\n%s", rules[_i].rule, rules[_i].tracks, tracks);
}
END_TEST

/* A note of each of programs 0 .. n - 1 and a drum. */
static gchar *
describe_band (guint n_programs)
{
  g_autofree Mt3Note *notes = g_new0 (Mt3Note, n_programs + 1);

  notes[0] =
      (Mt3Note){.offset = 0.01, .pitch = 36, .velocity = 127, .is_drum = TRUE};
  for (guint i = 0; i < n_programs; i++)
    notes[i + 1] =
        (Mt3Note){.offset = 0.01, .pitch = 60, .velocity = 127, .program = i};

  g_autoptr (GByteArray) file = mt3_midi_write (notes, n_programs + 1, NULL);
  return describe (file);
}

START_TEST (test_15_instruments_and_drums_share_a_port)
{
  g_autofree gchar *tracks = describe_band (15);

  ck_assert_ptr_null (strstr (tracks, "port"));
  ck_assert_ptr_nonnull (strstr (tracks, "program 8 on 8: "));
  ck_assert_ptr_nonnull (strstr (tracks, "program 9 on 10: "));
  ck_assert_ptr_nonnull (strstr (tracks, "program 14 on 15: "));
  ck_assert_ptr_nonnull (strstr (tracks, "program 0 on 9: 0+36:127"));
}
END_TEST

START_TEST (test_more_instruments_get_ports)
{
  g_autofree gchar *tracks = describe_band (128);

  ck_assert (g_str_has_prefix (tracks, "port 0, program 0 on 0: "));
  ck_assert_ptr_nonnull (strstr (tracks, "port 0, program 14 on 15: "));
  ck_assert_ptr_nonnull (strstr (tracks, "port 1, program 15 on 0: "));
  ck_assert_ptr_nonnull (strstr (tracks, "port 8, program 127 on 7: "));
  ck_assert_ptr_nonnull (strstr (tracks, "port 0, program 0 on 9: 0+36:127"));
}
END_TEST

START_TEST (test_the_order_of_notes_does_not_matter)
{
  Mt3Note notes[] = {
      AT (0, 1),
      {2, 0, 1, 60, 90, 0, FALSE, 1},
      {3, 0, 2, 60, 90, 0, FALSE, 1},
      {4, 0, 0.01, 36, 127, 0, TRUE, 1},
      {5, 0.5, NAN, 64, 100, 40, FALSE, 1},
      {6, 0.5, 0.6, 60, 80, 0, FALSE, 1},
  };
  g_autoptr (GByteArray) first =
      mt3_midi_write (notes, G_N_ELEMENTS (notes), NULL);

  for (guint i = 0; i < G_N_ELEMENTS (notes); i++) {
    Mt3Note moved = notes[0];
    memmove (notes, notes + 1, sizeof notes - sizeof moved);
    notes[G_N_ELEMENTS (notes) - 1] = moved;
    g_autoptr (GByteArray) again =
        mt3_midi_write (notes, G_N_ELEMENTS (notes), NULL);

    ck_assert_uint_eq (again->len, first->len);
    ck_assert_mem_eq (again->data, first->data, first->len);
  }
}
END_TEST

START_TEST (test_a_message_carries_key_and_velocity)
{
  for (guint velocity = 1; velocity <= 127; velocity++) {
    Mt3Note note = {.pitch = 127 - velocity, .velocity = velocity};
    guint8 on[3], off[3];

    mt3_midi_note_message (&note, 15, TRUE, on);
    mt3_midi_note_message (&note, 3, FALSE, off);
    ck_assert_mem_eq (on, ((guint8[]){0x9f, 127 - velocity, velocity}), 3);
    ck_assert_mem_eq (off, ((guint8[]){0x83, 127 - velocity, 64}), 3);
  }
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("MIDI writer");
  TCase *tcase = tcase_create ("MIDI writer");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_file_byte_for_byte, 0, G_N_ELEMENTS (files));
  tcase_add_loop_test (tcase, test_rule, 0, G_N_ELEMENTS (rules));
  tcase_add_test (tcase, test_15_instruments_and_drums_share_a_port);
  tcase_add_test (tcase, test_more_instruments_get_ports);
  tcase_add_test (tcase, test_the_order_of_notes_does_not_matter);
  tcase_add_test (tcase, test_a_message_carries_key_and_velocity);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
