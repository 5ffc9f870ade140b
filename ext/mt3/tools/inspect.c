/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/draft.h"
#include "error.h"
#include "tools/commands.h"

static guint
n_written (const Mt3Config *config)
{
  guint n = 0;

  for (guint i = 0; i < MT3_CONFIG_PROGRAMS; i++)
    n += mt3_config_written_program (config, i) == i;
  return n;
}

static void
print_config (const Mt3Report *report)
{
  const Mt3Config *c = &report->config;
  guint64 parameters = 0;

  for (guint i = 0; i < report->mapping->rows->len; i++)
    parameters += mt3_tensor_n_elements (
        &g_array_index (report->mapping->rows, Mt3MappingRow, i).tensor);
  g_print ("parameters   %" G_GUINT64_FORMAT " in %u tensors (MT3 has %u)\n",
      parameters, report->mapping->rows->len, report->n_schema);
  g_print ("encoder      %u layers, feed-forward %u\n", c->encoder_layers,
      c->encoder_d_ff);
  g_print ("decoder      %u layers, feed-forward %u\n", c->decoder_layers,
      c->decoder_d_ff);
  g_print (
      "width        %u, %u heads of %u\n", c->d_model, c->n_heads, c->head_dim);
  g_print ("vocabulary   %u, velocity bins %u, ties %s, order %s, "
           "at most %u tokens\n",
      c->vocab_size, c->velocity_bins, c->ties ? "yes" : "no",
      c->ordered_events ? "yes" : "no", c->max_tokens);
  g_print ("programs     %u%s\n", n_written (c),
      n_written (c) < MT3_CONFIG_PROGRAMS
          ? ", each also for others that sound like it"
          : "");
  g_print ("front end    %u Hz, hop %u, FFT %u, %u mel bins of %g to %g Hz\n",
      c->sample_rate, c->hop_length, c->fft_length, c->n_mels, c->mel_low_hz,
      c->mel_high_hz);
  g_print ("window       %u frames, %.3f s\n", c->window_frames,
      (gdouble) mt3_config_window_samples (c) / c->sample_rate);
}

static void
print_metadata (const Mt3Archive *archive)
{
  g_autoptr (GList) keys = g_list_sort (
      g_hash_table_get_keys (archive->metadata), (GCompareFunc) g_strcmp0);

  for (const GList *key = keys; key != NULL; key = key->next) {
    g_autofree gchar *name = mt3_printable (key->data);
    g_autofree gchar *value =
        mt3_printable (g_hash_table_lookup (archive->metadata, key->data));

    g_print ("metadata     %s: %s\n", name, value);
  }
}

static void
print_mapping (const Mt3Mapping *mapping)
{
  g_print ("\nmapping (tensor, shape, dtype, name in the file)\n");
  for (guint i = 0; i < mapping->rows->len; i++) {
    const Mt3MappingRow *row = &g_array_index (mapping->rows, Mt3MappingRow, i);
    g_autofree gchar *shape =
        mt3_shape_to_string (row->tensor.n_dims, row->tensor.shape);
    g_autofree gchar *name = mt3_printable (row->tensor.name);
    g_autofree gchar *dtype = mt3_printable (
        row->readable ? mt3_dtype_name (row->tensor.dtype) : row->dtype_name);
    g_autofree gchar *file_name = mt3_printable (row->file_name);

    g_print ("  %-58s %-11s %-5s %s%s\n", name, shape, dtype, file_name,
        row->transposed ? " (transposed)" : "");
  }
}

static void
print_problems (const Mt3Report *report)
{
  if (report->problems->len == 0) {
    g_print ("\nno differences to the expected schema\n");
    return;
  }
  g_print ("\n%u differences to the expected schema\n", report->problems->len);
  for (guint i = 0; i < report->problems->len; i++)
    g_print ("  %s\n", (const gchar *) g_ptr_array_index (report->problems, i));
}

/* Beside a model it would only be a long list of differences. */
static ExitCode
inspect_draft (const Mt3Archive *archive)
{
  g_print ("draft        %s\n", archive->path);
  print_metadata (archive);
  g_print ("\na draft network, which makes the model that it was made for "
           "faster on a GPU,\nand no model itself\n");
  return EXIT_UNSOUND;
}

ExitCode
mt3_command_inspect (int argc, char **argv)
{
  g_autoptr (Mt3Archive) archive = NULL;
  g_autoptr (Mt3Report) report = NULL;
  g_autoptr (GError) error = NULL;

  if (!mt3_command_parse (&argc, &argv, "MODEL",
          "Prints what a model is, how its tensors map to MT3's, and where it\n"
          "differs from MT3. Values are not looked at; verify does.",
          NULL, 1))
    return EXIT_USAGE;
  archive = mt3_archive_read (argv[1], &error);
  if (archive == NULL) {
    mt3_command_complain (error);
    return EXIT_FILE;
  }
  if (mt3_draft_is_likely (archive))
    return inspect_draft (archive);
  report = mt3_report_new (archive);
  g_print ("model        %s\n", archive->path);
  print_config (report);
  print_metadata (archive);
  print_mapping (report->mapping);
  print_problems (report);
  return report->problems->len == 0 ? EXIT_SOUND : EXIT_UNSOUND;
}
