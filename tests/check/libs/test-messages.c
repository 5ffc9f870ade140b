/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gst/mt3/mt3.h>

#include <check.h>
#include <stdlib.h>

static const GstMt3Note example = {
    .id = 7,
    .pitch = 60,
    .velocity = 100,
    .program = 40,
    .onset = 1500 * GST_MSECOND,
    .end = GST_CLOCK_TIME_NONE,
    .confidence = 0.75,
};

/* A message of @n_notes notes with ids from 7 on. */
static GstMessage *
new_message (guint n_notes)
{
  g_autoptr (GPtrArray) notes =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mt3_note_free);

  for (guint i = 0; i < n_notes; i++) {
    GstMt3Note *note = gst_mt3_note_copy (&example);

    note->id += i;
    g_ptr_array_add (notes, note);
  }
  return gst_mt3_notes_message_new (NULL, 1, 2, 3, 4, notes);
}

static gboolean
is_notes_message (GstMessage *message)
{
  return gst_mt3_notes_message_parse (message, NULL, NULL, NULL, NULL, NULL);
}

START_TEST (test_a_structure_gives_its_note_back)
{
  g_autoptr (GstStructure) structure = gst_mt3_note_to_structure (&example);
  g_autoptr (GstMt3Note) note = gst_mt3_note_from_structure (structure);

  ck_assert_ptr_nonnull (note);
  ck_assert_uint_eq (note->id, example.id);
  ck_assert_uint_eq (note->pitch, example.pitch);
  ck_assert_uint_eq (note->velocity, example.velocity);
  ck_assert_uint_eq (note->program, example.program);
  ck_assert_int_eq (note->is_drum, example.is_drum);
  ck_assert_uint_eq (note->onset, example.onset);
  ck_assert_uint_eq (note->end, example.end);
  ck_assert_double_eq (note->confidence, example.confidence);
}
END_TEST

#define FIELDS(id, pitch, velocity, program, confidence)                       \
  "note, id=(" id ", pitch=(uint)" pitch ", velocity=(uint)" velocity          \
  ", program=(uint)" program ", is-drum=(boolean)false, onset=(guint64)0, "    \
  "end=(guint64)1, confidence=(double)" confidence

static const gchar *const extreme_notes[] = {
    FIELDS ("uint)0", "0", "1", "0", "0"),
    FIELDS ("uint)4294967295", "127", "127", "127", "1"),
};

START_TEST (test_a_note_may_be_at_the_end_of_every_range)
{
  g_autoptr (GstStructure) structure =
      gst_structure_new_from_string (extreme_notes[_i]);
  g_autoptr (GstMt3Note) note = gst_mt3_note_from_structure (structure);

  ck_assert_ptr_nonnull (note);
}
END_TEST

/* Stream time went back when another segment began. */
START_TEST (test_a_note_may_end_before_its_onset)
{
  GstMt3Note note = example;

  note.end = note.onset - 1;
  g_autoptr (GstStructure) structure = gst_mt3_note_to_structure (&note);
  g_autoptr (GstMt3Note) back = gst_mt3_note_from_structure (structure);
  ck_assert_ptr_nonnull (back);
  ck_assert_uint_eq (back->end, note.end);
}
END_TEST

static const gchar *const not_notes[] = {
    "note",
    "other, id=(uint)7, pitch=(uint)60, velocity=(uint)100, program=(uint)40, "
    "is-drum=(boolean)false, onset=(guint64)0, end=(guint64)1, "
    "confidence=(double)1",
    "note, id=(uint)7, pitch=(uint)60, velocity=(uint)100, program=(uint)40, "
    "is-drum=(boolean)false, onset=(guint64)0",
    FIELDS ("string)7", "60", "100", "40", "1"),
    FIELDS ("uint)7", "128", "100", "40", "1"),
    FIELDS ("uint)7", "316", "100", "40", "1"), /* 60 in its last byte */
    FIELDS ("uint)7", "60", "0", "40", "1"),
    FIELDS ("uint)7", "60", "128", "40", "1"),
    FIELDS ("uint)7", "60", "356", "40", "1"),
    FIELDS ("uint)7", "60", "100", "128", "1"),
    FIELDS ("uint)7", "60", "100", "296", "1"),
    FIELDS ("uint)7", "60", "100", "40", "1.5"),
    FIELDS ("uint)7", "60", "100", "40", "-0.5"),
    FIELDS ("uint)7", "60", "100", "40", "nan"),
};

START_TEST (test_another_structure_is_no_note)
{
  g_autoptr (GstStructure) structure =
      gst_structure_new_from_string (not_notes[_i]);

  ck_assert_ptr_nonnull (structure);
  ck_assert_ptr_null (gst_mt3_note_from_structure (structure));
}
END_TEST

