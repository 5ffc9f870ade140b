/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What others ask mt3transcribe, what it tells, and what is set.
 */
#include <math.h>

#include "element-fixture.h"

/* Seeks and queries */

GST_START_TEST (only_forward_seeks_in_time_go_upstream)
{
  static const struct {
    GstFormat format;
    gdouble rate;
    gboolean passes;
  } cases[] = {{GST_FORMAT_TIME, 1.0, TRUE}, {GST_FORMAT_TIME, -1.0, FALSE},
      {GST_FORMAT_BYTES, 1.0, FALSE}, {GST_FORMAT_DEFAULT, 1.0, FALSE}};
  g_auto (Fixture) fixture = fixture_new_playing ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstEvent *event = gst_event_new_seek (cases[i].rate, cases[i].format,
        GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0);
    guint before = gst_harness_upstream_events_received (fixture.harness);

    gst_harness_push_upstream_event (fixture.harness, event);
    fail_unless_equals_int (
        gst_harness_upstream_events_received (fixture.harness) - before,
        cases[i].passes);
  }
}

GST_END_TEST

GST_START_TEST (quality_events_stay_here)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  guint before = gst_harness_upstream_events_received (fixture.harness);

  gst_harness_push_upstream_event (fixture.harness,
      gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 0.5, GST_SECOND, 0));
  fail_unless_equals_int (
      gst_harness_upstream_events_received (fixture.harness), before);
}

GST_END_TEST

static gboolean
answer_upstream (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstFormat format;

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_DURATION:
      gst_query_parse_duration (query, &format, NULL);
      gst_query_set_duration (query, format, fixture_windows_time (10));
      return TRUE;
    case GST_QUERY_POSITION:
      gst_query_parse_position (query, &format, NULL);
      gst_query_set_position (query, format, fixture_windows_time (5));
      return TRUE;
    default:
      return gst_pad_query_default (pad, parent, query);
  }
}

GST_START_TEST (times_are_upstreams_and_bytes_are_nobodys)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstPad *src = GST_PAD_PEER (fixture.harness->sinkpad);
  GstQuery *query = gst_query_new_seeking (GST_FORMAT_BYTES);
  gboolean seekable;
  gint64 value;

  gst_pad_set_query_function (fixture.harness->srcpad, answer_upstream);
  fail_unless (gst_pad_query_duration (src, GST_FORMAT_TIME, &value));
  fail_unless_equals_int64 (value, fixture_windows_time (10));
  fail_unless (gst_pad_query_position (src, GST_FORMAT_TIME, &value));
  fail_if (gst_pad_query_duration (src, GST_FORMAT_BYTES, &value));
  fail_if (gst_pad_query_position (src, GST_FORMAT_BYTES, &value));
  fail_if (gst_pad_query_convert (
      src, GST_FORMAT_BYTES, 1, GST_FORMAT_TIME, &value));
  fail_unless (gst_pad_query (src, query));
  gst_query_parse_seeking (query, NULL, &seekable, NULL, NULL);
  fail_if (seekable);
  gst_query_unref (query);
}

GST_END_TEST

static void
check_source_caps (Fixture *fixture, const gchar *filter, const gchar *expected)
{
  GstPad *src = GST_PAD_PEER (fixture->harness->sinkpad);
  g_autoptr (GstCaps) asked = filter ? gst_caps_from_string (filter) : NULL;
  g_autoptr (GstCaps) caps = gst_pad_query_caps (src, asked);
  g_autofree gchar *text = gst_caps_to_string (caps);

  fail_unless_equals_string (text, expected);
}

GST_START_TEST (source_caps_are_the_templates_until_one_is_chosen)
{
  static const struct {
    const gchar *filter;
    const gchar *before;
    const gchar *chosen;
  } cases[] = {
      {NULL, "audio/midi; audio/x-midi-event", "audio/midi"},
      {"ANY", "audio/midi; audio/x-midi-event", "audio/midi"},
      {"audio/x-midi-event; audio/midi", "audio/x-midi-event; audio/midi",
          "audio/midi"},
      {"audio/x-midi-event", "audio/x-midi-event", "EMPTY"},
      {"audio/x-raw", "EMPTY", "EMPTY"},
  };
  g_auto (Fixture) fixture = fixture_new_playing ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    check_source_caps (&fixture, cases[i].filter, cases[i].before);
  fixture_push_windows (&fixture, 1, 0);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_CAPS));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    check_source_caps (&fixture, cases[i].filter, cases[i].chosen);
}

