/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/safetensors-writer.h"
#include "error.h"
#include "tools/commands.h"
#include "tools/digest.h"
#include "tools/download.h"
#include "tools/manifest.h"
#include "tools/staging.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The multitrack model of the paper, magenta/mt3's
 * colab/music_transcription_with_transformers.ipynb: gs://mt3/checkpoints/mt3
 */
#define PUBLISHED_URL "https://storage.googleapis.com/mt3/checkpoints/mt3"

/* Lists the files of any other checkpoint, beside them. */
#define LISTING MT3_DIGEST_LIST

/* No reader takes longer ones. */
#define MAX_FILE_BYTES (G_GUINT64_CONSTANT (1) << 32)

typedef struct {
  gchar *url, *output, *sha256;
  gint timeout, retries;
} Options;

/**
 * Source:
 * @base: URL of the folder that holds the files
 * @key: SHA-256 of the list of files or of the one file
 * @model: (nullable): the one file; %NULL for a T5X folder
 * @listing: (nullable): the list of files, where it is compiled in
 */
typedef struct {
  gchar *base;
  gchar *key;
  gchar *model;
  GBytes *listing;
} Source;

/* Where the download stands, for the terminal; no files yet while the list is
 * fetched. */
typedef struct {
  guint file, n_files;
  guint shown;
} Progress;

static void
source_clear (Source *source)
{
  g_free (source->base);
  g_free (source->key);
  g_free (source->model);
  g_clear_pointer (&source->listing, g_bytes_unref);
}

/* MT3's arrays are of like size, so that files measure the whole well. */
static void
print_progress (guint64 done, guint64 total, gpointer user_data)
{
  Progress *progress = user_data;
  gdouble part = total > 0 ? MIN (1.0, (gdouble) done / (gdouble) total) : 0.0;
  guint percent;

  if (progress->n_files == 0)
    return;
  percent = (guint) (100 * (progress->file + part) / progress->n_files);
  if (percent == progress->shown)
    return;
  progress->shown = percent;
  g_printerr ("\rdownload %3u %%", percent);
}

static gboolean
is_model_file (const gchar *name)
{
  static const gchar *const suffixes[] = {
      ".safetensors", ".pth", ".pt", ".ckpt", ".bin"};

  for (gsize i = 0; i < G_N_ELEMENTS (suffixes); i++)
    if (g_str_has_suffix (name, suffixes[i]))
      return TRUE;
  return FALSE;
}

/* Splits the URL of a model file into folder and file. */
static void
take_url (Source *source, const gchar *url)
{
  gsize length = strlen (url);
  const gchar *slash;

  while (length > 0 && url[length - 1] == '/')
    length--;
  source->base = g_strndup (url, length);
  slash = strrchr (source->base, '/');
  if (slash != NULL && is_model_file (slash + 1)) {
    source->model = g_strdup (slash + 1);
    source->base[slash - source->base] = '\0';
  }
}

static gboolean
usage_error (const gchar *message)
{
  g_printerr ("mt3-model fetch: %s; see mt3-model fetch --help\n", message);
  return FALSE;
}

/* The list that is compiled in is known by its digest, like any other. */
static gboolean
choose_source (const Options *options, Source *source)
{
  source->listing = mt3_manifest_published ();
  source->key =
      g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, source->listing);
  take_url (source, options->url != NULL ? options->url : PUBLISHED_URL);
  if (!g_str_has_prefix (source->base, "https://") &&
      !g_str_has_prefix (source->base, "http://"))
    return usage_error ("the URL must begin with https:// or http://");
  if (options->timeout < 1 || options->retries < 0)
    return usage_error ("expected a timeout of 1 or more and retries of 0 or "
                        "more");
  if (options->output != NULL && options->output[0] == '\0')
    return usage_error ("--output names no file");
  if (options->sha256 == NULL)
    return source->model == NULL ||
           usage_error ("--sha256 must say what the file at the URL is");
  if (!mt3_is_sha256 (options->sha256))
    return usage_error ("--sha256 takes 64 hexadecimal digits");
  if (g_ascii_strcasecmp (options->sha256, source->key) == 0)
    return TRUE;
  if (options->url == NULL)
    return usage_error ("--sha256 of another model needs its --url");
  g_clear_pointer (&source->listing, g_bytes_unref);
  g_free (source->key);
  source->key = g_ascii_strdown (options->sha256, -1);
  return TRUE;
}

