/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What happens when what is below or behind mt3transcribe fails: everybody
 * hears of it, nobody hangs, and what was transcribed before is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "element-fixture.h"
#include "midi-chunks.h"

#define EVENTS "audio/x-midi-event"
#define TICK 0xf9

/* Downstream that takes some buffers and then refuses. */
static struct {
  guint n_accepted;
  GstFlowReturn answer;
  GMutex lock;
  GPtrArray *buffers; /* that it took */
} downstream;

static void
setup (void)
{
  fixture_setup ();
  downstream.n_accepted = G_MAXUINT;
  downstream.buffers =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
}

static void
teardown (void)
{
  fixture_teardown ();
  g_ptr_array_unref (downstream.buffers);
}

static GstFlowReturn
take_some (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstFlowReturn ret = GST_FLOW_OK;

  g_mutex_lock (&downstream.lock);
  if (downstream.buffers->len < downstream.n_accepted) {
    g_ptr_array_add (downstream.buffers, buffer);
  } else {
    gst_buffer_unref (buffer);
    ret = downstream.answer;
  }
  g_mutex_unlock (&downstream.lock);

  return ret;
}

static gboolean
say_seekable (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_SEEKING)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_seeking (query, GST_FORMAT_BYTES, TRUE, 0, -1);
  return TRUE;
}

/* Sends as many buffers as it can: a file after every window, or every event
 * and tick by itself. */
static Fixture
new_talkative (const gchar *caps)
{
  Fixture fixture = fixture_new ("scripted");

  g_object_set (fixture.element, "update-interval", (guint64) 1, NULL);
  gst_harness_set_sink_caps_str (fixture.harness, caps);
  /* The harness answers the query for caps. */
  if (g_str_equal (caps, "audio/midi"))
    gst_pad_set_query_function (fixture.harness->sinkpad, say_seekable);
  gst_pad_set_chain_function (fixture.harness->sinkpad, take_some);
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);

  return fixture;
}

/* Each is whole, but for what makes room for the next one. */
static void
check_files (void)
{
  for (guint i = 0; i < downstream.buffers->len; i++) {
    GstBuffer *buffer = g_ptr_array_index (downstream.buffers, i);
    GstMapInfo map;

    if (GST_BUFFER_OFFSET (buffer) > 0)
      continue;
    fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
    check_midi_chunks (map.data, map.size);
    gst_buffer_unmap (buffer, &map);
  }
}

static const struct {
  GstFlowReturn answer;
  gboolean told; /* by the element: downstream itself may have said nothing */
} refusals[] = {
    {GST_FLOW_FLUSHING, FALSE},
    {GST_FLOW_EOS, FALSE},
    {GST_FLOW_ERROR, TRUE},
    {GST_FLOW_NOT_LINKED, TRUE},
    {GST_FLOW_NOT_NEGOTIATED, TRUE},
};

static void
forget_events (Fixture *fixture)
{
  GstEvent *event;

  while ((event = gst_harness_try_pull_event (fixture->harness)))
    gst_event_unref (event);
}

static void
check_told (Fixture *fixture, gboolean told)
{
  GstMessage *message;

  if (told) {
    gst_message_unref (fixture_wait (fixture, GST_MESSAGE_ERROR));
    return;
  }
  message = gst_bus_pop_filtered (fixture->bus, GST_MESSAGE_ERROR);
  fail_unless (message == NULL);
}

/* After the n-th buffer, for every n. */
static void
check_refusal (const gchar *caps, guint n_accepted, guint i)
{
  g_auto (Fixture) fixture = new_talkative (caps);

  g_ptr_array_set_size (downstream.buffers, 0);
  downstream.n_accepted = n_accepted;
  downstream.answer = refusals[i].answer;
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1000, 0), refusals[i].answer);
  fail_unless_equals_int (downstream.buffers->len, n_accepted);
  check_told (&fixture, refusals[i].told);
  /* Refused for good: no more is computed. */
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1, fixture_windows_time (1000)),
      refusals[i].answer);
  if (g_str_equal (caps, "audio/midi"))
    check_files ();
}

GST_START_TEST (downstream_may_refuse_any_file)
{
  for (guint n = 0; n < 5; n++)
    check_refusal ("audio/midi", n, __i__);
}

GST_END_TEST

GST_START_TEST (downstream_may_refuse_any_event)
{
  for (guint n = 0; n < 60; n += 7)
    check_refusal (EVENTS, n, __i__);
}

GST_END_TEST

/* It waits for that, as a queue would send it: a sink that was to take so many
 * buffers, say. */
