/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Instruments by name, and the tokens that they may be written with.
 */
#include "notes/program-set.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "vocabulary/vocabulary.h"

static const Mt3Config config = {.vocab_size = 1536, .velocity_bins = 1};

/* "0-7 40 drums" */
static gchar *
describe (const Mt3ProgramSet *set)
{
  GString *text = g_string_new (NULL);

  for (guint first = 0, last; first < MT3_N_PROGRAMS; first = last + 1) {
    last = first;
    if (!mt3_program_set_contains (set, first))
      continue;
    while (
        last + 1 < MT3_N_PROGRAMS && mt3_program_set_contains (set, last + 1))
      last++;
    g_string_append_printf (
        text, first == last ? "%u " : "%u-%u ", first, last);
  }
  if (set->drums)
    g_string_append (text, "drums ");
  g_string_truncate (text, text->len - (text->len > 0));
  return g_string_free (text, FALSE);
}

static const struct {
  const gchar *text, *expected;
} understood[] = {
    {"0", "0"},
    {"127", "127"},
    {"40-47", "40-47"},
    {"3-3", "3"},
    {"0-127", "0-127"},
    {"Violin", "40"},
    {"violin", "40"},
    {"  VIOLIN ", "40"},
    {"Acoustic Guitar (nylon)", "24"},
    {"Honky-tonk Piano", "3"},
    {"Lead 8 (bass + lead)", "87"},
    {"Gunshot", "127"},
    {"drums", "drums"},
    {"Drums", "drums"},
    {"piano", "0-7"},
    {"Chromatic Percussion", "8-15"},
    {"organ", "16-23"},
    {"guitar", "24-31"},
    {"bass", "32-39"},
    {"Strings", "40-47"},
    {"ensemble", "48-55"},
    {"brass", "56-63"},
    {"reed", "64-71"},
    {"pipe", "72-79"},
    {"synth lead", "80-87"},
    {"synth pad", "88-95"},
    {"synth effects", "96-103"},
    {"ethnic", "104-111"},
    {"percussive", "112-119"},
    {"sound effects", "120-127"},
    {"piano,drums,40-47,violin,Strings", "0-7 40-47 drums"},
    {"5, 6 ,drums", "5-6 drums"},
    {"31,32,63,64,95,96", "31-32 63-64 95-96"},
};

START_TEST (test_instruments_have_names_numbers_ranges_and_classes)
{
  Mt3ProgramSet set;
  g_autoptr (GError) error = NULL;
  g_autofree gchar *found = NULL;

  ck_assert (mt3_program_set_parse (understood[_i].text, &set, &error));
  ck_assert_ptr_null (error);
  found = describe (&set);
  ck_assert_str_eq (found, understood[_i].expected);
}
END_TEST

static const struct {
  const gchar *text, *word;
} refused[] = {
    {"", "''"},
    {"piano,", "''"},
    {",piano", "''"},
    {"piano,kazoo,violin", "'kazoo'"},
    {"128", "'128'"},
    {"-1", "'-1'"},
    {"1.5", "'1.5'"},
    {"0x10", "'0x10'"},
    {"47-40", "'47-40'"},
    {"40-", "'40-'"},
    {"40-128", "'40-128'"},
    {"40--47", "'40--47'"},
    {"40-47-50", "'40-47-50'"},
    {"18446744073709551616", "'18446744073709551616'"},
    {"4294967296", "'4294967296'"},
    {"pianos", "'pianos'"},
    {"\xff", "'\xff'"},
    {"sax", "perhaps Soprano Sax, Alto Sax, Tenor Sax, Baritone Sax"},
    {"kazoo", "Chromatic Percussion"},
};

START_TEST (test_an_error_names_the_word_and_what_is_possible)
{
  Mt3ProgramSet set;
  g_autoptr (GError) error = NULL;

  ck_assert (!mt3_program_set_parse (refused[_i].text, &set, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_FORMAT));
  ck_assert_msg (
      strstr (error->message, refused[_i].word), "%s", error->message);
  ck_assert (strstr (error->message, "40-47, drums"));
}
END_TEST

