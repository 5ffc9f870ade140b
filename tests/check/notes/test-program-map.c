/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which instrument takes the part of which.
 */
#include "notes/program-map.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* What changes: "3>0 40>off drums>off". */
static gchar *
describe (const Mt3ProgramMap *map)
{
  GString *text = g_string_new (NULL);

  for (gint program = 0; program < MT3_N_PROGRAMS; program++) {
    gint to = map->programs[program];

    if (to == MT3_PROGRAM_OFF)
      g_string_append_printf (text, "%d>off ", program);
    else if (to != program)
      g_string_append_printf (text, "%d>%d ", program, to);
  }
  if (!map->drums)
    g_string_append (text, "drums>off ");
  g_string_truncate (text, text->len - (text->len > 0));
  return g_string_free (text, FALSE);
}

static const struct {
  const gchar *text, *expected;
} understood[] = {
    {"3=0", "3>0"},
    {"3=3", ""},
    {"0-3=1", "0>1 2>1 3>1"},
    {"4-7 = Violin", "4>40 5>40 6>40 7>40"},
    {"cello=String Ensemble 1", "42>48"},
    {"40-42=OFF", "40>off 41>off 42>off"},
    {"drums=off", "drums>off"},
    {"1=0, viola=violin ,drums=off", "1>0 41>40 drums>off"},
    {"1=2,2=1", "1>2 2>1"}, /* not one after the other */
    {"0-2=5,1=6", "0>5 1>6 2>5"}, /* the later counts */
    {"1=off,1=1", ""},
};

START_TEST (test_instruments_are_assigned_to_programs_or_off)
{
  Mt3ProgramMap map;
  g_autoptr (GError) error = NULL;
  g_autofree gchar *found = NULL;

  ck_assert (mt3_program_map_parse (understood[_i].text, &map, &error));
  ck_assert_ptr_null (error);
  found = describe (&map);
  ck_assert_str_eq (found, understood[_i].expected);
}
END_TEST

static const struct {
  const gchar *text, *words;
} refused[] = {
    {"", "no assignment"},
    {"3", "'3' is no assignment such as strings=48"},
    {"3=0,", "no assignment"},
    {"3:0", "'3:0' is no assignment"},
    {"=0", "'' is no instrument"},
    {"3=", "'' is no instrument"},
    {"kazoo=0", "'kazoo' is no instrument"},
    {"3=kazoo", "'kazoo' is no instrument"},
    {"3=4=5", "'4=5' is no instrument"},
    {"3=strings", "'strings' is not one program"},
    {"3=0-7", "'0-7' is not one program"},
    {"3=drums", "'drums' is not one program"},
    {"drums=0", "drums cannot become '0', only off"},
    {"3=128", "'128' is no instrument"},
};

START_TEST (test_an_error_names_the_word)
{
  Mt3ProgramMap map;
  g_autoptr (GError) error = NULL;

  ck_assert (!mt3_program_map_parse (refused[_i].text, &map, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_FORMAT));
  ck_assert_msg (
      strstr (error->message, refused[_i].words), "%s", error->message);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("program-map");
  TCase *tcase = tcase_create ("program-map");
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_instruments_are_assigned_to_programs_or_off,
      0, G_N_ELEMENTS (understood));
  tcase_add_loop_test (
      tcase, test_an_error_names_the_word, 0, G_N_ELEMENTS (refused));

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