GST_START_TEST (downstream_that_has_enough_hears_of_the_end)
{
  static const gchar *const caps[] = {"audio/midi", EVENTS};
  g_auto (Fixture) fixture = new_talkative (caps[__i__]);

  downstream.n_accepted = 1;
  downstream.answer = GST_FLOW_EOS;
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1000, 0), GST_FLOW_EOS);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
}

GST_END_TEST

GST_START_TEST (downstream_may_refuse_the_last_file)
{
  g_auto (Fixture) fixture = new_talkative ("audio/midi");

  g_object_set (fixture.element, "update-interval", (guint64) 0, NULL);
  downstream.n_accepted = 0;
  downstream.answer = refusals[__i__].answer;
  fail_unless_equals_int (fixture_push_windows (&fixture, 3, 0), GST_FLOW_OK);
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  if (refusals[__i__].told)
    check_told (&fixture, TRUE);
}

GST_END_TEST

GST_START_TEST (a_flush_mends_a_refusal)
{
  const gint windows[] = {0, 1, 2, -1};
  g_auto (Fixture) fixture = new_talkative ("audio/midi");
  g_autoptr (GPtrArray) notes = NULL;
  GstSegment segment;

  downstream.n_accepted = 1;
  downstream.answer = refusals[__i__].answer;
  fixture_push_windows (&fixture, 1000, 0);
  downstream.n_accepted = G_MAXUINT;
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  forget_events (&fixture);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fail_unless_equals_int (fixture_push_windows (&fixture, 3, 0), GST_FLOW_OK);
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  notes = gst_buffer_get_mt3_notes (
      g_ptr_array_index (downstream.buffers, downstream.buffers->len - 1));
  fixture_check_notes (notes, 0, windows);
}

GST_END_TEST

GST_START_TEST (an_unlinked_source_pad_is_an_error)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);
  GstHarness *harness = gst_harness_new_with_element (element, "sink", NULL);
  Fixture fixture = {harness, element, gst_bus_new ()};
  gboolean ended;

  gst_element_set_bus (element, fixture.bus);
  gst_harness_set_src_caps_str (harness, FIXTURE_CAPS);
  fixture_push_windows (&fixture, 1, 0);
  ended = gst_harness_push_event (harness, gst_event_new_eos ());
  fail_unless (ended);
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "not-linked");
  fixture_free (&fixture);
}

GST_END_TEST

GST_START_TEST (downstream_that_takes_no_midi_is_an_error)
{
  g_auto (Fixture) fixture = fixture_new ("scripted");

  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-none");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0));
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "not-negotiated");
}

GST_END_TEST

/* The engine */

static const struct {
  const gchar *model_file;
  gint resource; /* GstResourceError */
} unopened[] = {
    {SCRIPT_MISSING, GST_RESOURCE_ERROR_NOT_FOUND},
    {SCRIPT_DAMAGED, GST_RESOURCE_ERROR_READ},
    {SCRIPT_MISDRAFTED, GST_RESOURCE_ERROR_SETTINGS},
};

/* Known too late to have the state change fail. */
GST_START_TEST (a_model_that_cannot_be_opened_is_named)
{
  g_auto (Fixture) fixture = {NULL};

  script_set_hold_open (TRUE);
  fixture = fixture_new (unopened[__i__].model_file);
  script_set_hold_open (FALSE);
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1, 0), GST_FLOW_ERROR);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR, unopened[__i__].resource,
      unopened[__i__].model_file);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 0);
}

GST_END_TEST

static const struct {
  Mt3Error code;
  gint resource; /* GstResourceError */
} failures[] = {
    {MT3_ERROR_DEVICE, GST_RESOURCE_ERROR_FAILED},
    {MT3_ERROR_MEMORY, GST_RESOURCE_ERROR_NO_SPACE_LEFT},
};

/* In the last of the files that were written. */
GST_START_TEST (the_file_has_what_was_transcribed_before_the_engine_failed)
{
  const gint windows[] = {0, 1, 2, -1};
  g_auto (Fixture) fixture = new_talkative ("audio/midi");
  g_autoptr (GPtrArray) notes = NULL;

  script.fail_code = failures[__i__].code;
  script.fail_at = 3;
  fixture_push_windows (&fixture, 3, 0);
  fixture_wait_windows (&fixture, 3);
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1000, fixture_windows_time (3)),
      GST_FLOW_ERROR);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR, failures[__i__].resource,
      "the device was lost");
  notes = gst_buffer_get_mt3_notes (
      g_ptr_array_index (downstream.buffers, downstream.buffers->len - 1));
  fixture_check_notes (notes, 0, windows);
}

