/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The plugin as it is installed, with a tiny random model: bad models, odd
 * audio, real sinks. What the notes are does not matter here.
 */
#include <math.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <gst/audio/audio.h>
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>

#include "midi-chunks.h"

static gchar *folder; /* for the files of a test */

static const gchar *
tiny_model (void)
{
  const gchar *path = g_getenv ("MT3_TINY_MODEL");

  fail_unless (path != NULL, "MT3_TINY_MODEL is not set");
  return path;
}

static void
setup (void)
{
  folder = g_dir_make_tmp ("mt3-plugin-XXXXXX", NULL);
  fail_unless (folder != NULL);
}

static void
teardown (void)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const gchar *name;

  while ((name = g_dir_read_name (dir))) {
    g_autofree gchar *path = g_build_filename (folder, name, NULL);

    g_remove (path);
  }
  g_dir_close (dir);
  g_rmdir (folder);
  g_clear_pointer (&folder, g_free);
}

static gchar *
file_in_folder (const gchar *name)
{
  return g_build_filename (folder, name, NULL);
}

static void
check_midi_file (const gchar *path)
{
  g_autofree gchar *data = NULL;
  gsize size;

  fail_unless (g_file_get_contents (path, &data, &size, NULL));
  check_midi_chunks (data, size);
}

static GstElement *
launch (const gchar *format, ...)
{
  GError *error = NULL;
  GstElement *pipeline;
  gchar *line;
  va_list args;

  va_start (args, format);
  line = g_strdup_vprintf (format, args);
  va_end (args);
  pipeline = gst_parse_launch (line, &error);
  g_assert_no_error (error);
  g_free (line);

  return pipeline;
}

/* Plays to its end; returns its EOS or ERROR message. */
static GstMessage *
play (GstElement *pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);

  return message;
}

static void
play_to_eos (GstElement *pipeline)
{
  GstMessage *message = play (pipeline);

  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_object_unref (pipeline);
}

GST_START_TEST (nothing_chooses_the_element_by_itself)
{
  GstElementFactory *factory = gst_element_factory_find ("mt3transcribe");

  fail_unless (factory != NULL);
  fail_unless_equals_int (
      gst_plugin_feature_get_rank (GST_PLUGIN_FEATURE (factory)),
      GST_RANK_NONE);
  fail_if (gst_element_factory_list_is_type (factory,
      GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_ENCODER |
          GST_ELEMENT_FACTORY_TYPE_MUXER | GST_ELEMENT_FACTORY_TYPE_SINK));
  gst_object_unref (factory);
}

GST_END_TEST

/* Models */

typedef void (*Spoil) (GString *model);

static void
cut_in_half (GString *model)
{
  g_string_truncate (model, model->len / 2);
}

static void
cut_the_header (GString *model)
{
  g_string_truncate (model, 100);
}

static void
empty (GString *model)
{
  g_string_truncate (model, 0);
}

static void
flip_a_bit_of_the_header (GString *model)
{
  model->str[9] ^= 0x10;
}

static void
make_the_header_endless (GString *model)
{
  memset (model->str, 0xff, 7);
}

static void
end_with_a_nan (GString *model)
{
  memcpy (model->str + model->len - 4, "\0\0\xc0\x7f", 4);
}

static void
rename_a_tensor (GString *model)
{
  gchar *name = g_strstr_len (model->str + 8, model->len - 8, "logits_dense");

  fail_unless (name != NULL);
  memcpy (name, "LOGITS", 6);
}

static void
write_prose (GString *model)
{
  g_string_assign (model, "This is not a model but a sentence about one.");
}

static const struct {
  const gchar *name;
  Spoil spoil;
} bad_models[] = {
    {"half", cut_in_half},
    {"header", cut_the_header},
    {"empty", empty},
    {"flipped", flip_a_bit_of_the_header},
    {"endless", make_the_header_endless},
    {"nan", end_with_a_nan},
    {"renamed", rename_a_tensor},
    {"prose", write_prose},
};

