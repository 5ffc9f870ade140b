/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Many streams in one process, and live ones, with the real engine and tiny
 * random models. What the notes are does not matter here, but that they are
 * the same.
 */
#include <gst/check/gstcheck.h>

#define N_ELEMENTS 32

/* What a machine that is busy with other tests may be late by. */
#define LATE GST_SECOND

static const gchar *
model (const gchar *variable)
{
  const gchar *path = g_getenv (variable);

  fail_unless (path != NULL, "%s is not set", variable);
  return path;
}

/* About 3 windows of a tone that nobody else has. */
static GstElement *
new_pipeline (guint i, guint n_buffers)
{
  GError *error = NULL;
  g_autofree gchar *line = g_strdup_printf (
      "audiotestsrc wave=saw freq=%u samplesperbuffer=1600 num-buffers=%u ! "
      "audio/x-raw, rate=16000 ! mt3transcribe name=mt3 model-file=\"%s\" "
      "max-tokens=40 threads=1 batch-size=8 ! fakesink name=sink "
      "enable-last-sample=true",
      100 + 37 * i, n_buffers, model ("MT3_TINY_MODEL"));
  GstElement *pipeline = gst_parse_launch (line, &error);

  g_assert_no_error (error);
  return pipeline;
}

static void
wait_eos (GstElement *pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);

  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_object_unref (bus);
}

/* The MIDI file that came last. */
static GBytes *
result_of (GstElement *pipeline)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  GstSample *sample;
  GstBuffer *buffer;
  gpointer data;
  gsize size;

  g_object_get (sink, "last-sample", &sample, NULL);
  fail_unless (sample != NULL);
  buffer = gst_sample_get_buffer (sample);
  gst_buffer_extract_dup (buffer, 0, -1, &data, &size);
  gst_sample_unref (sample);
  gst_object_unref (sink);
  return g_bytes_new_take (data, size);
}

static GstStructure *
stats_of (GstElement *pipeline)
{
  GstElement *mt3 = gst_bin_get_by_name (GST_BIN (pipeline), "mt3");
  GstStructure *stats;

  g_object_get (mt3, "stats", &stats, NULL);
  gst_object_unref (mt3);
  return stats;
}

static guint64
stat_of (GstElement *pipeline, const gchar *name)
{
  g_autoptr (GstStructure) stats = stats_of (pipeline);
  guint64 value = 0;

  gst_structure_get_uint64 (stats, name, &value);
  return value;
}

