/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-bench: how fast the engine is, on a recording of 16 kHz mono audio.
 *
 * Bulk (the default): all windows as fast as they go. --window: one window
 * alone, the latency. --streams: live streams. --stages: the CPU backend
 * without the engine, with its time in each stage. Every figure is the median
 * of --runs runs. That a window gives other bits another time is an error.
 */
#include <stdlib.h>

#include "bulk.h"
#include "engine/cpu/cpu-backend.h"
#include "engine/model-search.h"
#include "error.h"
#include "live.h"
#include "report.h"
#include "vocabulary/event-order.h"

static const gchar *device = "auto", *precision = "auto";
static gchar *model_file, *isa;
static gchar *json_file, *golden_file;
static gint n_threads, batch_size, n_runs = 3, window = -1, queue, n_streams;
static gint beam_size = 1;
static gdouble beam_alpha = 0.6;
static gboolean stages;
static gchar **clips;

static const GOptionEntry entries[] = {
    {"model", 'm', 0, G_OPTION_ARG_FILENAME, &model_file,
        "Model (default: as the element searches)", "FILE"},
    {"device", 'd', 0, G_OPTION_ARG_STRING, &device, "auto, cpu or cuda",
        "NAME"},
    {"precision", 'p', 0, G_OPTION_ARG_STRING, &precision,
        "auto, exact, fast or bf16", "NAME"},
    {"threads", 't', 0, G_OPTION_ARG_INT, &n_threads,
        "CPU threads (default: all cores)", "N"},
    {"batch-size", 'b', 0, G_OPTION_ARG_INT, &batch_size,
        "Windows decoded at once (default: the backend's choice)", "N"},
    {"beam-size", 0, 0, G_OPTION_ARG_INT, &beam_size,
        "Search with N beams (default: 1, none; not with --streams)", "N"},
    {"beam-alpha", 0, 0, G_OPTION_ARG_DOUBLE, &beam_alpha,
        "Of the search: how much it favours longer texts (default: 0.6)", "A"},
    {"isa", 0, 0, G_OPTION_ARG_STRING, &isa,
        "scalar, avx2, avx512 or avx512bf16 (default: the best)", "NAME"},
    {"runs", 'r', 0, G_OPTION_ARG_INT, &n_runs, "Report the median of N runs",
        "N"},
    {"window", 'w', 0, G_OPTION_ARG_INT, &window, "Only window I, from 0", "I"},
    {"queue", 'q', 0, G_OPTION_ARG_INT, &queue,
        "Repeat the clip until there are N windows", "N"},
    {"streams", 's', 0, G_OPTION_ARG_INT, &n_streams,
        "N live streams, fed in real time", "N"},
    {"stages", 0, 0, G_OPTION_ARG_NONE, &stages,
        "The CPU backend alone: time per stage", NULL},
    {"golden", 'g', 0, G_OPTION_ARG_FILENAME, &golden_file,
        "Compare with the tokens in FILE", "FILE"},
    {"json", 'j', 0, G_OPTION_ARG_FILENAME, &json_file,
        "Write the figures to FILE", "FILE"},
    {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &clips, NULL,
        "CLIP: one channel at 16000 Hz"},
    {NULL},
};

/* The position of @name among @names, or an error that lists them. */
static gboolean
parse_name (const gchar *option, const gchar *name, const gchar *const *names,
    guint *value, GError **error)
{
  g_autofree gchar *all = g_strjoinv (", ", (gchar **) names);

  for (*value = 0; names[*value] != NULL; (*value)++)
    if (g_str_equal (name, names[*value]))
      return TRUE;
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
      "--%s=%s: must be one of %s", option, name, all);
  return FALSE;
}

