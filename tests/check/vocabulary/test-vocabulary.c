/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vocabulary/vocabulary.h"

#include <check.h>
#include <stdlib.h>

/* First and last id of every range, as magenta/mt3 counts them. */
static const struct {
  guint velocity_bins;
  guint token;
  Mt3Event event;
} edges[] = {
    /* The multitrack model */
    {1, 0, {MT3_EVENT_INVALID, 0}}, /* pad */
    {1, 1, {MT3_EVENT_INVALID, 0}}, /* end */
    {1, 2, {MT3_EVENT_INVALID, 0}}, /* unknown */
    {1, 3, {MT3_EVENT_SHIFT, 0}},
    {1, 1003, {MT3_EVENT_SHIFT, 1000}},
    {1, 1004, {MT3_EVENT_PITCH, 0}},
    {1, 1131, {MT3_EVENT_PITCH, 127}},
    {1, 1132, {MT3_EVENT_VELOCITY, 0}},
    {1, 1133, {MT3_EVENT_VELOCITY, 1}},
    {1, 1134, {MT3_EVENT_TIE, 0}},
    {1, 1135, {MT3_EVENT_PROGRAM, 0}},
    {1, 1262, {MT3_EVENT_PROGRAM, 127}},
    {1, 1263, {MT3_EVENT_DRUM, 0}},
    {1, 1390, {MT3_EVENT_DRUM, 127}},
    {1, 1391, {MT3_EVENT_INVALID, 0}},
    {1, 65535, {MT3_EVENT_INVALID, 0}},
    {1, G_MAXUINT, {MT3_EVENT_INVALID, 0}},
    /* The piano model: all after velocity 0 moves by 126 */
    {127, 1003, {MT3_EVENT_SHIFT, 1000}},
    {127, 1131, {MT3_EVENT_PITCH, 127}},
    {127, 1132, {MT3_EVENT_VELOCITY, 0}},
    {127, 1259, {MT3_EVENT_VELOCITY, 127}},
    {127, 1260, {MT3_EVENT_TIE, 0}},
    {127, 1261, {MT3_EVENT_PROGRAM, 0}},
    {127, 1388, {MT3_EVENT_PROGRAM, 127}},
    {127, 1389, {MT3_EVENT_DRUM, 0}},
    {127, 1516, {MT3_EVENT_DRUM, 127}},
    {127, 1517, {MT3_EVENT_INVALID, 0}},
};

START_TEST (test_a_token_is_this_event)
{
  Mt3Event event =
      mt3_vocabulary_event (edges[_i].velocity_bins, edges[_i].token);

  ck_assert_int_eq (event.type, edges[_i].event.type);
  ck_assert_uint_eq (event.value, edges[_i].event.value);
}
END_TEST

START_TEST (test_every_token_comes_back_for_its_event)
{
  for (guint bins = 1; bins <= 127; bins++) {
    guint token = 3;

    while (token < mt3_vocabulary_size (bins) &&
           mt3_vocabulary_token (bins, mt3_vocabulary_event (bins, token)) ==
               token)
      token++;
    ck_assert_uint_eq (token, mt3_vocabulary_size (bins));
  }
}
END_TEST

static const struct {
  guint velocity_bins;
  Mt3Event event;
} outside[] = {
    {1, {MT3_EVENT_INVALID, 0}},
    {1, {MT3_EVENT_SHIFT, 1001}},
    {1, {MT3_EVENT_PITCH, 128}},
    {1, {MT3_EVENT_VELOCITY, 2}},
    {126, {MT3_EVENT_VELOCITY, 127}},
    {1, {MT3_EVENT_TIE, 1}},
    {1, {MT3_EVENT_PROGRAM, 128}},
    {1, {MT3_EVENT_DRUM, 128}},
};

START_TEST (test_an_event_outside_the_vocabulary_has_no_token)
{
  ck_assert_uint_eq (
      mt3_vocabulary_token (outside[_i].velocity_bins, outside[_i].event), 0);
}
END_TEST

START_TEST (test_the_size_grows_with_the_velocity_bins)
{
  for (guint bins = 1; bins <= 127; bins++)
    ck_assert_uint_eq (mt3_vocabulary_size (bins), 1390 + bins);
}
END_TEST

/* int (127 * bin / bins), in Python's words. */
static const struct {
  guint velocity_bins, bin, velocity;
} velocities[] = {
    {1, 0, 0},
    {1, 1, 127},
    {2, 1, 63},
    {3, 1, 42},
    {3, 2, 84},
    {32, 1, 3},
    {32, 31, 123},
    {127, 0, 0},
    {127, 1, 1},
    {127, 64, 64},
    {127, 127, 127},
};

START_TEST (test_a_velocity_bin_is_this_midi_velocity)
{
  ck_assert_uint_eq (mt3_vocabulary_velocity (
                         velocities[_i].velocity_bins, velocities[_i].bin),
      velocities[_i].velocity);
}
END_TEST

START_TEST (test_only_bin_0_is_a_note_off)
{
  for (guint bins = 1; bins <= 127; bins++) {
    ck_assert_uint_eq (mt3_vocabulary_velocity (bins, 0), 0);
    ck_assert_uint_ge (mt3_vocabulary_velocity (bins, 1), 1);
    ck_assert_uint_eq (mt3_vocabulary_velocity (bins, bins), 127);
  }
}
END_TEST

START_TEST (test_every_type_has_a_name)
{
  static const gchar *const names[] = {
      "invalid", "shift", "pitch", "velocity", "tie", "program", "drum"};

  ck_assert_str_eq (mt3_event_type_name (_i), names[_i]);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("vocabulary");
  TCase *tcase = tcase_create ("vocabulary");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_a_token_is_this_event, 0, G_N_ELEMENTS (edges));
  tcase_add_test (tcase, test_every_token_comes_back_for_its_event);
  tcase_add_loop_test (tcase, test_an_event_outside_the_vocabulary_has_no_token,
      0, G_N_ELEMENTS (outside));
  tcase_add_test (tcase, test_the_size_grows_with_the_velocity_bins);
  tcase_add_loop_test (tcase, test_a_velocity_bin_is_this_midi_velocity, 0,
      G_N_ELEMENTS (velocities));
  tcase_add_test (tcase, test_only_bin_0_is_a_note_off);
  tcase_add_loop_test (
      tcase, test_every_type_has_a_name, 0, MT3_EVENT_DRUM + 1);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
