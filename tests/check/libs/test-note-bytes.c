/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gst/mt3/gstmt3notebytes.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const GstMt3Note example = {
    .id = 0x01020304,
    .pitch = 60,
    .velocity = 100,
    .program = 40,
    .is_drum = TRUE,
    .onset = G_GUINT64_CONSTANT (0x1112131415161718),
    .end = GST_CLOCK_TIME_NONE,
    .confidence = 0.75,
};

/* Other machines read these: the layout is the interface. */
static const guint8 example_bytes[] = {0x04, 0x03, 0x02, 0x01, 60, 100, 40, 1,
    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xe8, 0x3f};

START_TEST (test_a_note_is_these_bytes)
{
  guint8 bytes[GST_MT3_NOTE_BYTES_SIZE];

  ck_assert_uint_eq (sizeof example_bytes, sizeof bytes);
  gst_mt3_note_write_bytes (&example, bytes);
  ck_assert_mem_eq (bytes, example_bytes, sizeof bytes);
}
END_TEST

START_TEST (test_bytes_give_their_note_back)
{
  GstMt3Note note;

  ck_assert (
      gst_mt3_note_read_bytes (&note, example_bytes, sizeof example_bytes, 0));
  ck_assert_uint_eq (note.id, example.id);
  ck_assert_uint_eq (note.pitch, example.pitch);
  ck_assert_uint_eq (note.velocity, example.velocity);
  ck_assert_uint_eq (note.program, example.program);
  ck_assert_int_eq (note.is_drum, example.is_drum);
  ck_assert_uint_eq (note.onset, example.onset);
  ck_assert_uint_eq (note.end, example.end);
  ck_assert_double_eq (note.confidence, example.confidence);
}
END_TEST

static const struct {
  const gchar *what;
  guint at;
  guint8 value;
  gsize size;
  guint8 version;
} not_notes[] = {
    {"another version", 0, 0, 32, 1},
    {"too short", 0, 0, 31, 0},
    {"too long", 0, 0, 33, 0},
    {"nothing", 0, 0, 0, 0},
    {"no key", 4, 128, 32, 0},
    {"no velocity", 5, 128, 32, 0},
    {"a velocity that ends notes", 5, 0, 32, 0},
    {"no program", 6, 255, 32, 0},
    {"neither drum nor not", 7, 2, 32, 0},
    {"more than sure", 30, 0xff, 32, 0},
    {"less than unsure", 31, 0xbf, 32, 0},
};

START_TEST (test_other_bytes_are_no_note)
{
  guint8 bytes[GST_MT3_NOTE_BYTES_SIZE + 1] = {0};
  GstMt3Note note;

  memcpy (bytes, example_bytes, sizeof example_bytes);
  bytes[not_notes[_i].at] = not_notes[_i].value;
  ck_assert_msg (!gst_mt3_note_read_bytes (
                     &note, bytes, not_notes[_i].size, not_notes[_i].version),
      "%s", not_notes[_i].what);
}
END_TEST

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("note bytes");
  TCase *tcase = tcase_create ("note bytes");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_a_note_is_these_bytes);
  tcase_add_test (tcase, test_bytes_give_their_note_back);
  tcase_add_loop_test (
      tcase, test_other_bytes_are_no_note, 0, G_N_ELEMENTS (not_notes));
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
