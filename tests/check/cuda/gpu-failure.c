/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-failure.c: a device without memory, and one that is lost, through the
 * element. Runs on a machine with a GPU that nobody else uses: see
 * tests/benchmarks/gpu.sh. Each test is a process of its own, for what happens
 * to the device here is for good.
 *
 * usage: gpu-failure MODEL OVERFLOWING_MODEL
 */
#include <check.h>
#include <cuda_runtime_api.h>
#include <glib/gstdio.h>
#include <gst/gst.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "element/gstmt3transcribe.h"

#define MIB ((gsize) 1 << 20)

/* Ten windows of the published model, and a bit. */
#define AUDIO                                                                  \
  "audiotestsrc wave=triangle num-buffers=330 samplesperbuffer=1024 ! "        \
  "audio/x-raw,format=F32LE,channels=1,rate=16000"
#define N_WINDOWS 11

static const gchar *model, *overflowing_model;

typedef void (*Damage) (void);

/* What a run of a pipeline gave. */
typedef struct {
  gchar *midi;
  gsize size;
  guint64 n_windows;
  gchar *device, *why_not_cuda;
  GError *error; /* NULL: none */
  gchar *debug;
} Outcome;

typedef struct {
  GstElement *element;
  guint64 after_windows; /* when that many are transcribed */
  GstClockTime at; /* and that much audio has come */
  Damage damage;
} Plan;

static void
take_memory_but (gsize left)
{
  gsize available = 0, total = 0;
  gpointer block;

  ck_assert_int_eq (cudaMemGetInfo (&available, &total), cudaSuccess);
  for (gsize size = total; size >= MIB; size /= 2)
    while (available > left + size && cudaMalloc (&block, size) == cudaSuccess)
      ck_assert_int_eq (cudaMemGetInfo (&available, &total), cudaSuccess);
  (void) cudaGetLastError ();
}

static void
leave_gigabytes (void)
{
  take_memory_but (4096 * MIB);
}

static void
leave_little (void)
{
  take_memory_but (16 * MIB);
}

/* A store to where nothing is: every call fails from then on, in the whole
 * process, as when the driver gives up a device. */
static void
lose_device (void)
{
  static const gchar program[] = ".version 7.0\n"
                                 ".target sm_75\n"
                                 ".address_size 64\n"
                                 ".visible .entry lose ()\n"
                                 "{\n"
                                 "  .reg .b64 %address;\n"
                                 "  .reg .b32 %value;\n"
                                 "  mov.b64 %address, 8;\n"
                                 "  mov.b32 %value, 1;\n"
                                 "  st.global.b32 [%address], %value;\n"
                                 "  ret;\n"
                                 "}\n";
  const dim3 one = {1, 1, 1};
  cudaLibrary_t library;
  cudaKernel_t kernel;

  ck_assert_int_eq (
      cudaLibraryLoadData (&library, program, NULL, NULL, 0, NULL, NULL, 0),
      cudaSuccess);
  ck_assert_int_eq (
      cudaLibraryGetKernel (&kernel, library, "lose"), cudaSuccess);
  ck_assert_int_eq (
      cudaLaunchKernel (kernel, one, one, NULL, 0, NULL), cudaSuccess);
  ck_assert_int_ne (cudaDeviceSynchronize (), cudaSuccess);
}

static guint64
count_windows (GstElement *element)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 n = 0;

  g_object_get (element, "stats", &stats, NULL);
  ck_assert (gst_structure_get_uint64 (stats, "windows", &n));
  return n;
}

/* Once there was a buffer, the engine is open. */
static GstPadProbeReturn
follow_plan (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  const Plan *plan = data;

  if (GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info)) < plan->at)
    return GST_PAD_PROBE_OK;
  while (count_windows (plan->element) < plan->after_windows)
    g_usleep (1000);
  plan->damage ();
  return GST_PAD_PROBE_REMOVE;
}

static void
take_stats (Outcome *outcome, GstElement *element)
{
  g_autoptr (GstStructure) stats = NULL;

  g_object_get (element, "stats", &stats, NULL);
  outcome->device = g_strdup (gst_structure_get_string (stats, "device"));
  outcome->why_not_cuda =
      g_strdup (gst_structure_get_string (stats, "why-not-cuda"));
  outcome->n_windows = count_windows (element);
}

static void
wait_for_end (Outcome *outcome, GstElement *pipeline)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (
      bus, 120 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);

  ck_assert_ptr_nonnull (message);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &outcome->error, &outcome->debug);
}

/* Transcribes AUDIO, and follows @plan (nullable) meanwhile. */
static Outcome
run (const gchar *properties, Plan *plan)
{
  g_autofree gchar *path =
      g_strdup_printf ("%s/gpu-failure-%d.mid", g_get_tmp_dir (), getpid ());
  g_autofree gchar *line =
      g_strdup_printf (AUDIO " ! mt3transcribe name=mt3 %s ! "
                             "filesink location=\"%s\"",
          properties, path);
  g_autoptr (GstElement) pipeline = gst_parse_launch (line, NULL);
  g_autoptr (GstElement) element =
      gst_bin_get_by_name (GST_BIN (pipeline), "mt3");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (element, "sink");
  Outcome outcome = {0};

  if (plan != NULL) {
    plan->element = element;
    gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, follow_plan, plan, NULL);
  }
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  wait_for_end (&outcome, pipeline);
  take_stats (&outcome, element);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  g_file_get_contents (path, &outcome.midi, &outcome.size, NULL);
  g_unlink (path);
  return outcome;
}