/* Before anything is fetched: what will be written can be. */
static gboolean
prepare_output (const gchar *output, GError **error)
{
  g_autofree gchar *file = mt3_safetensors_output (output, error);
  g_autofree gchar *folder = NULL;

  if (file == NULL)
    return FALSE;
  folder = g_path_get_dirname (file);
  if (g_mkdir_with_parents (folder, 0700) == 0 &&
      access (folder, W_OK | X_OK) == 0)
    return TRUE;
  g_set_error (error, MT3_ERROR, MT3_ERROR_IO,
      "cannot write %s: %s; choose another file with --output", output,
      g_strerror (errno));
  return FALSE;
}

static gboolean
fetch_file (Mt3Downloader *downloader, const Source *source,
    const Mt3Staging *staging, const Mt3ManifestFile *file, guint64 max_bytes,
    GError **error)
{
  g_autofree gchar *url = g_strconcat (source->base, "/", file->name, NULL);
  g_autofree gchar *path = mt3_staging_file (staging, file->name, error);

  return path != NULL &&
         mt3_download (downloader, url, path, file->sha256, max_bytes, error);
}

/* The files to fetch, from a list that is itself fetched if need be. */
static GPtrArray *
list_files (Mt3Downloader *downloader, const Source *source,
    const Mt3Staging *staging, GError **error)
{
  Mt3ManifestFile listing = {(gchar *) LISTING, source->key};
  g_autofree gchar *path = NULL, *text = NULL;
  gsize length;

  if (source->listing != NULL) {
    const gchar *data = g_bytes_get_data (source->listing, &length);

    return mt3_manifest_parse (data, length, LISTING, error);
  }
  if (source->model != NULL)
    return mt3_manifest_of_file (source->model, source->key, error);
  if (!fetch_file (
          downloader, source, staging, &listing, MT3_MANIFEST_MAX_BYTES, error))
    return NULL;
  path = mt3_staging_file (staging, LISTING, error);
  if (path == NULL || !g_file_get_contents (path, &text, &length, error))
    return NULL;
  return mt3_manifest_parse (text, length, path, error);
}

static gboolean
fetch_files (Mt3Downloader *downloader, const Source *source,
    const Mt3Staging *staging, const GPtrArray *files, Progress *progress,
    GError **error)
{
  gboolean fetched = TRUE;

  progress->n_files = files->len;
  for (guint i = 0; i < files->len && fetched; i++) {
    progress->file = i;
    fetched = fetch_file (
        downloader, source, staging, files->pdata[i], MAX_FILE_BYTES, error);
  }
  if (progress->shown != G_MAXUINT)
    g_printerr ("\n");
  return fetched;
}

static ExitCode
install (const Source *source, const Mt3Staging *staging,
    const GPtrArray *files, const gchar *output, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autofree gchar *model =
      source->model != NULL ? mt3_staging_file (staging, source->model, error)
                            : g_strdup (mt3_staging_path (staging));
  ExitCode code = model != NULL
                      ? mt3_convert_model (model, output, MT3_DTYPE_F32, error)
                      : EXIT_FILE;

  if (code != EXIT_SOUND)
    return code;
  for (guint i = 0; i < files->len; i++)
    g_ptr_array_add (names, ((Mt3ManifestFile *) files->pdata[i])->name);
  g_ptr_array_add (names, (gpointer) LISTING);
  mt3_staging_remove (staging, (const gchar *const *) names->pdata, names->len);
  g_print ("The model is %s\n", output);
  return EXIT_SOUND;
}

/* Wrong bytes are not what was asked for; all else is the connection's or the
 * disk's doing and may pass. */
