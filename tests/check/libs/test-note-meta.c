/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gst/mt3/mt3.h>

#include <check.h>
#include <stdlib.h>

static const GstMt3Note begun = {
    .id = 7,
    .pitch = 60,
    .velocity = 127,
    .program = 40,
    .is_drum = FALSE,
    .onset = 1500 * GST_MSECOND,
    .end = GST_CLOCK_TIME_NONE,
    .confidence = 0.75,
};

static GstMt3Note
ended (void)
{
  GstMt3Note note = begun;

  note.end = 2 * GST_SECOND;
  return note;
}

static void
assert_notes_equal (const GstMt3Note *a, const GstMt3Note *b)
{
  ck_assert_uint_eq (a->id, b->id);
  ck_assert_uint_eq (a->pitch, b->pitch);
  ck_assert_uint_eq (a->velocity, b->velocity);
  ck_assert_uint_eq (a->program, b->program);
  ck_assert_int_eq (a->is_drum, b->is_drum);
  ck_assert_uint_eq (a->onset, b->onset);
  ck_assert_uint_eq (a->end, b->end);
  ck_assert_double_eq (a->confidence, b->confidence);
}

static guint
count_notes (GstBuffer *buffer)
{
  return gst_buffer_get_n_meta (buffer, GST_MT3_NOTE_META_API_TYPE);
}

START_TEST (test_a_new_note_has_no_times)
{
  g_autoptr (GstMt3Note) note = gst_mt3_note_new ();

  ck_assert_uint_eq (note->onset, GST_CLOCK_TIME_NONE);
  ck_assert_uint_eq (note->end, GST_CLOCK_TIME_NONE);
}
END_TEST

START_TEST (test_a_copy_is_equal)
{
  g_autoptr (GstMt3Note) copy = gst_mt3_note_copy (&begun);

  assert_notes_equal (copy, &begun);
}
END_TEST

START_TEST (test_a_buffer_without_notes_has_none)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new ();
  g_autoptr (GPtrArray) notes = gst_buffer_get_mt3_notes (buffer);

  ck_assert_ptr_null (gst_buffer_get_mt3_note_meta (buffer));
  ck_assert_uint_eq (notes->len, 0);
}
END_TEST

START_TEST (test_a_buffer_carries_notes_in_order)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new ();
  GstMt3Note other = ended ();
  GstMt3NoteMeta *meta = gst_buffer_add_mt3_note_meta (buffer, &begun);

  gst_buffer_add_mt3_note_meta (buffer, &other);
  ck_assert_ptr_eq (gst_buffer_get_mt3_note_meta (buffer), meta);
  assert_notes_equal (&meta->note, &begun);

  g_autoptr (GPtrArray) notes = gst_buffer_get_mt3_notes (buffer);
  ck_assert_uint_eq (notes->len, 2);
  assert_notes_equal (g_ptr_array_index (notes, 0), &begun);
  assert_notes_equal (g_ptr_array_index (notes, 1), &other);
}
END_TEST

static void
count_critical (const gchar *domain, GLogLevelFlags level, const gchar *message,
    gpointer count)
{
  if (level & G_LOG_LEVEL_CRITICAL)
    ++*(guint *) count;
}

/* How many criticals the call made, which must attach nothing. */
static guint
refuse_note (GstBuffer *buffer, const GstMt3Note *note)
{
  guint n_criticals = 0;
  GLogLevelFlags fatal = g_log_set_always_fatal (G_LOG_FATAL_MASK);
  GLogFunc handler = g_log_set_default_handler (count_critical, &n_criticals);
  GstMt3NoteMeta *meta = gst_buffer_add_mt3_note_meta (buffer, note);

  g_log_set_default_handler (handler, NULL);
  g_log_set_always_fatal (fatal);
  ck_assert_ptr_null (meta);
  return n_criticals;
}

START_TEST (test_a_buffer_that_is_not_writable_takes_no_note)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new ();
  g_autoptr (GstBuffer) shared = gst_buffer_ref (buffer);

  ck_assert_uint_eq (refuse_note (shared, &begun), 1);
  ck_assert_uint_eq (count_notes (buffer), 0);
}
END_TEST

START_TEST (test_no_note_is_not_attached)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new ();

  ck_assert_uint_eq (refuse_note (buffer, NULL), 1);
  ck_assert_uint_eq (count_notes (buffer), 0);
}
END_TEST

START_TEST (test_a_copy_of_a_buffer_keeps_its_notes)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new_allocate (NULL, 3, NULL);
  gst_buffer_add_mt3_note_meta (buffer, &begun);

  g_autoptr (GstBuffer) copy = gst_buffer_copy (buffer);
  ck_assert_uint_eq (count_notes (copy), 1);
  assert_notes_equal (&gst_buffer_get_mt3_note_meta (copy)->note, &begun);
}
END_TEST

START_TEST (test_copying_twice_does_not_double_a_note)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new_allocate (NULL, 3, NULL);
  GstMt3Note other = ended ();
  gst_buffer_add_mt3_note_meta (buffer, &begun);

  g_autoptr (GstBuffer) copy = gst_buffer_copy (buffer);
  gst_buffer_copy_into (copy, buffer, GST_BUFFER_COPY_META, 0, -1);
  ck_assert_uint_eq (count_notes (copy), 1);

  /* The end of the same note is news. */
  gst_buffer_add_mt3_note_meta (buffer, &other);
  gst_buffer_copy_into (copy, buffer, GST_BUFFER_COPY_META, 0, -1);
  ck_assert_uint_eq (count_notes (copy), 2);
}
END_TEST