static Outcome
run_model (const gchar *file, const gchar *properties, Plan *plan)
{
  g_autofree gchar *all =
      g_strdup_printf ("model-file=\"%s\" %s", file, properties);

  return run (all, plan);
}

static void
check_error (const Outcome *outcome, gint code, const gchar *text)
{
  ck_assert_ptr_nonnull (outcome->error);
  ck_assert (g_error_matches (outcome->error, GST_RESOURCE_ERROR, code));
  ck_assert_msg (strstr (outcome->debug, text) != NULL, "%s", outcome->debug);
}

/* All of it once, by the CPU in the end, and it says why. */
static void
check_went_on (const Outcome *outcome, const gchar *text)
{
  if (outcome->error != NULL)
    ck_abort_msg ("%s", outcome->debug);
  ck_assert_str_eq (outcome->device, "cpu");
  ck_assert_uint_eq (outcome->n_windows, N_WINDOWS);
  ck_assert_msg (strstr (outcome->why_not_cuda, text) != NULL, "%s",
      outcome->why_not_cuda);
}

static void
check_same_file (const Outcome *a, const Outcome *b)
{
  ck_assert_uint_gt (a->size, 0);
  ck_assert_uint_eq (a->size, b->size);
  ck_assert_mem_eq (a->midi, b->midi, a->size);
}

START_TEST (test_too_many_windows_at_once_are_refused_with_how_many_fit)
{
  Outcome outcome;

  leave_gigabytes ();
  outcome = run_model (model, "device=cuda batch-size=4096", NULL);
  check_error (&outcome, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "enough for");
}
END_TEST

START_TEST (test_full_device_is_told)
{
  Outcome outcome;

  leave_little ();
  outcome = run_model (model, "device=cuda", NULL);
  check_error (&outcome, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "device memory");
}
END_TEST

START_TEST (test_auto_takes_the_cpu_when_the_device_is_full)
{
  Outcome outcome;

  leave_little ();
  outcome = run_model (model, "device=auto", NULL);
  check_went_on (&outcome, "device memory");
}
END_TEST

/* Windows that overflow need another engine on the device. */
START_TEST (test_auto_goes_on_when_memory_ends_in_mid_run)
{
  Plan plan = {.at = GST_SECOND, .damage = leave_little};
  Outcome outcome = run_model (overflowing_model, "device=auto", &plan);

  check_went_on (&outcome, "device memory");
}
END_TEST

START_TEST (test_cuda_tells_when_memory_ends_in_mid_run)
{
  Plan plan = {.at = GST_SECOND, .damage = leave_little};
  Outcome outcome = run_model (overflowing_model, "device=cuda", &plan);

  check_error (&outcome, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "device memory");
}
END_TEST

START_TEST (test_auto_goes_on_without_a_device_that_is_lost)
{
  Plan plan = {
      .at = 12 * GST_SECOND, .after_windows = 2, .damage = lose_device};
  Outcome expected, outcome;

  expected = run_model (model, "device=cpu precision=exact", NULL);
  outcome = run_model (model, "device=auto precision=exact", &plan);
  check_went_on (&outcome, "illegal memory access");
  check_same_file (&outcome, &expected);
}
END_TEST

START_TEST (test_cuda_tells_of_a_device_that_is_lost_and_keeps_its_notes)
{
  Plan plan = {
      .at = 12 * GST_SECOND, .after_windows = 2, .damage = lose_device};
  Outcome outcome = run_model (model, "device=cuda", &plan);

  check_error (&outcome, GST_RESOURCE_ERROR_FAILED, "illegal memory access");
  ck_assert_uint_ge (outcome.n_windows, 2);
  ck_assert_uint_gt (outcome.size, 0);
}
END_TEST

/* Each in a test case of its own, so that a tool that watches every access can
 * have it in a process of its own, too: CK_FORK=no CK_RUN_CASE=NAME. */
static void
add_case (Suite *suite, const gchar *name, const TTest *test)
{
  TCase *tests = tcase_create (name);

  tcase_set_timeout (tests, 150);
  tcase_add_test (tests, test);
  suite_add_tcase (suite, tests);
}

static Suite *
failure_suite (void)
{
  Suite *suite = suite_create ("gpu-failure");

  add_case (suite, "too-many-windows",
      test_too_many_windows_at_once_are_refused_with_how_many_fit);
  add_case (suite, "full", test_full_device_is_told);
  add_case (
      suite, "full-auto", test_auto_takes_the_cpu_when_the_device_is_full);
  add_case (
      suite, "fills-up-auto", test_auto_goes_on_when_memory_ends_in_mid_run);
  add_case (suite, "fills-up", test_cuda_tells_when_memory_ends_in_mid_run);
  add_case (
      suite, "lost-auto", test_auto_goes_on_without_a_device_that_is_lost);
  add_case (suite, "lost",
      test_cuda_tells_of_a_device_that_is_lost_and_keeps_its_notes);
  return suite;
}

int
main (int argc, char **argv)
{
  SRunner *runner;
  int failed;

  if (argc != 3)
    g_error ("usage: gpu-failure MODEL OVERFLOWING_MODEL");
  model = argv[1];
  overflowing_model = argv[2];
  gst_init (NULL, NULL);
  GST_ELEMENT_REGISTER (mt3transcribe, NULL);
  runner = srunner_create (failure_suite ());
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
