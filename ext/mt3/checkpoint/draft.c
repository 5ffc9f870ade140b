/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/draft.h"
#include "checkpoint/half.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/schema.h"
#include "error.h"

struct _Mt3Draft {
  Mt3Archive *archive;
};

static gboolean model_error (const Mt3Archive *archive, GError **error,
    const gchar *format, ...) G_GNUC_PRINTF (3, 4);

/* Returns FALSE. */
static gboolean
model_error (
    const Mt3Archive *archive, GError **error, const gchar *format, ...)
{
  g_autofree gchar *problem = NULL;
  g_autofree gchar *printable = NULL;
  va_list args;

  va_start (args, format);
  problem = g_strdup_vprintf (format, args);
  va_end (args);
  printable = mt3_printable (problem);
  g_set_error (
      error, MT3_ERROR, MT3_ERROR_MODEL, "%s: %s", archive->path, printable);
  return FALSE;
}

static const Mt3ArchiveEntry *
find_entry (const Mt3Archive *archive, const gchar *name)
{
  for (guint i = 0; i < archive->entries->len; i++) {
    const Mt3ArchiveEntry *entry =
        &g_array_index (archive->entries, Mt3ArchiveEntry, i);

    if (g_str_equal (entry->tensor.name, name))
      return entry;
  }
  return NULL;
}

gchar *
mt3_draft_model_digest (const Mt3Model *model)
{
  const Mt3Tensor *scale =
      mt3_model_tensor (model, "decoder/decoder_norm/scale");
  const gsize n = mt3_tensor_n_elements (scale);
  g_autofree gfloat *values = g_new (gfloat, n);
  g_autofree guint16 *halves = g_new (guint16, n);

  mt3_tensor_read_block (scale, 0, 1, 0, n, values);
  for (gsize i = 0; i < n; i++)
    halves[i] = GUINT16_TO_LE (mt3_float_to_half (values[i]));
  return g_compute_checksum_for_data (
      G_CHECKSUM_SHA256, (const guchar *) halves, n * sizeof *halves);
}

/* Comes before the shapes: those of a draft network for another model differ,
 * too, and to list them would say less. */
static gboolean
check_suits (const Mt3Archive *archive, const Mt3Model *model, GError **error)
{
  const gchar *made_for =
      g_hash_table_lookup (archive->metadata, MT3_DRAFT_MODEL_KEY);
  g_autofree gchar *digest = mt3_draft_model_digest (model);

  if (made_for == NULL)
    return model_error (archive, error,
        "not a draft network: metadata %s: expected a digest, found none",
        MT3_DRAFT_MODEL_KEY);
  if (!g_str_equal (made_for, digest))
    return model_error (archive, error,
        "a draft network for another model than %s", mt3_model_path (model));
  return TRUE;
}

static gboolean
check_tensor (
    const Mt3Archive *archive, const Mt3SchemaTensor *expected, GError **error)
{
  const Mt3ArchiveEntry *entry = find_entry (archive, expected->name);
  g_autofree gchar *shape =
      mt3_shape_to_string (expected->n_dims, expected->shape);
  g_autofree gchar *found = NULL;
  gssize nonfinite;

  if (entry == NULL)
    return model_error (archive, error, "tensor %s: expected %s, found none",
        expected->name, shape);
  if (!entry->readable)
    return model_error (archive, error,
        "tensor %s: expected F32, F16 or BF16, found %s", expected->name,
        entry->dtype_name);
  found = mt3_shape_to_string (entry->tensor.n_dims, entry->tensor.shape);
  if (!g_str_equal (found, shape))
    return model_error (archive, error, "tensor %s: expected %s, found %s",
        expected->name, shape, found);
  nonfinite = mt3_tensor_find_nonfinite (&entry->tensor);
  if (nonfinite >= 0)
    return model_error (archive, error,
        "tensor %s: expected finite values, found Inf or NaN at index "
        "%" G_GSSIZE_FORMAT,
        expected->name, nonfinite);
  return TRUE;
}

static gboolean
check_known (const Mt3Archive *archive, const GArray *schema,
    const Mt3ArchiveEntry *entry, GError **error)
{
  g_autofree gchar *found = NULL;

  for (guint i = 0; i < schema->len; i++)
    if (g_str_equal (entry->tensor.name,
            g_array_index (schema, Mt3SchemaTensor, i).name))
      return TRUE;
  found = mt3_shape_to_string (entry->tensor.n_dims, entry->tensor.shape);
  return model_error (archive, error,
      "tensor %s: expected no tensor of this name, found %s of %s",
      entry->tensor.name, found, entry->dtype_name);
}

static gboolean
check_schema (
    const Mt3Archive *archive, const Mt3Config *config, GError **error)
{
  g_autoptr (GArray) schema = mt3_draft_schema_new (config);

  for (guint i = 0; i < schema->len; i++)
    if (!check_tensor (
            archive, &g_array_index (schema, Mt3SchemaTensor, i), error))
      return FALSE;
  for (guint i = 0; i < archive->entries->len; i++)
    if (!check_known (archive, schema,
            &g_array_index (archive->entries, Mt3ArchiveEntry, i), error))
      return FALSE;
  return TRUE;
}

/* Takes the archive; NULL when there is none. */
static Mt3Draft *
draft_new (Mt3Archive *taken, const Mt3Model *model, GError **error)
{
  g_autoptr (Mt3Archive) archive = taken;
  Mt3Draft *self;

  if (archive == NULL || !check_suits (archive, model, error) ||
      !check_schema (archive, mt3_model_config (model), error))
    return NULL;
  self = g_new0 (Mt3Draft, 1);
  self->archive = g_steal_pointer (&archive);
  return self;
}

Mt3Draft *
mt3_draft_open (const gchar *path, const Mt3Model *model, GError **error)
{
  return draft_new (mt3_safetensors_read (path, error), model, error);
}

Mt3Draft *
mt3_draft_open_bytes (
    GBytes *bytes, const gchar *path, const Mt3Model *model, GError **error)
{
  return draft_new (
      mt3_safetensors_read_bytes (bytes, path, error), model, error);
}

void
mt3_draft_free (Mt3Draft *draft)
{
  mt3_archive_free (draft->archive);
  g_free (draft);
}

const gchar *
mt3_draft_path (const Mt3Draft *draft)
{
  return draft->archive->path;
}

const Mt3Tensor *
mt3_draft_tensor (const Mt3Draft *draft, const gchar *name)
{
  const Mt3ArchiveEntry *entry = find_entry (draft->archive, name);

  return entry != NULL ? &entry->tensor : NULL;
}

gboolean
mt3_draft_is_likely (const Mt3Archive *archive)
{
  return g_hash_table_contains (archive->metadata, MT3_DRAFT_MODEL_KEY);
}