static gboolean
parse_engine_options (Mt3EngineOptions *options, GError **error)
{
  const gchar *const devices[] = {"auto", "cpu", "cuda", NULL};
  const gchar *const precisions[] = {"auto", "exact", "fast", "bf16", NULL};
  guint device_number, precision_number;

  if (!parse_name ("device", device, devices, &device_number, error) ||
      !parse_name (
          "precision", precision, precisions, &precision_number, error))
    return FALSE;
  if (n_threads < 0 || batch_size < 0 || n_runs < 1 || queue < 0 ||
      n_streams < 0 || clips == NULL || clips[1] != NULL) {
    g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "one CLIP, and numbers that are not negative");
    return FALSE;
  }
  if (beam_size < 1 || beam_size > MT3_MAX_BEAMS || beam_alpha < 0.0 ||
      (beam_size > 1 && n_streams > 0)) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "--beam-size must be 1 to %d, 1 with --streams, and --beam-alpha not "
        "negative",
        MT3_MAX_BEAMS);
    return FALSE;
  }
  bulk_decoding.beam_size = beam_size;
  bulk_decoding.beam_alpha = beam_alpha;
  *options = (Mt3EngineOptions){
      .model_file = model_file,
      .device = device_number,
      .precision = precision_number,
      .n_threads = n_threads,
      .batch_size = batch_size,
      .beam_size = beam_size,
  };
  if (isa != NULL)
    g_setenv ("GST_MT3_CPU", isa, TRUE);
  return TRUE;
}

/* What would be left out in silence. */
static gboolean
check_combination (const Mt3EngineOptions *options, GError **error)
{
  const gchar *reason = NULL;

  if (window < -1)
    reason = "--window counts from 0; -1 is all of them";
  else if (stages && options->device == MT3_DEVICE_CUDA)
    reason = "--stages is of the CPU backend; leave out --device=cuda";
  else if (stages && n_streams > 0)
    reason = "--stages is without the engine, which --streams need";
  else if (golden_file != NULL && n_streams > 0)
    reason = "--golden cannot be compared with --streams";
  if (reason != NULL)
    g_set_error_literal (
        error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, reason);
  return reason == NULL;
}

/* Windows before the same ones come again. */
static guint period;

/* What --window and --queue leave or make of a clip's windows, and of what
 * they should give. */
static void
select_windows (
    GPtrArray **windows, GPtrArray **golden, const Mt3Config *config)
{
  GPtrArray *all = *windows, *all_golden = *golden;
  guint first = MAX (window, 0);
  guint n;

  period = window >= 0 ? 1 : all->len;
  n = queue > 0 ? (guint) queue : period;
  *windows = g_ptr_array_new_with_free_func (g_free);
  if (all_golden != NULL)
    *golden = g_ptr_array_new_with_free_func ((GDestroyNotify) g_array_unref);
  for (guint i = 0; i < n; i++) {
    guint source = first + i % period;

    g_ptr_array_add (
        *windows, clip_copy_window (
                      g_ptr_array_index (all, source), config, i, i + 1 == n));
    if (all_golden != NULL && source < all_golden->len)
      g_ptr_array_add (
          *golden, g_array_ref (g_ptr_array_index (all_golden, source)));
  }
  g_ptr_array_unref (all);
  g_clear_pointer (&all_golden, g_ptr_array_unref);
}

typedef gboolean (*RunFunc) (gpointer target, GPtrArray *windows,
    BulkExpected *expected, BulkRun *run, GError **error);

