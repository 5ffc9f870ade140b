/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/config-json.h"
#include "checkpoint/safetensors-writer.h"
#include "error.h"
#include "tools/commands.h"

#include <unistd.h>

static void
print_progress (guint64 done, guint64 total, gpointer user_data)
{
  guint *shown = user_data;
  guint percent = (guint) (100 * done / total);

  if (percent == *shown && done < total)
    return;
  *shown = percent;
  g_printerr ("\r%3u %%%s", percent, done == total ? "\n" : "");
}

/* The configuration of a converted model stands in the file, so that nothing
 * need be derived again. */
static GHashTable *
make_metadata (const Mt3Archive *archive, const Mt3Config *config)
{
  GHashTable *metadata =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  GHashTableIter iter;
  gpointer key, value;

  g_hash_table_iter_init (&iter, archive->metadata);
  while (g_hash_table_iter_next (&iter, &key, &value))
    g_hash_table_insert (metadata, g_strdup (key), g_strdup (value));
  g_hash_table_insert (
      metadata, g_strdup (MT3_CONFIG_KEY), mt3_config_to_json (config));
  return metadata;
}

static gboolean
convert (const Mt3Archive *archive, const Mt3Report *report, Mt3DType dtype,
    const gchar *out, GError **error)
{
  g_autoptr (GHashTable) metadata = make_metadata (archive, &report->config);
  guint shown = G_MAXUINT;
  const Mt3SafetensorsWrite what = {
      .tensors = (const Mt3Tensor *) (gpointer) report->tensors->data,
      .n_tensors = report->tensors->len,
      .dtype = dtype,
      .metadata = metadata,
      .progress = isatty (STDERR_FILENO) ? print_progress : NULL,
      .user_data = &shown,
  };

  return mt3_safetensors_write (out, &what, error);
}

ExitCode
mt3_convert_model (
    const gchar *path, const gchar *out, Mt3DType dtype, GError **error)
{
  g_autoptr (Mt3Archive) archive = mt3_archive_read (path, error);
  g_autoptr (Mt3Report) report = NULL;

  if (archive == NULL)
    return EXIT_FILE;
  report = mt3_report_new (archive);
  mt3_report_check_values (report);
  if (report->problems->len > 0) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
        "%s: %s; mt3-model inspect shows all differences", path,
        (const gchar *) g_ptr_array_index (report->problems, 0));
    return EXIT_UNSOUND;
  }
  if (!convert (archive, report, dtype, out, error))
    return g_error_matches (*error, MT3_ERROR, MT3_ERROR_MODEL) ? EXIT_UNSOUND
                                                                : EXIT_FILE;
  return EXIT_SOUND;
}

static gboolean
parse_dtype (const gchar *text, Mt3DType *dtype)
{
  if (text == NULL || g_str_equal (text, "f32"))
    *dtype = MT3_DTYPE_F32;
  else if (g_str_equal (text, "f16"))
    *dtype = MT3_DTYPE_F16;
  else
    return FALSE;
  return TRUE;
}

ExitCode
mt3_command_convert (int argc, char **argv)
{
  g_autofree gchar *dtype_name = NULL;
  const GOptionEntry entries[] = {
      {"dtype", 0, 0, G_OPTION_ARG_STRING, &dtype_name,
          "f32 (default) or f16, rounded to nearest", "DTYPE"},
      {NULL},
  };
  g_autoptr (GError) error = NULL;
  Mt3DType dtype;
  ExitCode code;

  if (!mt3_command_parse (&argc, &argv, "MODEL OUT.safetensors",
          "Writes a model as .safetensors under T5X names, with its\n"
          "configuration in the metadata. OUT appears only once it is whole.",
          entries, 2))
    return EXIT_USAGE;
  if (!parse_dtype (dtype_name, &dtype)) {
    g_printerr (
        "mt3-model convert: dtype %s; expected f32 or f16\n", dtype_name);
    return EXIT_USAGE;
  }
  code = mt3_convert_model (argv[1], argv[2], dtype, &error);
  if (error != NULL)
    mt3_command_complain (error);
  return code;
}
