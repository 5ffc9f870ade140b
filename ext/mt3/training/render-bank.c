/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * render-bank.c: renders the note bank (see bank.h) on all cores:
 *
 *   mt3-render-bank --font A.sf3 --font B.sf3 --samples DIR --synthetic 6 OUT
 */
#include "config.h"

#include "training/samples.h"
#include "training/synthetic.h"
#ifdef HAVE_FLUIDSYNTH
#include "training/font.h"
#endif

#include <stdlib.h>

static gchar **fonts;
static gchar *samples;
static gint n_synthetic;
static gint stride = 1;
static gint n_threads;

static const GOptionEntry options[] = {
    {"font", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &fonts,
        "A sound font, SF2 or SF3 (may be given again)", "FILE"},
    {"samples", 's', 0, G_OPTION_ARG_FILENAME, &samples,
        "A folder with samples.tsv", "FOLDER"},
    {"synthetic", 'n', 0, G_OPTION_ARG_INT, &n_synthetic,
        "Synthetic variants of each timbre", "N"},
    {"stride", 'e', 0, G_OPTION_ARG_INT, &stride,
        "Record only every so manieth timbre (for tests)", "N"},
    {"threads", 't', 0, G_OPTION_ARG_INT, &n_threads,
        "Threads; all cores by default", "N"},
    {NULL},
};

/* What one thread records at a time. */
typedef struct {
  gboolean is_font;
  guint timbre, variant;
  guint8 source;
#ifdef HAVE_FLUIDSYNTH
  Mt3FontPreset preset;
#endif
} Job;

static void
run_job (gpointer data, gpointer user_data)
{
  g_autofree Job *job = data;

#ifdef HAVE_FLUIDSYNTH
  if (job->is_font)
    mt3_font_record (&job->preset, user_data);
#endif
  if (!job->is_font)
    mt3_synthetic_record (job->timbre, job->variant, job->source, user_data);
}

static gboolean
push_font (GThreadPool *pool, const gchar *path, guint8 source, GError **error)
{
#ifdef HAVE_FLUIDSYNTH
  g_autoptr (GArray) presets = mt3_font_presets (path, source, error);

  for (guint i = 0; presets && i < presets->len; i++) {
    Job *job = g_new0 (Job, 1);

    job->is_font = TRUE;
    job->preset = g_array_index (presets, Mt3FontPreset, i);
    g_thread_pool_push (pool, job, NULL);
  }
  return presets != NULL;
#else
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION,
      "%s: this build has no FluidSynth; install libfluidsynth-dev", path);
  return FALSE;
#endif
}

static void
push_synthetic (GThreadPool *pool, guint8 source)
{
  for (gint variant = 0; variant < n_synthetic; variant++)
    for (guint timbre = 0; timbre < mt3_synthetic_n_timbres ();
         timbre += MAX (stride, 1)) {
      Job *job = g_new0 (Job, 1);

      job->timbre = timbre;
      job->variant = variant;
      job->source = source;
      g_thread_pool_push (pool, job, NULL);
    }
}

static gboolean
render (const gchar *folder, GError **error)
{
  Mt3BankWriter *writer = mt3_bank_writer_new (folder, error);
  guint8 source = 0;
  gboolean ok = TRUE;

  if (writer == NULL)
    return FALSE;
  GThreadPool *pool = g_thread_pool_new (run_job, writer,
      n_threads > 0 ? n_threads : (gint) g_get_num_processors (), FALSE, NULL);
  for (gchar **font = fonts; ok && font && *font; font++)
    ok = push_font (pool, *font, source++, error);
  push_synthetic (pool, source++);
  if (ok && samples)
    ok = mt3_samples_record (samples, source, writer, error);
  g_thread_pool_free (pool, !ok, TRUE);

  guint n_instruments = mt3_bank_writer_n_instruments (writer);
  gdouble hours = mt3_bank_writer_hours (writer);
  if (!mt3_bank_writer_finish (writer, ok ? error : NULL) || !ok)
    return FALSE;
  g_print ("%s: %u instruments, %.2f hours of notes\n", folder, n_instruments,
      hours);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("FOLDER");
  g_autoptr (GError) error = NULL;

  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc != 2) {
    g_printerr ("%s\n", error ? error->message : "which folder?");
    return EXIT_FAILURE;
  }
  if (!render (argv[1], &error)) {
    g_printerr ("%s\n", error->message);
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