static void
check_model_error (const gchar *model)
{
  GstElement *pipeline = launch ("audiotestsrc num-buffers=10 ! "
                                 "mt3transcribe model-file=\"%s\" ! fakesink",
      model);
  GstMessage *message = play (pipeline);
  g_autoptr (GError) error = NULL;
  g_autofree gchar *debug = NULL;

  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_ERROR);
  gst_message_parse_error (message, &error, &debug);
  fail_unless (error->domain == GST_RESOURCE_ERROR, "%s", error->message);
  fail_unless (strstr (error->message, model) != NULL, "%s", error->message);
  gst_message_unref (message);
  gst_object_unref (pipeline);
}

GST_START_TEST (a_bad_model_is_an_error_that_names_it)
{
  g_autofree gchar *name =
      g_strconcat (bad_models[__i__].name, ".safetensors", NULL);
  g_autofree gchar *path = file_in_folder (name);
  g_autofree gchar *data = NULL;
  GString *model;
  gsize size;

  fail_unless (g_file_get_contents (tiny_model (), &data, &size, NULL));
  model = g_string_new_len (data, size);
  bad_models[__i__].spoil (model);
  fail_unless (g_file_set_contents (path, model->str, model->len, NULL));
  g_string_free (model, TRUE);
  check_model_error (path);
}

GST_END_TEST

GST_START_TEST (a_missing_model_is_an_error_that_names_it)
{
  g_autofree gchar *path = file_in_folder ("none.safetensors");

  check_model_error (path);
  check_model_error (folder); /* a directory without a checkpoint */
}

GST_END_TEST

GST_START_TEST (the_environment_names_a_model)
{
  g_setenv ("GST_MT3_MODEL", tiny_model (), TRUE);
  play_to_eos (launch ("audiotestsrc num-buffers=10 ! mt3transcribe threads=1 "
                       "max-tokens=20 ! fakesink"));
  g_unsetenv ("GST_MT3_MODEL");
}

GST_END_TEST

/* Audio */

static GstHarness *
new_harness (const gchar *caps)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);
  GstHarness *harness;

  /* A random model seldom ends by itself. One thread: under valgrind those
   * that spin take the time of the one that works. */
  g_object_set (element, "model-file", tiny_model (), "max-tokens", 20,
      "threads", 1, NULL);
  harness = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_src_caps_str (harness, caps);
  gst_object_unref (element);

  return harness;
}

static void
check_finish (GstHarness *harness)
{
  GstBuffer *buffer;
  GstMapInfo map;

  fail_unless (gst_harness_push_event (harness, gst_event_new_eos ()));
  buffer = gst_harness_pull (harness);
  fail_unless (buffer != NULL);
  gst_buffer_map (buffer, &map, GST_MAP_READ);
  check_midi_chunks (map.data, map.size);
  gst_buffer_unmap (buffer, &map);
  gst_buffer_unref (buffer);
}

static const struct {
  const gchar *name;
  guint n_samples;
  gfloat value;
} odd_audio[] = {
    {"empty", 0, 0},
    {"one sample", 1, 0.5f},
    {"one window", 32768, 0.5f},
    {"silence", 40000, 0.0f},
    {"clipped", 40000, 100.0f},
    {"huge", 40000, 3e38f},
    {"denormal", 40000, 1e-42f},
    {"not a number", 40000, NAN},
    {"infinite", 40000, INFINITY},
};

GST_START_TEST (odd_audio_gives_a_file)
{
  guint n = odd_audio[__i__].n_samples;
  GstHarness *harness = new_harness ("audio/x-raw, format = " GST_AUDIO_NE (
      F32) ", rate = 16000,"
           " channels = 1, layout = interleaved");
  gfloat *samples = g_new (gfloat, n + 1);
  GstBuffer *buffer;

  for (guint i = 0; i < n; i++)
    samples[i] = odd_audio[__i__].value * (i / 50 % 2 ? -1 : 1);
  buffer = gst_buffer_new_wrapped (samples, n * sizeof (gfloat));
  GST_BUFFER_PTS (buffer) = 0;
  fail_unless_equals_int (gst_harness_push (harness, buffer), GST_FLOW_OK);
  check_finish (harness);
  gst_harness_teardown (harness);
}