GST_END_TEST

/* How many notes begin and end in what downstream took. */
static void
count_events (guint *n_on, guint *n_off)
{
  for (guint i = 0; i < downstream.buffers->len; i++) {
    guint8 status = 0;

    gst_buffer_extract (downstream.buffers->pdata[i], 0, &status, 1);
    *n_on += status >> 4 == 9;
    *n_off += status >> 4 == 8;
  }
}

/* Nothing goes on sounding. */
GST_START_TEST (the_events_have_what_was_transcribed_before_the_engine_failed)
{
  g_auto (Fixture) fixture = new_talkative (EVENTS);
  guint n_on = 0, n_off = 0;

  script.sustain = TRUE;
  script.fail_at = 3;
  fixture_push_windows (&fixture, 3, 0);
  fixture_wait_windows (&fixture, 3);
  fixture_push_windows (&fixture, 1000, fixture_windows_time (3));
  gst_message_unref (fixture_wait (&fixture, GST_MESSAGE_ERROR));
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  count_events (&n_on, &n_off);
  fail_unless_equals_int (n_on, 3);
  fail_unless_equals_int (n_off, 3);
}

GST_END_TEST

/* The file first, then the error, and only then does upstream learn of it. */
GST_START_TEST (what_was_transcribed_before_a_failure_is_written)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};
  g_autoptr (GPtrArray) notes = NULL;

  script.fail_at = 3;
  fixture_push_windows (&fixture, 3, 0);
  fixture_wait_windows (&fixture, 3);
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1000, fixture_windows_time (3)),
      GST_FLOW_ERROR);
  fail_unless_equals_int (gst_harness_buffers_in_queue (fixture.harness), 1);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_FAILED,
      "the device was lost");
  notes = fixture_pull_notes (&fixture);
  fixture_check_notes (notes, 0, windows);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
}

GST_END_TEST

/* Upstream */

GST_START_TEST (audio_without_caps_is_not_negotiated)
{
  g_auto (Fixture) fixture = fixture_new ("scripted");
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_stream_start ("x"));
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fail_unless_equals_int (
      gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0)),
      GST_FLOW_NOT_NEGOTIATED);
}

GST_END_TEST

/* Its end lies after the segment's, but its samples do not. */
GST_START_TEST (a_buffer_that_claims_to_be_longer_is_heard)
{
  const gint windows[] = {0, -1};
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstBuffer *buffer = fixture_buffer (0.5f, SCRIPT_WINDOW, 0);
  g_autoptr (GPtrArray) notes = NULL;
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.stop = GST_SECOND;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  GST_BUFFER_DURATION (buffer) = 10 * GST_SECOND;
  fail_unless_equals_int (
      gst_harness_push (fixture.harness, buffer), GST_FLOW_OK);
  notes = fixture_finish (&fixture);
  fixture_check_notes (notes, 0, windows);
}

GST_END_TEST

/* Sinks */

/* @n_windows windows into @sink; returns the ERROR that comes of it. */
static GstMessage *
play_into (const gchar *sink, guint n_windows)
{
  g_autofree gchar *line = g_strdup_printf (
      "audiotestsrc samplesperbuffer=%u num-buffers=%u ! " FIXTURE_CAPS
      " ! mt3transcribe model-file=scripted update-interval=1 ! %s",
      SCRIPT_WINDOW, n_windows, sink);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error);
  GstBus *bus;
  GstMessage *message;

  g_assert_no_error (error);
  bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);

  return message;
}

/* The sink says so itself, first, and knows best why. */
static void
check_error_of_sink (GstMessage *message, gint code)
{
  g_autoptr (GError) error = NULL;

  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_ERROR);
  gst_message_parse_error (message, &error, NULL);
  fail_unless (GST_OBJECT_FLAG_IS_SET (
      GST_MESSAGE_SRC (message), GST_ELEMENT_FLAG_SINK));
  fail_unless (
      g_error_matches (error, GST_RESOURCE_ERROR, code), "%s", error->message);
  gst_message_unref (message);
}

GST_START_TEST (a_full_disk_is_the_sinks_error)
{
  check_error_of_sink (
      play_into ("filesink buffer-mode=unbuffered location=/dev/full", 50),
      GST_RESOURCE_ERROR_NO_SPACE_LEFT);
}

GST_END_TEST

/* How many bytes the header and the tracks that it tells of have, which must be
 * whole. */