START_TEST (test_a_part_of_a_buffer_has_no_notes)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new_allocate (NULL, 3, NULL);
  gst_buffer_add_mt3_note_meta (buffer, &begun);

  g_autoptr (GstBuffer) part =
      gst_buffer_copy_region (buffer, GST_BUFFER_COPY_ALL, 1, 2);
  ck_assert_uint_eq (count_notes (part), 0);
}
END_TEST

static GstPadProbeReturn
add_note (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  GstBuffer *buffer =
      gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));

  gst_buffer_add_mt3_note_meta (buffer, &begun);
  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
count_arrivals (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  guint *arrived = user_data;

  *arrived += count_notes (GST_PAD_PROBE_INFO_BUFFER (info));
  return GST_PAD_PROBE_OK;
}

static void
probe (GstElement *pipeline, const gchar *element, const gchar *pad,
    GstPadProbeCallback callback, gpointer user_data)
{
  g_autoptr (GstElement) owner =
      gst_bin_get_by_name (GST_BIN (pipeline), element);
  g_autoptr (GstPad) probed = gst_element_get_static_pad (owner, pad);

  gst_pad_add_probe (
      probed, GST_PAD_PROBE_TYPE_BUFFER, callback, user_data, NULL);
}

/* Buffers carry 3 notes through each of these. */
static const gchar *const carriers[] = {
    "queue",
    "queue2",
    "multiqueue",
    "tee ! queue",
    "identity",
    "valve",
    "capsfilter caps=audio/x-raw,channels=2",
    "audioconvert ! audio/x-raw,format=S16LE",
    "audioconvert ! audio/x-raw,channels=1",
    "audioresample ! audio/x-raw,rate=16000",
    "volume volume=0.5",
    "level",
};

START_TEST (test_notes_pass)
{
  g_autofree gchar *description =
      g_strdup_printf ("audiotestsrc name=source num-buffers=3 ! "
                       "audio/x-raw,format=F32LE,rate=44100,channels=2 ! %s ! "
                       "fakesink name=sink",
          carriers[_i]);
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) pipeline = gst_parse_launch (description, &error);
  guint arrived = 0;

  ck_assert_msg (error == NULL, "%s", error ? error->message : "");
  probe (pipeline, "source", "src", add_note, NULL);
  probe (pipeline, "sink", "sink", count_arrivals, &arrived);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  gst_element_set_state (pipeline, GST_STATE_NULL);

  ck_assert_int_eq (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  ck_assert_msg (arrived == 3, "%u of 3 pass %s", arrived, carriers[_i]);
}
END_TEST

/* As many as ten hours of dense music have. Time that grows with the square of
 * their number would be minutes. */
#define MANY 400000

START_TEST (test_a_buffer_of_many_notes_can_be_copied)
{
  g_autoptr (GstBuffer) buffer = gst_buffer_new_allocate (NULL, 3, NULL);
  GstMt3Note note = ended ();

  for (note.id = 1; note.id <= MANY; note.id++)
    gst_buffer_add_mt3_note_meta (buffer, &note);

  g_autoptr (GstBuffer) copy = gst_buffer_copy (buffer);
  gst_buffer_copy_into (copy, buffer, GST_BUFFER_COPY_META, 0, -1);
  ck_assert_uint_eq (count_notes (copy), MANY);
}
END_TEST

#if GST_CHECK_VERSION(1, 24, 0)

START_TEST (test_a_serialized_note_comes_back)
{
  g_autoptr (GstBuffer) from = gst_buffer_new ();
  g_autoptr (GstBuffer) to = gst_buffer_new ();
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  GstMt3NoteMeta *meta = gst_buffer_add_mt3_note_meta (from, &begun);
  guint32 consumed;

  ck_assert (gst_meta_serialize_simple (&meta->meta, bytes));
  ck_assert_ptr_nonnull (
      gst_meta_deserialize (to, bytes->data, bytes->len, &consumed));
  ck_assert_uint_eq (consumed, bytes->len);
  assert_notes_equal (&gst_buffer_get_mt3_note_meta (to)->note, &begun);
}
END_TEST

#endif

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("note meta");
  TCase *tcase = tcase_create ("note meta");
  SRunner *runner = srunner_create (suite);
  gint failed;

  gst_init (&argc, &argv);
  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_a_new_note_has_no_times);
  tcase_add_test (tcase, test_a_copy_is_equal);
  tcase_add_test (tcase, test_a_buffer_without_notes_has_none);
  tcase_add_test (tcase, test_a_buffer_carries_notes_in_order);
  tcase_add_test (tcase, test_a_buffer_that_is_not_writable_takes_no_note);
  tcase_add_test (tcase, test_no_note_is_not_attached);
  tcase_add_test (tcase, test_a_copy_of_a_buffer_keeps_its_notes);
  tcase_add_test (tcase, test_copying_twice_does_not_double_a_note);
  tcase_add_test (tcase, test_a_part_of_a_buffer_has_no_notes);
  tcase_add_loop_test (tcase, test_notes_pass, 0, G_N_ELEMENTS (carriers));
  tcase_add_test (tcase, test_a_buffer_of_many_notes_can_be_copied);
#if GST_CHECK_VERSION(1, 24, 0)
  tcase_add_test (tcase, test_a_serialized_note_comes_back);
#endif
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
