/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The plugin as it is installed, with a tiny random model: MT3_CYCLES (1000)
 * times from NULL to a transcription and back leave nothing behind.
 */
#include <malloc.h>
#include <stdlib.h>

#include <gst/check/gstcheck.h>

/* Caches of GLib and GStreamer that fill up at first. */
#define WARM_UP 50

/* Two for each cycle: less than anything that is allocated. */
#define TOLERATED_BYTES 2000

static void
cycle (void)
{
  g_autofree gchar *line = g_strdup_printf (
      "audiotestsrc num-buffers=4 samplesperbuffer=4000 ! "
      "audio/x-raw, rate=16000 ! mt3transcribe model-file=\"%s\" threads=2 "
      "max-tokens=4 ! fakesink",
      g_getenv ("MT3_TINY_MODEL"));
  GstElement *pipeline = gst_parse_launch (line, NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_message_unref (message);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}

static guint
count_threads (void)
{
  GDir *dir = g_dir_open ("/proc/self/task", 0, NULL);
  guint n = 0;

  while (g_dir_read_name (dir))
    n++;
  g_dir_close (dir);

  return n;
}

/* Threads of a pool end when they have been idle for a while, and an engine's
 * last use may end on one. */
static void
wait_threads (guint n)
{
  while (count_threads () > n)
    g_usleep (10000);
}

GST_START_TEST (cycles_leave_nothing_behind)
{
  const gchar *text = g_getenv ("MT3_CYCLES");
  guint n = text ? (guint) atoi (text) : 1000, n_threads;
  gsize before, after;

  for (guint i = 0; i < WARM_UP; i++)
    cycle ();
  n_threads = count_threads ();
  before = mallinfo2 ().uordblks + mallinfo2 ().hblkhd;
  for (guint i = 0; i < n; i++)
    cycle ();
  wait_threads (n_threads);
  after = mallinfo2 ().uordblks + mallinfo2 ().hblkhd;
  g_print ("%u cycles: %zu bytes before, %zu after, %u threads\n", n, before,
      after, count_threads ());
  fail_unless (
      after < before + TOLERATED_BYTES, "%zu bytes more", after - before);
}

GST_END_TEST

static Suite *
cycles_suite (void)
{
  Suite *suite = suite_create ("cycles");
  TCase *tcase = tcase_create ("general");

  tcase_set_timeout (tcase, 1200);
  tcase_add_test (tcase, cycles_leave_nothing_behind);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (cycles);