static gsize
midi_size (const gchar *data, gsize size)
{
  const guint8 *bytes = (const guint8 *) data;
  guint n_tracks;
  gsize at = 14;

  fail_unless (size > at && memcmp (data, "MThd", 4) == 0);
  n_tracks = bytes[10] << 8 | bytes[11];
  for (guint i = 0; i < n_tracks; i++) {
    fail_unless (at + 8 <= size && memcmp (data + at, "MTrk", 4) == 0);
    at += 8 + read_uint32_be (bytes + at + 4);
    fail_unless (at <= size, "track %u ends at %zu of %zu", i, at, size);
    fail_unless (memcmp (data + at - 3, "\xff\x2f\0", 3) == 0);
  }
  return at;
}

static const gchar *const buffer_modes[] = {"buffer-mode=unbuffered",
    "buffer-mode=full buffer-size=1000", "buffer-mode=full"};

/* As on a disk that fills up: the last file that was written whole is there. */
GST_START_TEST (a_disk_that_fills_up_keeps_the_last_whole_file)
{
  const gsize room = 3000;
  const struct rlimit little = {room, RLIM_INFINITY};
  struct rlimit before;
  g_autofree gchar *path = NULL, *line = NULL, *data = NULL;
  gsize size;
  gint fd = g_file_open_tmp ("mt3-full-XXXXXX", &path, NULL);

  fail_unless (fd >= 0);
  close (fd);
  line = g_strdup_printf ("filesink %s location=%s", buffer_modes[__i__], path);
  signal (SIGXFSZ, SIG_IGN);
  getrlimit (RLIMIT_FSIZE, &before);
  setrlimit (RLIMIT_FSIZE, &little);
  check_error_of_sink (play_into (line, 1000), GST_RESOURCE_ERROR_WRITE);
  setrlimit (RLIMIT_FSIZE, &before);
  fail_unless (g_file_get_contents (path, &data, &size, NULL));
  g_unlink (path);
  fail_unless_equals_int (size, room);
  /* What one window adds, at most, was not written. */
  fail_unless (midi_size (data, size) > room - 100);
}

GST_END_TEST

GST_START_TEST (a_broken_pipe_is_the_sinks_error)
{
  g_autofree gchar *line = NULL;
  gint pipes[2];

  signal (SIGPIPE, SIG_IGN);
  fail_unless (pipe (pipes) == 0);
  close (pipes[0]);
  line = g_strdup_printf ("fdsink fd=%d", pipes[1]);
  check_error_of_sink (play_into (line, 10), GST_RESOURCE_ERROR_WRITE);
  close (pipes[1]);
}

GST_END_TEST

static Suite *
failure_suite (void)
{
  Suite *suite = suite_create ("failure");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_loop_test (
      tcase, downstream_may_refuse_any_file, 0, G_N_ELEMENTS (refusals));
  tcase_add_loop_test (
      tcase, downstream_may_refuse_any_event, 0, G_N_ELEMENTS (refusals));
  tcase_add_loop_test (
      tcase, downstream_that_has_enough_hears_of_the_end, 0, 2);
  tcase_add_loop_test (
      tcase, downstream_may_refuse_the_last_file, 0, G_N_ELEMENTS (refusals));
  tcase_add_loop_test (
      tcase, a_flush_mends_a_refusal, 0, G_N_ELEMENTS (refusals));
  tcase_add_test (tcase, an_unlinked_source_pad_is_an_error);
  tcase_add_test (tcase, downstream_that_takes_no_midi_is_an_error);
  tcase_add_loop_test (tcase, a_model_that_cannot_be_opened_is_named, 0,
      G_N_ELEMENTS (unopened));
  tcase_add_loop_test (tcase,
      the_file_has_what_was_transcribed_before_the_engine_failed, 0,
      G_N_ELEMENTS (failures));
  tcase_add_test (
      tcase, the_events_have_what_was_transcribed_before_the_engine_failed);
  tcase_add_test (tcase, what_was_transcribed_before_a_failure_is_written);
  tcase_add_test (tcase, audio_without_caps_is_not_negotiated);
  tcase_add_test (tcase, a_buffer_that_claims_to_be_longer_is_heard);
  tcase_add_test (tcase, a_full_disk_is_the_sinks_error);
  tcase_add_loop_test (tcase, a_disk_that_fills_up_keeps_the_last_whole_file, 0,
      G_N_ELEMENTS (buffer_modes));
  tcase_add_test (tcase, a_broken_pipe_is_the_sinks_error);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (failure);
