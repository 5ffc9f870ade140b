/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3transcribe comes, goes and is stopped at any moment.
 */
#include "element-fixture.h"

static GstElement *
new_element (void)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);

  g_object_set (element, "model-file", "scripted", NULL);
  return gst_object_ref_sink (element);
}

static void
set_state (GstElement *element, GstState state)
{
  fail_unless (
      gst_element_set_state (element, state) != GST_STATE_CHANGE_FAILURE);
}

GST_START_TEST (every_state_follows_every_other)
{
  GstElement *element = new_element ();

  for (GstState from = GST_STATE_NULL; from <= GST_STATE_PLAYING; from++)
    for (GstState to = GST_STATE_NULL; to <= GST_STATE_PLAYING; to++) {
      set_state (element, from);
      set_state (element, to);
    }
  set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST

/* Does not return, or does not end, if something waits for the model. */
GST_START_TEST (stopping_does_not_wait_for_the_model)
{
  GstElement *element = new_element ();

  script_set_hold_open (TRUE);
  set_state (element, GST_STATE_PLAYING);
  script_wait_opening (1);
  set_state (element, GST_STATE_NULL);
  script_set_hold_open (FALSE);
  script_wait_opened (1);
  script_wait_no_engines ();
  gst_object_unref (element);
}

GST_END_TEST

static void
note_end (gpointer ended, GObject *object)
{
  g_atomic_int_set ((gint *) ended, TRUE);
}

GST_START_TEST (an_element_may_go_while_its_model_opens)
{
  GstElement *element = new_element ();
  gint ended = FALSE;

  g_object_weak_ref (G_OBJECT (element), note_end, &ended);
  script_set_hold_open (TRUE);
  set_state (element, GST_STATE_READY);
  script_wait_opening (1);
  set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
  script_set_hold_open (FALSE);
  while (!g_atomic_int_get (&ended))
    g_usleep (1000);
}

GST_END_TEST

/* The end of the messages on @bus. */
static GstProgressType
pop_progress (GstBus *bus)
{
  GstProgressType type = GST_PROGRESS_TYPE_COMPLETE;
  GstMessage *message;

  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_PROGRESS))) {
    gst_message_parse_progress (message, &type, NULL, NULL);
    gst_message_unref (message);
  }
  return type;
}

/* The bin that messages go through may be gone then. */
GST_START_TEST (a_load_that_was_given_up_says_nothing_any_more)
{
  GstElement *element = new_element ();
  GstBus *bus = gst_bus_new ();
  GstMessage *message;

  gst_element_set_bus (element, bus);
  script_set_hold_open (TRUE);
  set_state (element, GST_STATE_READY);
  script_wait_opening (1);
  set_state (element, GST_STATE_NULL);
  fail_unless_equals_int (pop_progress (bus), GST_PROGRESS_TYPE_CANCELED);
  script_set_hold_open (FALSE);
  script_wait_opened (1);
  script_wait_no_engines ();
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_PROGRESS);
  fail_unless (message == NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST

/* How far a message has come. */
enum { ON_ITS_WAY, HEARD, HANDLED };

static GstBusSyncReply
handle_slowly (GstBus *bus, GstMessage *message, gpointer state)
{
  GstProgressType type = GST_PROGRESS_TYPE_START;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_PROGRESS)
    gst_message_parse_progress (message, &type, NULL, NULL);
  gst_message_unref (message);
  if (type == GST_PROGRESS_TYPE_COMPLETE) {
    g_atomic_int_set ((gint *) state, HEARD);
    g_usleep (50000);
    g_atomic_int_set ((gint *) state, HANDLED);
  }
  return GST_BUS_DROP;
}

GST_START_TEST (stopping_waits_for_a_message_that_is_under_way)
{
  GstElement *element = new_element ();
  GstBus *bus = gst_bus_new ();
  gint state = ON_ITS_WAY;

  gst_bus_set_sync_handler (bus, handle_slowly, &state, NULL);
  gst_element_set_bus (element, bus);
  set_state (element, GST_STATE_READY);
  while (g_atomic_int_get (&state) == ON_ITS_WAY)
    g_usleep (100);
  set_state (element, GST_STATE_NULL);
  fail_unless_equals_int (g_atomic_int_get (&state), HANDLED);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST

/* Of a message of its own, so in the thread that opens the model. */
static GstBusSyncReply
stop_when_open (GstBus *bus, GstMessage *message, gpointer state)
{
  GstProgressType type = GST_PROGRESS_TYPE_START;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_PROGRESS)
    gst_message_parse_progress (message, &type, NULL, NULL);
  if (type == GST_PROGRESS_TYPE_COMPLETE) {
    gst_element_set_state (
        GST_ELEMENT (GST_MESSAGE_SRC (message)), GST_STATE_NULL);
    g_atomic_int_set ((gint *) state, HANDLED);
  }
  gst_message_unref (message);
  return GST_BUS_DROP;
}