static gint
compare_runs (gconstpointer a, gconstpointer b)
{
  const BulkRun *x = a, *y = b;

  return (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

/* Runs --runs times; FALSE also when a window gave something else another time.
 */
static gboolean
run_all (RunFunc function, gpointer target, GPtrArray *windows,
    const GPtrArray *golden, BulkRun *runs, GError **error)
{
  BulkExpected expected;
  guint n_other = 0;
  gboolean done = TRUE;

  bulk_expected_init (&expected, golden, period);
  for (gint i = 0; i < n_runs && done; i++) {
    done = function (target, windows, &expected, &runs[i], error);
    n_other += done ? runs[i].n_other : 0;
  }
  bulk_expected_clear (&expected);
  if (done && n_other > 0)
    g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
        "%u times a window had other tokens or log-probabilities than the "
        "first time, and they should be the same bits: please report it, with "
        "the device, the precision and this command",
        n_other);
  return done && n_other == 0;
}

/* Runs --runs times, and reports the run of median duration. */
static gboolean
measure (RunFunc function, gpointer target, GPtrArray *windows,
    const GPtrArray *golden, const Mt3Config *config, Report *report,
    GError **error)
{
  g_autofree BulkRun *runs = g_new (BulkRun, n_runs);
  gdouble audio;
  BulkRun run;

  if (!run_all (function, target, windows, golden, runs, error))
    return FALSE;
  qsort (runs, n_runs, sizeof *runs, compare_runs);
  run = runs[n_runs / 2];

  audio = (gdouble) run.n_windows * mt3_config_window_samples (config) /
          config->sample_rate;
  report_count (report, "windows", run.n_windows);
  report_count (report, "tokens", run.n_tokens);
  report_number (report, "seconds", run.seconds, "s");
  report_number (report, "fastest", runs[0].seconds, "s");
  report_number (report, "cpu-seconds", run.cpu_seconds, "s");
  report_number (report, "tokens-per-second", run.n_tokens / run.seconds, "");
  report_number (report, "real-time-factor", audio / run.seconds, "x");
  if (golden != NULL) {
    report_count (report, "identical-windows", run.n_identical);
    g_print ("%u of %u windows identical\n", run.n_identical, run.n_windows);
  }
  return TRUE;
}

static void
report_memory (Report *report, guint64 host, guint64 on_device)
{
  report_number (report, "engine-memory", host / 1048576.0, "MiB");
  report_number (report, "device-memory", on_device / 1048576.0, "MiB");
  report_number (report, "resident", report_resident_mib ("VmRSS"), "MiB");
  report_number (report, "resident-most", report_resident_mib ("VmHWM"), "MiB");
}

static gboolean
load_clip (const Mt3Config *config, GPtrArray **windows, GPtrArray **golden,
    GError **error)
{
  bulk_decoding.order = mt3_event_order (config, NULL);
  *golden = NULL;
  *windows = clip_read (clips[0], config, error);
  if (*windows == NULL)
    return FALSE;
  if (window >= (gint) (*windows)->len) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "--window=%d: the windows of %s are 0 to %u", window, clips[0],
        (*windows)->len - 1);
    return FALSE;
  }
  if (golden_file != NULL &&
      (*golden = golden_read (golden_file, error)) == NULL)
    return FALSE;
  select_windows (windows, golden, config);
  return TRUE;
}

static gboolean
bench_live (
    Mt3Engine *engine, GPtrArray *windows, Report *report, GError **error)
{
  LiveRun live;

  if (!live_run (engine, windows, n_streams, &live, error))
    return FALSE;
  report_count (report, "streams", n_streams);
  report_count (report, "windows", live.n_windows);
  report_number (report, "latency-median", live.median, "s");
  report_number (report, "latency-p99", live.p99, "s");
  report_number (report, "latency-most", live.most, "s");
  return TRUE;
}