static ExitCode
judge_failure (const Mt3Staging *staging, GError **error)
{
  if (g_error_matches (*error, MT3_ERROR, MT3_ERROR_FORMAT))
    return EXIT_UNSOUND;
  if (g_error_matches (*error, MT3_ERROR, MT3_ERROR_IO)) {
    g_autoptr (GError) cause = g_steal_pointer (error);

    g_set_error (error, MT3_ERROR, MT3_ERROR_IO,
        "%s; what has come is kept in %s: the same command goes on from there",
        cause->message, mt3_staging_path (staging));
  }
  return EXIT_FILE;
}

static ExitCode
fetch (const Options *options, const Source *source, const gchar *output,
    GError **error)
{
  Progress progress = {.shown = G_MAXUINT};
  const Mt3DownloadSettings settings = {
      .timeout = (guint) options->timeout,
      .retries = (guint) options->retries,
      .progress = isatty (STDERR_FILENO) ? print_progress : NULL,
      .user_data = &progress,
  };
  g_autoptr (Mt3Staging) staging = NULL;
  g_autoptr (Mt3Downloader) downloader = NULL;
  g_autoptr (GPtrArray) files = NULL;

  if (!prepare_output (output, error))
    return EXIT_FILE;
  staging = mt3_staging_open (source->key, error);
  downloader = staging != NULL ? mt3_downloader_new (&settings, error) : NULL;
  if (downloader == NULL)
    return EXIT_FILE;
  files = list_files (downloader, source, staging, error);
  if (files == NULL ||
      !fetch_files (downloader, source, staging, files, &progress, error))
    return judge_failure (staging, error);
  return install (source, staging, files, output, error);
}

static gboolean
parse (int *argc, char ***argv, Options *options)
{
  const GOptionEntry entries[] = {
      {"url", 0, 0, G_OPTION_ARG_STRING, &options->url,
          "A T5X folder or a model file (default: " PUBLISHED_URL ")", "URL"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &options->output,
          "Default: gst-mt3/model.safetensors in $XDG_DATA_HOME", "FILE"},
      {"sha256", 0, 0, G_OPTION_ARG_STRING, &options->sha256,
          "Of another model than the published: what mt3-model verify prints",
          "HEX"},
      {"timeout", 0, 0, G_OPTION_ARG_INT, &options->timeout,
          "Give up a connection that stalls so long (default: 30)", "SECONDS"},
      {"retries", 0, 0, G_OPTION_ARG_INT, &options->retries,
          "Try a file again so often (default: 4)", "N"},
      {NULL},
  };

  return mt3_command_parse (argc, argv, NULL,
      "Downloads the multitrack model that Google Magenta publishes (170 MB),\n"
      "checks the SHA-256 of each file, and writes it as .safetensors where\n"
      "mt3transcribe finds it. The model appears only once it is whole. What "
      "a\n"
      "broken download brought is kept; the same command goes on from there.\n"
      "\n"
      "--url names a copy of that model; with --sha256, any other: a file\n"
      "(.safetensors, .pth), or a T5X folder with its list of files in\n"
      "SHA256SUMS, as mt3-model verify prints it.",
      entries, 0);
}

ExitCode
mt3_command_fetch (int argc, char **argv)
{
  Options options = {.timeout = 30, .retries = 4};
  Source source = {NULL};
  g_autofree gchar *output = NULL;
  g_autoptr (GError) error = NULL;
  ExitCode code = EXIT_USAGE;

  if (parse (&argc, &argv, &options) && choose_source (&options, &source)) {
    output = options.output != NULL ? g_strdup (options.output)
                                    : g_build_filename (g_get_user_data_dir (),
                                          "gst-mt3", "model.safetensors", NULL);
    code = fetch (&options, &source, output, &error);
    if (error != NULL)
      mt3_command_complain (error);
  }
  source_clear (&source);
  g_free (options.url);
  g_free (options.output);
  g_free (options.sha256);
  return code;
}