/* "violin+drums" allows what? One letter for each kind of token. */
static const struct {
  const gchar *text;
  gboolean piano, violin, pitch, drum;
} masks[] = {
    {"piano", TRUE, FALSE, TRUE, FALSE},
    {"violin", FALSE, TRUE, TRUE, FALSE},
    {"violin,drums", FALSE, TRUE, TRUE, TRUE},
    {"drums", FALSE, FALSE, FALSE, TRUE},
    {"0-127,drums", TRUE, TRUE, TRUE, TRUE},
};

START_TEST (test_tokens_of_other_instruments_are_left_out)
{
  Mt3ProgramSet set;
  g_autoptr (Mt3TokenSet) tokens = NULL;
  const struct {
    Mt3Event event;
    gboolean expected;
  } cases[] = {
      {{MT3_EVENT_PROGRAM, 0}, masks[_i].piano},
      {{MT3_EVENT_PROGRAM, 7}, masks[_i].piano},
      {{MT3_EVENT_PROGRAM, 40}, masks[_i].violin},
      {{MT3_EVENT_PROGRAM, 41}, g_str_has_prefix (masks[_i].text, "0-127")},
      {{MT3_EVENT_PITCH, 0}, masks[_i].pitch},
      {{MT3_EVENT_PITCH, 127}, masks[_i].pitch},
      {{MT3_EVENT_DRUM, 0}, masks[_i].drum},
      {{MT3_EVENT_DRUM, 127}, masks[_i].drum},
      {{MT3_EVENT_SHIFT, 0}, TRUE},
      {{MT3_EVENT_SHIFT, MT3_MAX_SHIFT}, TRUE},
      {{MT3_EVENT_VELOCITY, 0}, TRUE},
      {{MT3_EVENT_VELOCITY, 1}, TRUE},
      {{MT3_EVENT_TIE, 0}, TRUE},
  };

  mt3_program_set_parse (masks[_i].text, &set, NULL);
  tokens = mt3_program_set_tokens (&set, &config);
  ck_assert_uint_eq (tokens->n_tokens, config.vocab_size);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    ck_assert_msg (
        mt3_token_set_contains (tokens,
            mt3_vocabulary_token (1, cases[i].event)) == cases[i].expected,
        "%s: %s %u", masks[_i].text, mt3_event_type_name (cases[i].event.type),
        cases[i].event.value);
}
END_TEST

START_TEST (test_a_program_allows_the_one_that_is_written_for_it)
{
  Mt3Config grouped = config;
  Mt3ProgramSet set;
  g_autoptr (Mt3TokenSet) tokens = NULL;
  const Mt3Event violin = {MT3_EVENT_PROGRAM, 40};
  const Mt3Event cello = {MT3_EVENT_PROGRAM, 42};

  for (guint program = 40; program < 44; program++)
    grouped.written_programs[program] = 40 + 1;
  mt3_program_set_parse ("cello", &set, NULL);
  tokens = mt3_program_set_tokens (&set, &grouped);
  ck_assert (mt3_token_set_contains (tokens, mt3_vocabulary_token (1, violin)));
  ck_assert (!mt3_token_set_contains (tokens, mt3_vocabulary_token (1, cello)));
}
END_TEST

/* What is no event may be written: it says nothing, as with the reference. */
START_TEST (test_the_end_and_what_says_nothing_are_always_allowed)
{
  Mt3ProgramSet set;
  g_autoptr (Mt3TokenSet) tokens = NULL;

  mt3_program_set_parse ("drums", &set, NULL);
  tokens = mt3_program_set_tokens (&set, &config);
  for (guint token = 0; token < 3; token++)
    ck_assert (mt3_token_set_contains (tokens, token));
  for (guint token = mt3_vocabulary_size (1); token < 1536; token++)
    ck_assert (mt3_token_set_contains (tokens, token));
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("program-set");
  TCase *tcase = tcase_create ("program-set");
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase,
      test_instruments_have_names_numbers_ranges_and_classes, 0,
      G_N_ELEMENTS (understood));
  tcase_add_loop_test (tcase, test_an_error_names_the_word_and_what_is_possible,
      0, G_N_ELEMENTS (refused));
  tcase_add_loop_test (tcase, test_tokens_of_other_instruments_are_left_out, 0,
      G_N_ELEMENTS (masks));
  tcase_add_test (tcase, test_a_program_allows_the_one_that_is_written_for_it);
  tcase_add_test (tcase, test_the_end_and_what_says_nothing_are_always_allowed);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