static gboolean
bench_engine (const Mt3EngineOptions *options, Report *report, GError **error)
{
  g_autoptr (Mt3Engine) engine = NULL;
  g_autoptr (GPtrArray) windows = NULL;
  g_autoptr (GPtrArray) golden = NULL;
  gint64 start = g_get_monotonic_time (), opened;
  Mt3EngineStats stats;

  engine = mt3_engine_open (options, error);
  opened = g_get_monotonic_time ();
  if (engine == NULL ||
      !load_clip (mt3_engine_config (engine), &windows, &golden, error))
    return FALSE;
  report_number (report, "open", 1e-6 * (opened - start), "s");
  mt3_engine_get_stats (engine, &stats);
  report_text (report, "device", stats.device);
  report_text (report, "description", stats.description);
  report_count (report, "slots", stats.n_slots);

  if (n_streams > 0) {
    n_runs = 1; /* however many were asked for */
    if (!bench_live (engine, windows, report, error))
      return FALSE;
  } else if (!measure ((RunFunc) bulk_run_engine, engine, windows, golden,
                 mt3_engine_config (engine), report, error)) {
    return FALSE;
  }
  mt3_engine_get_stats (engine, &stats);
  report_number (report, "prefill", 1e-6 * stats.prefill_us / n_runs, "s");
  report_number (report, "decode", 1e-6 * stats.decode_us / n_runs, "s");
  report_count (report, "decode-steps", stats.decode_steps / n_runs);
  report_memory (report, stats.host_bytes, stats.device_bytes);
  return TRUE;
}

static void
report_stages (Mt3Backend *backend, Report *report)
{
  Mt3CpuTimes times;

  mt3_cpu_backend_times (backend, &times);
  report_number (report, "log-mel", 1e-6 * times.log_mel / n_runs, "s");
  report_number (report, "encoder", 1e-6 * times.encoder / n_runs, "s");
  report_number (report, "cross", 1e-6 * times.cross / n_runs, "s");
  report_number (report, "decoder", 1e-6 * times.decoder / n_runs, "s");
  report_number (report, "decoder-attention",
      1e-6 * times.decoder_attention / n_runs, "s");
  report_count (report, "decode-steps", times.decoder_steps / n_runs);
}

static gboolean
bench_stages (const Mt3EngineOptions *options, Report *report, GError **error)
{
  Mt3BackendOptions backend_options = {
      options->precision, options->batch_size, options->n_threads, 0};
  g_autoptr (Mt3Model) model = NULL;
  g_autoptr (GPtrArray) windows = NULL;
  g_autoptr (GPtrArray) golden = NULL;
  g_autofree gchar *path = mt3_model_search (options->model_file, error);
  gint64 start = g_get_monotonic_time ();
  gint64 opened;
  Mt3Backend *backend;
  guint64 host, on_device;
  gboolean done;

  if (backend_options.n_slots > 0)
    backend_options.n_slots = MAX (backend_options.n_slots, options->beam_size);
  if (backend_options.precision == MT3_PRECISION_AUTO)
    backend_options.precision = MT3_PRECISION_EXACT;
  model = path != NULL ? mt3_model_open (path, error) : NULL;
  if (model == NULL ||
      !load_clip (mt3_model_config (model), &windows, &golden, error))
    return FALSE;
  opened = g_get_monotonic_time ();
  backend = mt3_cpu_backend_open (model, &backend_options, error);
  if (backend == NULL)
    return FALSE;
  report_number (report, "open-model", 1e-6 * (opened - start), "s");
  report_number (
      report, "open-backend", 1e-6 * (g_get_monotonic_time () - opened), "s");
  report_text (report, "description", backend->description);
  report_count (report, "slots", backend->n_slots);

  done = measure ((RunFunc) bulk_run_backend, backend, windows, golden,
      mt3_model_config (model), report, error);
  if (done) {
    report_stages (backend, report);
    backend->memory (backend, &host, &on_device);
    report_memory (report, host, on_device);
  }
  backend->close (backend);
  return done;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (Report) report = report_new ();
  Mt3EngineOptions options;
  gboolean done;

  g_option_context_add_main_entries (context, entries, NULL);
  done = g_option_context_parse (context, &argc, &argv, &error) &&
         parse_engine_options (&options, &error) &&
         check_combination (&options, &error) &&
         (stages ? bench_stages : bench_engine) (&options, report, &error) &&
         (json_file == NULL || report_save (report, json_file, &error));
  if (!done)
    g_printerr ("mt3-bench: %s\n", error->message);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