GST_START_TEST (who_hears_that_the_model_is_open_may_stop)
{
  GstElement *element = new_element ();
  GstBus *bus = gst_bus_new ();
  gint state = ON_ITS_WAY;

  gst_bus_set_sync_handler (bus, stop_when_open, &state, NULL);
  gst_element_set_bus (element, bus);
  set_state (element, GST_STATE_READY);
  while (g_atomic_int_get (&state) != HANDLED)
    g_usleep (100);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST

GST_START_TEST (other_settings_open_another_model)
{
  GstElement *element = new_element ();

  set_state (element, GST_STATE_READY);
  script_wait_opened (1);
  set_state (element, GST_STATE_PAUSED);
  set_state (element, GST_STATE_READY);
  fail_unless_equals_int (script.n_opened, 1);
  g_object_set (element, "model-file", "another", NULL);
  set_state (element, GST_STATE_PAUSED);
  script_wait_opened (2);
  fail_unless_equals_string (script.options.model_file, "another");
  set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST

static const gchar *const failing[] = {SCRIPT_MISSING, SCRIPT_DAMAGED};

static GstElement *
new_failing_element (const gchar *model_file, GstBus *bus)
{
  GstElement *element = new_element ();

  g_object_set (element, "model-file", model_file, NULL);
  gst_element_set_bus (element, bus);
  return element;
}

/* Messages that nobody has read hold the element, which holds the bus. */
static void
stop_and_free (GstElement *element, GstBus *bus)
{
  set_state (element, GST_STATE_NULL);
  gst_bus_set_flushing (bus, TRUE);
  gst_object_unref (bus);
  gst_object_unref (element);
}

static void
must_not_pause (GstElement *element)
{
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_FAILURE);
}

static guint
pop_errors (GstBus *bus)
{
  guint n = 0;
  GstMessage *message;

  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR))) {
    gst_message_unref (message);
    n++;
  }
  return n;
}

/* Who reads the bus after the state change waits for ever otherwise. */
GST_START_TEST (without_a_model_the_change_to_paused_fails_with_one_error)
{
  GstBus *bus = gst_bus_new ();
  GstElement *element = new_failing_element (failing[__i__], bus);

  must_not_pause (element);
  fail_unless_equals_int (
      gst_element_get_state (element, NULL, NULL, 0), GST_STATE_CHANGE_FAILURE);
  fail_unless_equals_int (pop_errors (bus), 1);
  stop_and_free (element, bus);
}

GST_END_TEST

GST_START_TEST (an_error_told_in_ready_is_told_once)
{
  GstBus *bus = gst_bus_new ();
  GstElement *element = new_failing_element (failing[__i__], bus);

  set_state (element, GST_STATE_READY);
  gst_message_unref (
      gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_ERROR));
  must_not_pause (element);
  fail_unless_equals_int (pop_errors (bus), 0);
  stop_and_free (element, bus);
}

GST_END_TEST

/* Somebody may have put a file there. */
GST_START_TEST (a_model_that_failed_is_tried_and_told_again)
{
  GstBus *bus = gst_bus_new ();
  GstElement *element = new_failing_element (failing[__i__], bus);

  must_not_pause (element);
  for (guint i = 0; i < 3; i++) {
    guint n_opened = script.n_opened;

    pop_errors (bus);
    must_not_pause (element);
    fail_unless_equals_int (script.n_opened, n_opened + 1);
    fail_unless_equals_int (pop_errors (bus), 1);
  }
  stop_and_free (element, bus);
}

GST_END_TEST

GST_START_TEST (a_model_that_takes_long_to_fail_does_not_hold_paused_up)
{
  GstBus *bus = gst_bus_new ();
  GstElement *element = new_failing_element (failing[__i__], bus);

  script_set_hold_open (TRUE);
  set_state (element, GST_STATE_PAUSED);
  fail_unless_equals_int (pop_errors (bus), 0);
  script_set_hold_open (FALSE);
  gst_message_unref (
      gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_ERROR));
  stop_and_free (element, bus);
}

GST_END_TEST

static gpointer
push_many (gpointer fixture)
{
  return GINT_TO_POINTER (fixture_push_windows (fixture, 1000, 0));
}

static void
check_stop_while_pushing (GstState state, gboolean hold_open)
{
  g_auto (Fixture) fixture = {NULL};
  GThread *thread;

  script_set_hold_open (hold_open);
  script_set_hold_decode (!hold_open);
  fixture = fixture_new_playing ();
  thread = g_thread_new ("push", push_many, &fixture);
  if (hold_open)
    script_wait_opening (1);
  else
    script_wait_held ();
  /* The backend cannot be broken off in the middle of a step. */
  if (!hold_open)
    script_set_hold_decode (FALSE);
  set_state (fixture.element, state);
  fail_unless_equals_int (
      GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
  script_set_hold_open (FALSE);
}

GST_START_TEST (stopping_wakes_the_wait_for_the_model)
{
  check_stop_while_pushing (GST_STATE_READY, TRUE);
}

GST_END_TEST

GST_START_TEST (stopping_wakes_the_wait_for_room)
{
  check_stop_while_pushing (GST_STATE_READY, FALSE);
}

GST_END_TEST

/* A second run of the same element knows nothing of the first. */
GST_START_TEST (a_stopped_element_starts_over)
{
  const gint windows[] = {0, 1, -1};
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 5, 0);
  set_state (fixture.element, GST_STATE_READY);
  set_state (fixture.element, GST_STATE_PLAYING);
  gst_harness_push_event (
      fixture.harness, gst_event_new_stream_start ("again"));
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fail_unless_equals_int (fixture_push_windows (&fixture, 2, 0), GST_FLOW_OK);
  notes = fixture_finish (&fixture);
  fixture_check_notes (notes, 0, windows);
}