START_TEST (test_a_message_gives_its_times_and_notes_back)
{
  g_autoptr (GstMessage) message = new_message (2);
  GstClockTime timestamp, stream_time, running_time, duration;
  g_autoptr (GPtrArray) notes = NULL;

  ck_assert (gst_mt3_notes_message_parse (
      message, &timestamp, &stream_time, &running_time, &duration, &notes));
  ck_assert_uint_eq (timestamp, 1);
  ck_assert_uint_eq (stream_time, 2);
  ck_assert_uint_eq (running_time, 3);
  ck_assert_uint_eq (duration, 4);
  ck_assert_uint_eq (notes->len, 2);
  ck_assert_uint_eq (((GstMt3Note *) notes->pdata[0])->id, 7);
  ck_assert_uint_eq (((GstMt3Note *) notes->pdata[1])->id, 8);
}
END_TEST

START_TEST (test_a_message_may_have_no_notes)
{
  g_autoptr (GstMessage) message = new_message (0);

  ck_assert (is_notes_message (message));
}
END_TEST

/* The fields of a structure and their types, in words. */
static gchar *
describe (const GstStructure *structure)
{
  GString *text = g_string_new (gst_structure_get_name (structure));

  for (gint i = 0; i < gst_structure_n_fields (structure); i++) {
    const gchar *name = gst_structure_nth_field_name (structure, i);
    GType type = gst_structure_get_field_type (structure, name);
    g_string_append_printf (text, ", %s %s", name, g_type_name (type));
  }
  return g_string_free (text, FALSE);
}

/* Scripts read messages field by field: names and types are the interface. */
START_TEST (test_a_message_has_these_fields)
{
  g_autoptr (GstMessage) message = new_message (1);
  const GstStructure *structure = gst_message_get_structure (message);
  const GValue *list = gst_structure_get_value (structure, "notes");
  g_autofree gchar *fields = describe (structure);
  g_autofree gchar *note_fields =
      describe (gst_value_get_structure (gst_value_list_get_value (list, 0)));

  ck_assert_int_eq (GST_MESSAGE_TYPE (message), GST_MESSAGE_ELEMENT);
  ck_assert_str_eq (fields,
      "mt3-notes, timestamp guint64, stream-time guint64, "
      "running-time guint64, duration guint64, notes GstValueList");
  ck_assert_str_eq (note_fields,
      "note, id guint, pitch guint, velocity guint, program guint, "
      "is-drum gboolean, onset guint64, end guint64, confidence gdouble");
}
END_TEST

#define MESSAGE_TIMES                                                          \
  "timestamp=(guint64)1, stream-time=(guint64)2, running-time=(guint64)3, "

static const gchar *const not_messages[] = {
    "level",
    "mt3-notes",
    "mt3-notes, " MESSAGE_TIMES "duration=(guint64)4",
    "mt3-notes, " MESSAGE_TIMES "duration=(guint64)4, notes=(int){ 1 }",
    "mt3-notes, " MESSAGE_TIMES "duration=(int)4, notes=(structure){ }",
};

START_TEST (test_another_element_message_is_refused)
{
  GstStructure *structure = gst_structure_new_from_string (not_messages[_i]);
  g_autoptr (GstMessage) message = gst_message_new_element (NULL, structure);

  ck_assert_ptr_nonnull (structure);
  ck_assert (!is_notes_message (message));
}
END_TEST

START_TEST (test_a_refused_message_gives_no_times_and_notes)
{
  g_autoptr (GstMessage) eos = gst_message_new_eos (NULL);
  g_autoptr (GPtrArray) notes = g_ptr_array_new ();
  GPtrArray *parsed = notes;
  GstClockTime times[4] = {0};

  ck_assert (!gst_mt3_notes_message_parse (
      eos, &times[0], &times[1], &times[2], &times[3], &parsed));
  ck_assert_ptr_null (parsed);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    ck_assert_uint_eq (times[i], GST_CLOCK_TIME_NONE);
}
END_TEST

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("messages");
  TCase *tcase = tcase_create ("messages");
  SRunner *runner = srunner_create (suite);
  gint failed;

  gst_init (&argc, &argv);
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_a_structure_gives_its_note_back);
  tcase_add_loop_test (tcase, test_a_note_may_be_at_the_end_of_every_range, 0,
      G_N_ELEMENTS (extreme_notes));
  tcase_add_test (tcase, test_a_note_may_end_before_its_onset);
  tcase_add_loop_test (
      tcase, test_another_structure_is_no_note, 0, G_N_ELEMENTS (not_notes));
  tcase_add_test (tcase, test_a_message_gives_its_times_and_notes_back);
  tcase_add_test (tcase, test_a_message_may_have_no_notes);
  tcase_add_test (tcase, test_a_message_has_these_fields);
  tcase_add_loop_test (tcase, test_another_element_message_is_refused, 0,
      G_N_ELEMENTS (not_messages));
  tcase_add_test (tcase, test_a_refused_message_gives_no_times_and_notes);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
