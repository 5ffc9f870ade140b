/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-bench-element: what the element adds to the engine, on a recording in
 * FLAC, 16 kHz, mono.
 *
 * A whole file (the default): a pipeline from a file source to a file sink, the
 * same with queues behind parser and decoder, the same from a WAV file, the
 * engine alone on the same windows, and decoding the file alone, by turns in
 * one process that has the engine open. --streams: live elements. Every figure
 * is the median of --runs runs after one that does not count.
 */
#include <glib/gstdio.h>
#include <stdlib.h>

#include "bulk.h"
#include "element/gstmt3transcribe.h"
#include "file-pipeline.h"
#include "live-pipeline.h"
#include "report.h"
#include "vocabulary/event-order.h"

#define DECODE "filesrc name=in ! flacparse ! flacdec"

static const gchar *device = "auto", *precision = "auto";
static gchar *model_file;
static gchar *json_file, *golden_file;
static gint batch_size, device_id, n_runs = 5, n_streams, n_windows;
static gchar **clips;

static const GOptionEntry entries[] = {
    {"model", 'm', 0, G_OPTION_ARG_FILENAME, &model_file,
        "Model (default: as the element searches)", "FILE"},
    {"device", 'd', 0, G_OPTION_ARG_STRING, &device, "auto, cpu or cuda",
        "NAME"},
    {"device-id", 0, 0, G_OPTION_ARG_INT, &device_id, "Which GPU", "N"},
    {"precision", 'p', 0, G_OPTION_ARG_STRING, &precision,
        "auto, exact, fast or bf16", "NAME"},
    {"batch-size", 'b', 0, G_OPTION_ARG_INT, &batch_size,
        "Windows decoded at once (default: the backend's choice)", "N"},
    {"runs", 'r', 0, G_OPTION_ARG_INT, &n_runs, "Report the median of N runs",
        "N"},
    {"streams", 's', 0, G_OPTION_ARG_INT, &n_streams,
        "N live elements, fed in real time", "N"},
    {"windows", 'w', 0, G_OPTION_ARG_INT, &n_windows,
        "Live: only the first N windows, and what is left of the next", "N"},
    {"golden", 'g', 0, G_OPTION_ARG_FILENAME, &golden_file,
        "Live: compare with the notes in FILE", "FILE"},
    {"json", 'j', 0, G_OPTION_ARG_FILENAME, &json_file,
        "Write the figures to FILE", "FILE"},
    {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &clips, NULL,
        "CLIP"},
    {NULL},
};