GST_END_TEST

/* Messages, statistics, settings */

GST_START_TEST (progress_is_told_when_the_duration_is_known)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  gint percent, last = -1;
  GstProgressType type = GST_PROGRESS_TYPE_CONTINUE;

  gst_pad_set_query_function (fixture.harness->srcpad, answer_upstream);
  fixture_push_windows (&fixture, 10, 0);
  notes = fixture_finish (&fixture);
  while (type != GST_PROGRESS_TYPE_COMPLETE) {
    GstMessage *message = fixture_wait (&fixture, GST_MESSAGE_PROGRESS);
    g_autofree gchar *code = NULL;

    gst_message_parse_progress (message, &type, &code, NULL);
    if (g_str_equal (code, "transcribe")) {
      fail_unless (gst_structure_get_int (
          gst_message_get_structure (message), "percent", &percent));
      fail_unless_equals_int (type == GST_PROGRESS_TYPE_START, last < 0);
      fail_unless (percent >= last);
      last = percent;
    } else {
      type = GST_PROGRESS_TYPE_CONTINUE;
    }
    gst_message_unref (message);
  }
  fail_unless_equals_int (last, 100);
}

GST_END_TEST

GST_START_TEST (stats_tell_what_was_done)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstBuffer *odd = fixture_buffer (NAN, 10, fixture_windows_time (2));
  g_autoptr (GPtrArray) notes = NULL;
  g_autoptr (GstStructure) stats = NULL;
  guint64 windows, tokens, n_notes, replaced;
  gdouble seconds;

  fixture_push_windows (&fixture, 2, 0);
  gst_harness_push (fixture.harness, odd);
  notes = fixture_finish (&fixture);
  g_object_get (fixture.element, "stats", &stats, NULL);
  fail_unless_equals_string (gst_structure_get_string (stats, "device"), "cpu");
  fail_unless_equals_string (
      gst_structure_get_string (stats, "precision"), "exact");
  fail_unless (gst_structure_get (stats, "windows", G_TYPE_UINT64, &windows,
      "tokens", G_TYPE_UINT64, &tokens, "notes", G_TYPE_UINT64, &n_notes,
      "replaced-samples", G_TYPE_UINT64, &replaced, "audio-seconds",
      G_TYPE_DOUBLE, &seconds, NULL));
  fail_unless_equals_uint64 (windows, 3);
  fail_unless_equals_uint64 (tokens, 2 * 8 + 1);
  fail_unless_equals_uint64 (n_notes, 2);
  fail_unless_equals_uint64 (replaced, 10);
  fail_unless_equals_float (seconds, 0.52); /* whole frames */
}

GST_END_TEST

GST_START_TEST (settings_reach_the_engine)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);

  gst_util_set_object_arg (G_OBJECT (element), "device", "cuda");
  gst_util_set_object_arg (G_OBJECT (element), "precision", "bf16");
  g_object_set (element, "model-file", "a-model", "cuda-device-id", 3,
      "threads", 5, "batch-size", 7, NULL);
  gst_element_set_state (element, GST_STATE_READY);
  script_wait_opened (1);
  fail_unless_equals_string (script.options.model_file, "a-model");
  fail_unless_equals_int (script.options.device, MT3_DEVICE_CUDA);
  fail_unless_equals_int (script.options.precision, MT3_PRECISION_BF16);
  fail_unless_equals_int (script.options.cuda_device_id, 3);
  fail_unless_equals_int (script.options.n_threads, 5);
  fail_unless_equals_int (script.options.batch_size, 7);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST

GST_START_TEST (max_tokens_may_change_while_playing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 1, 0);
  g_object_set (fixture.element, "max-tokens", 12, NULL);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (script_last_decoding ()->max_tokens, 12);
}

GST_END_TEST

static Suite *
queries_suite (void)
{
  Suite *suite = suite_create ("queries");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, only_forward_seeks_in_time_go_upstream);
  tcase_add_test (tcase, quality_events_stay_here);
  tcase_add_test (tcase, times_are_upstreams_and_bytes_are_nobodys);
  tcase_add_test (tcase, source_caps_are_the_templates_until_one_is_chosen);
  tcase_add_test (tcase, progress_is_told_when_the_duration_is_known);
  tcase_add_test (tcase, stats_tell_what_was_done);
  tcase_add_test (tcase, settings_reach_the_engine);
  tcase_add_test (tcase, max_tokens_may_change_while_playing);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (queries);