GST_END_TEST

static gpointer
push_stream_start (gpointer harness)
{
  gst_harness_push_event (harness, gst_event_new_stream_start ("another"));

  return NULL;
}

static gpointer
stop (gpointer element)
{
  set_state (element, GST_STATE_READY);

  return NULL;
}

/* The lock of the source pad's task holds up both: the stream before it starts
 * that task anew, the state change before it is through with stopping it. */
GST_START_TEST (a_stream_that_begins_while_it_stops_starts_nothing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstPad *srcpad = gst_element_get_static_pad (fixture.element, "src");
  GThread *pushing, *stopping;

  fixture_push_windows (&fixture, 1, 0);
  g_ptr_array_unref (fixture_finish (&fixture));
  GST_PAD_STREAM_LOCK (srcpad);
  pushing = g_thread_new ("push", push_stream_start, fixture.harness);
  g_usleep (50000);
  stopping = g_thread_new ("stop", stop, fixture.element);
  while (gst_pad_is_active (srcpad))
    g_usleep (1000);
  g_usleep (50000);
  GST_PAD_STREAM_UNLOCK (srcpad);
  g_thread_join (pushing);
  g_thread_join (stopping);
  fail_unless (GST_PAD_TASK (srcpad) == NULL);
  gst_object_unref (srcpad);
}

GST_END_TEST

static void
seek_to (GstElement *pipeline, GRand *rand)
{
  gst_element_seek_simple (pipeline, GST_FORMAT_TIME,
      GST_SEEK_FLAG_FLUSH |
          (g_rand_boolean (rand) ? GST_SEEK_FLAG_ACCURATE : 0),
      g_rand_int_range (rand, 0, 20) * GST_SECOND);
}

/* Every loop another order of events and moments. */
GST_START_TEST (anything_at_any_moment)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (__i__);
  g_autofree gchar *line = g_strdup_printf (
      "audiotestsrc samplesperbuffer=1000 num-buffers=20000 wave=white-noise ! "
      "audio/x-raw, rate=44100, channels=2 ! "
      "mt3transcribe model-file=scripted ! %s ! queue ! fakesink sync=false",
      __i__ % 2 ? "audio/midi" : "audio/x-midi-event");
  GstElement *pipeline = gst_parse_launch (line, NULL);

  for (guint i = 0; i < 30; i++) {
    if (g_rand_int_range (rand, 0, 3) == 0)
      seek_to (pipeline, rand);
    else
      set_state (pipeline,
          g_rand_int_range (rand, GST_STATE_NULL, GST_STATE_PLAYING + 1));
    g_usleep (g_rand_int_range (rand, 0, 5000));
  }
  set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

GST_END_TEST

static Suite *
states_suite (void)
{
  Suite *suite = suite_create ("states");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, every_state_follows_every_other);
  tcase_add_test (tcase, stopping_does_not_wait_for_the_model);
  tcase_add_test (tcase, an_element_may_go_while_its_model_opens);
  tcase_add_test (tcase, a_load_that_was_given_up_says_nothing_any_more);
  tcase_add_test (tcase, stopping_waits_for_a_message_that_is_under_way);
  tcase_add_test (tcase, who_hears_that_the_model_is_open_may_stop);
  tcase_add_test (tcase, other_settings_open_another_model);
  tcase_add_loop_test (tcase,
      without_a_model_the_change_to_paused_fails_with_one_error, 0,
      G_N_ELEMENTS (failing));
  tcase_add_loop_test (
      tcase, an_error_told_in_ready_is_told_once, 0, G_N_ELEMENTS (failing));
  tcase_add_loop_test (tcase, a_model_that_failed_is_tried_and_told_again, 0,
      G_N_ELEMENTS (failing));
  tcase_add_loop_test (tcase,
      a_model_that_takes_long_to_fail_does_not_hold_paused_up, 0,
      G_N_ELEMENTS (failing));
  tcase_add_test (tcase, stopping_wakes_the_wait_for_the_model);
  tcase_add_test (tcase, stopping_wakes_the_wait_for_room);
  tcase_add_test (tcase, a_stopped_element_starts_over);
  tcase_add_test (tcase, a_stream_that_begins_while_it_stops_starts_nothing);
  tcase_add_loop_test (tcase, anything_at_any_moment, 0, 20);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (states);