/* The element as the options want it, for gst_parse_launch(). */
static gchar *
element_text (void)
{
  g_autoptr (GString) text = g_string_new ("mt3transcribe");

  if (model_file != NULL)
    g_string_append_printf (text, " model-file=\"%s\"", model_file);
  g_string_append_printf (text,
      " device=%s precision=%s batch-size=%d cuda-device-id=%d", device,
      precision, batch_size, device_id);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* The engine that such elements share. */
static Mt3Engine *
open_engine (const gchar *text, GError **error)
{
  g_autoptr (GstElement) element = pipeline_new (text, error);
  g_autofree gchar *file = NULL;
  Mt3EngineOptions options = {0};

  if (element == NULL)
    return NULL;
  g_object_get (element, "model-file", &file, "device", &options.device,
      "precision", &options.precision, "cuda-device-id",
      &options.cuda_device_id, "batch-size", &options.batch_size, NULL);
  options.model_file = file;
  return mt3_engine_open (&options, error);
}

/* What a file gives in one run; seconds. */
typedef struct {
  gdouble engine, pipeline, queued, from_wav, first_note, decoding;
} FileTimes;

/* Files of this run of the program, and what becomes of them. */
typedef struct {
  gchar *folder, *wav, *midi;
  gchar *from_flac, *queued, *from_wav, *live; /* pipelines */
} Files;

static void
files_clear (Files *files)
{
  if (files->folder == NULL)
    return;
  g_remove (files->wav);
  g_remove (files->midi);
  g_rmdir (files->folder);
  g_free (files->folder);
  g_free (files->wav);
  g_free (files->midi);
  g_free (files->from_flac);
  g_free (files->queued);
  g_free (files->from_wav);
  g_free (files->live);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Files, files_clear)

static gboolean
files_init (Files *files, const gchar *element, GError **error)
{
  files->folder = g_dir_make_tmp ("mt3-bench-XXXXXX", error);
  if (files->folder == NULL)
    return FALSE;
  files->wav = g_build_filename (files->folder, "clip.wav", NULL);
  files->midi = g_build_filename (files->folder, "notes.mid", NULL);
  files->from_flac = g_strdup_printf (
      DECODE " ! %s ! filesink location=\"%s\"", element, files->midi);
  files->queued = g_strdup_printf (
      "filesrc name=in ! flacparse ! queue ! flacdec ! queue ! %s ! "
      "filesink location=\"%s\"",
      element, files->midi);
  files->from_wav = g_strdup_printf (
      "filesrc name=in ! wavparse ! %s ! filesink location=\"%s\"", element,
      files->midi);
  files->live = g_strdup_printf (DECODE
      " ! %s name=mt3 ! audio/x-midi-event ! fakesink sync=false",
      element);
  return TRUE;
}

static gboolean
time_file (Mt3Engine *engine, const Files *files, GPtrArray *windows,
    FileTimes *times, GError **error)
{
  const gchar *clip = clips[0];
  BulkRun bulk;

  if (!bulk_run_engine (engine, windows, NULL, &bulk, error) ||
      !file_pipeline_run (files->from_flac, clip, &times->pipeline, error) ||
      !file_pipeline_run (files->queued, clip, &times->queued, error) ||
      !file_pipeline_run (
          files->from_wav, files->wav, &times->from_wav, error) ||
      !file_pipeline_first_note (
          files->live, clip, &times->first_note, error) ||
      !file_pipeline_run (
          DECODE " ! fakesink sync=false", clip, &times->decoding, error))
    return FALSE;
  times->engine = bulk.seconds;
  return TRUE;
}

static gint
compare_doubles (gconstpointer a, gconstpointer b)
{
  gdouble x = *(const gdouble *) a, y = *(const gdouble *) b;

  return (x > y) - (x < y);
}

/* The median of the doubles at @offset of all @runs. */
static gdouble
median (const GArray *runs, gsize offset)
{
  g_autofree gdouble *values = g_new (gdouble, runs->len);

  for (guint i = 0; i < runs->len; i++)
    values[i] =
        G_STRUCT_MEMBER (gdouble, &g_array_index (runs, FileTimes, i), offset);
  qsort (values, runs->len, sizeof *values, compare_doubles);
  return values[runs->len / 2];
}

static void
report_file (const GArray *runs, Report *report)
{
  gdouble engine = median (runs, G_STRUCT_OFFSET (FileTimes, engine));
  gdouble pipeline = median (runs, G_STRUCT_OFFSET (FileTimes, pipeline));
  gdouble from_wav = median (runs, G_STRUCT_OFFSET (FileTimes, from_wav));

  report_number (report, "engine", engine, "s");
  report_number (report, "pipeline", pipeline, "s");
  report_number (report, "overhead", 100.0 * (pipeline / engine - 1.0), "%");
  report_number (report, "pipeline-queues",
      median (runs, G_STRUCT_OFFSET (FileTimes, queued)), "s");
  report_number (report, "pipeline-wav", from_wav, "s");
  report_number (
      report, "overhead-wav", 100.0 * (from_wav / engine - 1.0), "%");
  report_number (report, "first-note",
      median (runs, G_STRUCT_OFFSET (FileTimes, first_note)), "s");
  report_number (report, "decoding-alone",
      median (runs, G_STRUCT_OFFSET (FileTimes, decoding)), "s");
}

static gboolean
bench_file (
    Mt3Engine *engine, const gchar *text, Report *report, GError **error)
{
  const Mt3Config *config = mt3_engine_config (engine);
  g_autoptr (GPtrArray) windows = clip_read (clips[0], config, error);
  g_autoptr (GArray) runs = g_array_new (FALSE, TRUE, sizeof (FileTimes));
  g_auto (Files) files = {0};

  bulk_decoding.order = mt3_event_order (config, NULL);
  if (windows == NULL || !files_init (&files, text, error) ||
      !clip_write_wav (windows, config, files.wav, error))
    return FALSE;
  for (gint i = 0; i <= n_runs; i++) {
    FileTimes times;

    if (!time_file (engine, &files, windows, &times, error))
      return FALSE;
    if (i > 0)
      g_array_append_val (runs, times);
  }
  report_count (report, "windows", windows->len);
  report_file (runs, report);
  return TRUE;
}

/* The samples of the windows in a row. */
static GArray *
join_windows (const GPtrArray *windows, const Mt3Config *config)
{
  GArray *samples = g_array_new (FALSE, FALSE, sizeof (gfloat));
  guint n = n_windows > 0 ? (guint) n_windows : windows->len;

  for (guint i = 0; i < MIN (n, windows->len); i++) {
    const Mt3Window *window = g_ptr_array_index (windows, i);

    g_array_append_vals (
        samples, window->samples, window->n_frames * config->hop_length);
  }
  return samples;
}

static gboolean
bench_live (
    Mt3Engine *engine, const gchar *text, Report *report, GError **error)
{
  const Mt3Config *config = mt3_engine_config (engine);
  g_autoptr (GPtrArray) windows = clip_read (clips[0], config, error);
  g_autoptr (GArray) golden = NULL;
  g_autoptr (GArray) samples = NULL;
  LivePipelineRun run;

  if (windows == NULL ||
      (golden_file != NULL &&
          (golden = golden_notes_read (golden_file, error)) == NULL))
    return FALSE;
  samples = join_windows (windows, config);
  if (!live_pipeline_run (text, samples, config->sample_rate,
          mt3_config_window_samples (config), n_streams, golden, &run, error))
    return FALSE;
  report_count (report, "streams", n_streams);
  report_count (report, "windows", run.n_windows);
  report_count (report, "notes", run.n_notes);
  report_count (report, "dropped-windows", run.n_dropped);
  report_count (report,
      golden_file != NULL ? "streams-with-golden-notes" : "streams-alike",
      run.n_golden);
  report_number (report, "latency-median", run.median, "s");
  report_number (report, "latency-p99", run.p99, "s");
  report_number (report, "latency-most", run.most, "s");
  report_number (report, "audio-late-most", run.latest_feed, "s");
  return TRUE;
}

static gboolean
bench (Report *report, GError **error)
{
  g_autofree gchar *text = element_text ();
  gint64 start = g_get_monotonic_time ();
  g_autoptr (Mt3Engine) engine = open_engine (text, error);
  Mt3EngineStats stats;

  if (engine == NULL)
    return FALSE;
  report_number (report, "open", 1e-6 * (g_get_monotonic_time () - start), "s");
  mt3_engine_get_stats (engine, &stats);
  report_text (report, "device", stats.device);
  report_text (report, "description", stats.description);
  report_count (report, "slots", stats.n_slots);
  if (!(n_streams > 0 ? bench_live : bench_file) (engine, text, report, error))
    return FALSE;
  mt3_engine_get_stats (engine, &stats);
  report_number (
      report, "device-memory", stats.device_bytes / 1048576.0, "MiB");
  report_number (report, "resident", report_resident_mib ("VmRSS"), "MiB");
  report_number (report, "resident-most", report_resident_mib ("VmHWM"), "MiB");
  return TRUE;
}

static gboolean
check_options (GError **error)
{
  if (clips != NULL && clips[0] != NULL && clips[1] == NULL && n_runs > 0 &&
      n_streams >= 0 && n_windows >= 0)
    return TRUE;
  g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
      "one CLIP, and numbers that are not negative");
  return FALSE;
}

/* The element of this program, whose engine can be shared with it. */
static gboolean
register_element (GError **error)
{
  if (g_type_from_name ("GstMt3Transcribe") == 0 &&
      GST_ELEMENT_REGISTER (mt3transcribe, NULL))
    return TRUE;
  g_set_error_literal (error, GST_CORE_ERROR, GST_CORE_ERROR_FAILED,
      "cannot register mt3transcribe: GStreamer has loaded a plugin with "
      "another one into this process; unset GST_REGISTRY_FORK or "
      "GST_PLUGIN_PATH");
  return FALSE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (Report) report = report_new ();
  gboolean done;

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  done = g_option_context_parse (context, &argc, &argv, &error) &&
         check_options (&error) && register_element (&error) &&
         bench (report, &error) &&
         (json_file == NULL || report_save (report, json_file, &error));
  if (!done)
    g_printerr ("mt3-bench-element: %s\n", error->message);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