GST_END_TEST

static const struct {
  gint rate;
  gint channels;
} formats[] = {
    {1, 1}, {11025, 2}, {44100, 2}, {384000, 2}, {16000, 64}, {48000, 8}};

GST_START_TEST (any_rate_and_channels_give_a_file)
{
  gint rate = formats[__i__].rate, channels = formats[__i__].channels;
  g_autofree gchar *caps =
      g_strdup_printf ("audio/x-raw, format = S16LE, rate = %d, channels = %d, "
                       "channel-mask = (bitmask) %d, layout = interleaved",
          rate, channels, channels == 2 ? 3 : 0);
  GstHarness *harness = new_harness (caps);
  GstBuffer *buffer =
      gst_buffer_new_allocate (NULL, 2 * channels * MAX (rate, 3), NULL);

  gst_buffer_memset (buffer, 0, 0x12, -1);
  GST_BUFFER_PTS (buffer) = 0;
  fail_unless_equals_int (gst_harness_push (harness, buffer), GST_FLOW_OK);
  check_finish (harness);
  gst_harness_teardown (harness);
}

GST_END_TEST

/* Engines */

GST_START_TEST (two_elements_share_one_engine)
{
  GstHarness *harnesses[2];
  g_autoptr (GstStructure) stats = NULL;
  guint streams;

  for (guint i = 0; i < 2; i++) {
    GstBuffer *buffer = gst_buffer_new_allocate (NULL, 2, NULL);

    gst_buffer_memset (buffer, 0, 1, 2);
    harnesses[i] = new_harness ("audio/x-raw, format = S16LE, rate = 16000,"
                                " channels = 1, layout = interleaved");
    fail_unless_equals_int (
        gst_harness_push (harnesses[i], buffer), GST_FLOW_OK);
  }
  g_object_get (harnesses[0]->element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint (stats, "streams", &streams));
  fail_unless_equals_int (streams, 2);
  fail_unless_equals_string (
      gst_structure_get_string (stats, "model"), tiny_model ());
  for (guint i = 0; i < 2; i++) {
    check_finish (harnesses[i]);
    gst_harness_teardown (harnesses[i]);
  }
}

GST_END_TEST

/* Plays @pipeline to its end and frees it. (transfer full): what its element
 * @name tells then. */
static GstStructure *
stats_at_the_end (GstElement *pipeline, const gchar *name)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstStructure *stats = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_message_unref (gst_bus_timed_pop_filtered (
      bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  g_object_get (element, "stats", &stats, NULL);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
  gst_object_unref (pipeline);

  return stats;
}

/* Nor what another was told that shares its engine. */
GST_START_TEST (who_asks_for_the_cpu_is_not_told_why_not_cuda)
{
  const gchar *line = "audiotestsrc num-buffers=10 ! mt3transcribe name=%s "
                      "model-file=\"%s\" max-tokens=20 device=%s ! fakesink ";
  g_autofree gchar *first =
      g_strdup_printf (line, "first", tiny_model (), "auto");
  g_autofree gchar *second =
      g_strdup_printf (line, "second", tiny_model (), "cpu");
  GstElement *pipeline = launch ("%s %s", first, second);
  g_autoptr (GstStructure) stats = stats_at_the_end (pipeline, "second");

  fail_unless_equals_string (gst_structure_get_string (stats, "device"), "cpu");
  fail_unless (gst_structure_get_string (stats, "why-not-cuda") == NULL);
}

GST_END_TEST

GST_START_TEST (for_a_search_auto_is_the_cpu_and_stats_say_why)
{
  GstElement *pipeline = launch (
      "audiotestsrc num-buffers=10 ! mt3transcribe name=mt3 "
      "model-file=\"%s\" max-tokens=20 beam-size=2 batch-size=1 ! fakesink",
      tiny_model ());
  g_autoptr (GstStructure) stats = stats_at_the_end (pipeline, "mt3");
  guint slots;

  fail_unless_equals_string (gst_structure_get_string (stats, "device"), "cpu");
  fail_unless (strstr (gst_structure_get_string (stats, "why-not-cuda"),
                   "no beam search") != NULL);
  fail_unless (gst_structure_get_uint (stats, "slots", &slots));
  fail_unless_equals_int (slots, 2);
}

GST_END_TEST

GST_START_TEST (a_search_on_cuda_is_an_error_that_names_the_cpu)
{
  GstElement *pipeline =
      launch ("audiotestsrc num-buffers=10 ! mt3transcribe model-file=\"%s\" "
              "device=cuda beam-size=2 ! fakesink",
          tiny_model ());
  GstMessage *message = play (pipeline);
  g_autofree gchar *debug = NULL;
  g_autoptr (GError) error = NULL;

  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_ERROR);
  gst_message_parse_error (message, &error, &debug);
  fail_unless (
      g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS));
  fail_unless (strstr (debug, "use device=cpu") != NULL, "%s", debug);
  gst_message_unref (message);
  gst_object_unref (pipeline);
}