static void
stop (GstElement *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

/* What the @i-th stream gives when nobody else is there. */
static GBytes *
result_alone (guint i, guint64 *host_bytes)
{
  GstElement *pipeline = new_pipeline (i, 60);
  GBytes *result;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  wait_eos (pipeline);
  result = result_of (pipeline);
  if (host_bytes)
    *host_bytes = stat_of (pipeline, "host-bytes");
  stop (pipeline);
  return result;
}

GST_START_TEST (many_elements_share_one_engine_and_differ_in_nothing)
{
  GstElement *pipelines[N_ELEMENTS];
  g_autoptr (GstStructure) stats = NULL;
  guint64 alone_bytes;
  guint streams;

  g_bytes_unref (result_alone (0, &alone_bytes));
  for (guint i = 0; i < N_ELEMENTS; i++)
    pipelines[i] = new_pipeline (i, 60);
  for (guint i = 0; i < N_ELEMENTS; i++)
    gst_element_set_state (pipelines[i], GST_STATE_PLAYING);
  for (guint i = 0; i < N_ELEMENTS; i++)
    wait_eos (pipelines[i]);
  stats = stats_of (pipelines[0]);
  fail_unless (gst_structure_get_uint (stats, "streams", &streams));
  fail_unless_equals_int (streams, N_ELEMENTS);
  /* The weights once; the slots of a batch come to that. */
  fail_unless (stat_of (pipelines[0], "host-bytes") < 2 * alone_bytes);
  for (guint i = 0; i < N_ELEMENTS; i++) {
    g_autoptr (GBytes) together = result_of (pipelines[i]);
    g_autoptr (GBytes) alone = NULL;

    stop (pipelines[i]);
    alone = result_alone (i, NULL);
    fail_unless (g_bytes_equal (together, alone));
  }
}

GST_END_TEST

typedef struct {
  guint i;
  GBytes *expected;
} Visitor;

static gpointer
come_and_go (gpointer data)
{
  Visitor *visitor = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (visitor->i);

  for (guint round = 0; round < 6; round++) {
    gboolean stays = g_rand_boolean (rand);
    GstElement *pipeline = new_pipeline (visitor->i, 60);

    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    if (stays) {
      g_autoptr (GBytes) result = NULL;

      wait_eos (pipeline);
      result = result_of (pipeline);
      fail_unless (g_bytes_equal (result, visitor->expected));
    } else {
      g_usleep (g_rand_int_range (rand, 0, 30000));
    }
    stop (pipeline);
  }
  return NULL;
}

GST_START_TEST (elements_come_and_go_at_any_time)
{
  Visitor visitors[8];
  GThread *threads[G_N_ELEMENTS (visitors)];

  for (guint i = 0; i < G_N_ELEMENTS (visitors); i++)
    visitors[i] = (Visitor){i, result_alone (i, NULL)};
  for (guint i = 0; i < G_N_ELEMENTS (visitors); i++)
    threads[i] = g_thread_new ("visitor", come_and_go, &visitors[i]);
  for (guint i = 0; i < G_N_ELEMENTS (visitors); i++) {
    g_thread_join (threads[i]);
    g_bytes_unref (visitors[i].expected);
  }
}

GST_END_TEST

GST_START_TEST (a_long_stream_holds_up_no_short_one)
{
  /* Ten hours: not over, however slow the machine. */
  const guint n_buffers = 360000;
  GstElement *hours = new_pipeline (0, n_buffers), *others[4];

  gst_element_set_state (hours, GST_STATE_PLAYING);
  while (stat_of (hours, "windows") == 0)
    g_usleep (1000);
  for (guint i = 0; i < G_N_ELEMENTS (others); i++) {
    others[i] = new_pipeline (i, 60);
    gst_element_set_state (others[i], GST_STATE_PLAYING);
  }
  for (guint i = 0; i < G_N_ELEMENTS (others); i++)
    wait_eos (others[i]);
  fail_unless (stat_of (hours, "windows") < (guint64) n_buffers * 1600 / 32768);
  for (guint i = 0; i < G_N_ELEMENTS (others); i++)
    stop (others[i]);
  stop (hours);
}

GST_END_TEST

/* Live, with the clock of the system. Windows of 0.256 s. */

static GstElement *
new_live_pipeline (guint n_buffers)
{
  GError *error = NULL;
  g_autofree gchar *line = g_strdup_printf (
      "audiotestsrc is-live=true wave=saw samplesperbuffer=160 num-buffers=%u "
      "! audio/x-raw, rate=16000 ! mt3transcribe name=mt3 model-file=\"%s\" "
      "max-tokens=3 threads=1 ! audio/x-midi-event ! fakesink sync=true",
      n_buffers, model ("MT3_TINY_SHORT_MODEL"));
  GstElement *pipeline = gst_parse_launch (line, &error);

  g_assert_no_error (error);
  return pipeline;
}

typedef struct {
  GstElement *element;
  GstClockTimeDiff latest; /* against the running time */
  guint n_buffers;
} Punctuality;

static GstPadProbeReturn
note_lateness (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  Punctuality *punctuality = user_data;
  GstClockTime now =
      gst_element_get_current_running_time (punctuality->element);
  /* The segment of a live source begins with its running time. */
  GstClockTime due = GST_BUFFER_PTS (gst_pad_probe_info_get_buffer (info));

  punctuality->latest = MAX (punctuality->latest, GST_CLOCK_DIFF (due, now));
  punctuality->n_buffers++;
  return GST_PAD_PROBE_OK;
}

GST_START_TEST (live_notes_come_within_the_latency_told)
{
  GstElement *pipeline = new_live_pipeline (200);
  GstElement *mt3 = gst_bin_get_by_name (GST_BIN (pipeline), "mt3");
  GstPad *pad = gst_element_get_static_pad (mt3, "src");
  Punctuality punctuality = {.element = mt3};
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min;
  gboolean live;

  gst_pad_add_probe (
      pad, GST_PAD_PROBE_TYPE_BUFFER, note_lateness, &punctuality, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  wait_eos (pipeline);
  fail_unless (gst_element_query (pipeline, query));
  gst_query_parse_latency (query, &live, &min, NULL);
  fail_unless (live);
  fail_unless (min > 256 * GST_MSECOND);
  /* Ticks alone are 200. */
  fail_unless (punctuality.n_buffers >= 200);
  fail_unless (punctuality.latest <= (GstClockTimeDiff) (min + LATE),
      "%" GST_STIME_FORMAT " late", GST_STIME_ARGS (punctuality.latest));
  fail_unless_equals_uint64 (stat_of (pipeline, "dropped-windows"), 0);
  gst_query_unref (query);
  gst_object_unref (pad);
  gst_object_unref (mt3);
  stop (pipeline);
}

GST_END_TEST

/* There and back, with windows of another length. */
GST_START_TEST (a_live_stream_changes_its_model)
{
  GstElement *pipeline = new_live_pipeline (300);
  GstElement *mt3 = gst_bin_get_by_name (GST_BIN (pipeline), "mt3");

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (stat_of (pipeline, "windows") < 2)
    g_usleep (1000);
  g_object_set (mt3, "model-file", model ("MT3_TINY_MODEL"), NULL);
  g_usleep (G_USEC_PER_SEC / 2);
  g_object_set (mt3, "model-file", model ("MT3_TINY_SHORT_MODEL"), NULL);
  wait_eos (pipeline);
  {
    g_autoptr (GstStructure) stats = stats_of (pipeline);
    gdouble seconds;

    fail_unless_equals_string (gst_structure_get_string (stats, "model"),
        model ("MT3_TINY_SHORT_MODEL"));
    fail_unless (gst_structure_get_double (stats, "audio-seconds", &seconds));
    /* 3 s, and what is left of the last frame. */
    fail_unless (seconds >= 3.0 && seconds < 3.02, "%f", seconds);
  }
  gst_object_unref (mt3);
  stop (pipeline);
}

GST_END_TEST

static Suite *
streams_suite (void)
{
  Suite *suite = suite_create ("streams");
  TCase *tcase = tcase_create ("general");

  tcase_add_test (tcase, many_elements_share_one_engine_and_differ_in_nothing);
  tcase_add_test (tcase, elements_come_and_go_at_any_time);
  tcase_add_test (tcase, a_long_stream_holds_up_no_short_one);
  tcase_add_test (tcase, live_notes_come_within_the_latency_told);
  tcase_add_test (tcase, a_live_stream_changes_its_model);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (streams);