GST_END_TEST

/* Has a module in the place of libmt3cuda.so. */
static void
install_module (const gchar *kind)
{
  g_autofree gchar *name = g_strdup_printf ("libmt3fake-%s.so", kind);
  g_autofree gchar *from =
      g_build_filename (g_getenv ("MT3_FAKE_MODULES"), name, NULL);
  g_autofree gchar *to = file_in_folder ("libmt3cuda.so");

  fail_unless_equals_int (symlink (from, to), 0);
  g_setenv ("GST_MT3_MODULE_DIR", folder, TRUE);
}

GST_START_TEST (cuda_that_cannot_run_is_an_error_that_says_why)
{
  GstElement *pipeline =
      launch ("audiotestsrc num-buffers=10 ! mt3transcribe model-file=\"%s\" "
              "device=cuda ! fakesink",
          tiny_model ());
  g_autofree gchar *debug = NULL;
  g_autoptr (GError) error = NULL;
  GstMessage *message;

  install_module ("unready");
  message = play (pipeline);
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_ERROR);
  gst_message_parse_error (message, &error, &debug);
  fail_unless (
      g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_FAILED));
  fail_unless (strstr (debug, "the test has no driver") != NULL, "%s", debug);
  gst_message_unref (message);
  gst_object_unref (pipeline);
}

GST_END_TEST

GST_START_TEST (the_cpu_goes_on_with_a_warning_where_cuda_fails)
{
  GstElement *pipeline = launch (
      "audiotestsrc num-buffers=200 ! mt3transcribe name=mt3 "
      "model-file=\"%s\" max-tokens=20 batch-size=2 ! fakesink name=sink",
      tiny_model ());
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), "mt3");
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstStructure) stats = NULL;
  g_autofree gchar *debug = NULL;
  g_autoptr (GError) error = NULL;
  GstMessage *warning, *end;

  install_module ("good");
  g_setenv ("FAKE_FAIL_DECODE", "3", TRUE);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  warning = gst_bus_timed_pop_filtered (
      bus, 20 * GST_SECOND, GST_MESSAGE_WARNING | GST_MESSAGE_ERROR);
  fail_unless_equals_int (GST_MESSAGE_TYPE (warning), GST_MESSAGE_WARNING);
  gst_message_parse_warning (warning, &error, &debug);
  fail_unless (strstr (debug, "cuda: device lost") != NULL, "%s", debug);
  end = gst_bus_timed_pop_filtered (bus, 20 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_WARNING | GST_MESSAGE_ERROR);
  fail_unless_equals_int (GST_MESSAGE_TYPE (end), GST_MESSAGE_EOS);
  g_object_get (element, "stats", &stats, NULL);
  fail_unless_equals_string (gst_structure_get_string (stats, "device"), "cpu");
  gst_message_unref (warning);
  gst_message_unref (end);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (element);
  gst_object_unref (pipeline);
}

GST_END_TEST

/* Sinks */

#define MUSIC                                                                  \
  "audiotestsrc wave=saw samplesperbuffer=1600 num-buffers=%d ! "              \
  "audio/x-raw, rate=16000 ! mt3transcribe model-file=\"%s\" max-tokens=20 "   \
  "threads=1 "

GST_START_TEST (updates_end_in_the_same_file)
{
  g_autofree gchar *once = file_in_folder ("once.mid");
  g_autofree gchar *often = file_in_folder ("often.mid");
  g_autofree gchar *first = NULL, *second = NULL;
  gsize first_size, second_size;

  play_to_eos (
      launch (MUSIC "! filesink location=\"%s\"", 50, tiny_model (), once));
  play_to_eos (launch (MUSIC "update-interval=1 ! filesink location=\"%s\"", 50,
      tiny_model (), often));
  fail_unless (g_file_get_contents (once, &first, &first_size, NULL));
  fail_unless (g_file_get_contents (often, &second, &second_size, NULL));
  check_midi_chunks (second, second_size);
  fail_unless (second_size >= first_size);
  fail_unless (memcmp (first, second, first_size) == 0);
}

GST_END_TEST

GST_START_TEST (updates_survive_a_stop)
{
  g_autofree gchar *path = file_in_folder ("stopped.mid");
  GstElement *pipeline =
      launch (MUSIC "update-interval=1 ! filesink buffer-mode=unbuffered "
                    "location=\"%s\"",
          1000000, tiny_model (), path);
  GStatBuf status = {0};

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (g_stat (path, &status) != 0 || status.st_size < 200)
    g_usleep (1000);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  check_midi_file (path);
}

GST_END_TEST

GST_START_TEST (a_pipe_gets_one_file)
{
  gchar data[65536];
  gsize size = 0;
  gssize n;
  gint pipes[2];

  fail_unless (pipe (pipes) == 0);
  play_to_eos (launch (
      MUSIC "update-interval=1 ! fdsink fd=%d", 50, tiny_model (), pipes[1]));
  close (pipes[1]);
  while ((n = read (pipes[0], data + size, sizeof data - size)) > 0)
    size += n;
  close (pipes[0]);
  check_midi_chunks (data, size);
}

GST_END_TEST

GST_START_TEST (a_full_disk_is_an_error)
{
  GstElement *pipeline =
      launch (MUSIC "! filesink location=/dev/full buffer-mode=unbuffered", 20,
          tiny_model ());
  GstMessage *message = play (pipeline);

  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_ERROR);
  gst_message_unref (message);
  gst_object_unref (pipeline);
}

GST_END_TEST

static Suite *
plugin_suite (void)
{
  Suite *suite = suite_create ("plugin");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, nothing_chooses_the_element_by_itself);
  tcase_add_loop_test (tcase, a_bad_model_is_an_error_that_names_it, 0,
      G_N_ELEMENTS (bad_models));
  tcase_add_test (tcase, a_missing_model_is_an_error_that_names_it);
  tcase_add_test (tcase, the_environment_names_a_model);
  tcase_add_loop_test (
      tcase, odd_audio_gives_a_file, 0, G_N_ELEMENTS (odd_audio));
  tcase_add_loop_test (
      tcase, any_rate_and_channels_give_a_file, 0, G_N_ELEMENTS (formats));
  tcase_add_test (tcase, two_elements_share_one_engine);
  tcase_add_test (tcase, who_asks_for_the_cpu_is_not_told_why_not_cuda);
  tcase_add_test (tcase, for_a_search_auto_is_the_cpu_and_stats_say_why);
  tcase_add_test (tcase, a_search_on_cuda_is_an_error_that_names_the_cpu);
  tcase_add_test (tcase, cuda_that_cannot_run_is_an_error_that_says_why);
  tcase_add_test (tcase, the_cpu_goes_on_with_a_warning_where_cuda_fails);
  tcase_add_test (tcase, updates_end_in_the_same_file);
  tcase_add_test (tcase, updates_survive_a_stop);
  tcase_add_test (tcase, a_pipe_gets_one_file);
  tcase_add_test (tcase, a_full_disk_is_an_error);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (plugin);
