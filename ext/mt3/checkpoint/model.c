/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/model.h"
#include "checkpoint/archive.h"
#include "checkpoint/report.h"
#include "error.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Longer than any canonical name. */
#define NAME_MAX_LENGTH 128

struct _Mt3Model {
  gatomicrefcount ref_count;
  Mt3Archive *archive;
  Mt3Report *report; /* the tensors and their names */
  GHashTable *by_name;
  guint64 n_parameters;
};

static gboolean
demand_no_problems (const Mt3Report *report, const gchar *path, GError **error)
{
  g_autofree gchar *more = NULL;

  if (report->problems->len == 0)
    return TRUE;
  if (report->problems->len > 1)
    more = g_strdup_printf (
        " (and %u more problems; mt3-model inspect lists them)",
        report->problems->len - 1);
  g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL, "%s: %s%s", path,
      (const gchar *) g_ptr_array_index (report->problems, 0),
      more != NULL ? more : "");
  return FALSE;
}

/* Takes both. */
static Mt3Model *
model_new (Mt3Archive *archive, Mt3Report *report)
{
  Mt3Model *model = g_new0 (Mt3Model, 1);

  g_atomic_ref_count_init (&model->ref_count);
  model->archive = archive;
  model->report = report;
  model->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  for (guint i = 0; i < report->tensors->len; i++) {
    Mt3Tensor *tensor = &g_array_index (report->tensors, Mt3Tensor, i);

    g_hash_table_insert (model->by_name, (gpointer) tensor->name, tensor);
    model->n_parameters += mt3_tensor_n_elements (tensor);
  }
  return model;
}

Mt3Model *
mt3_model_open (const gchar *path, GError **error)
{
  g_autoptr (Mt3Archive) archive = mt3_archive_read (path, error);
  g_autoptr (Mt3Report) report = NULL;

  if (archive == NULL)
    return NULL;
  report = mt3_report_new (archive);
  if (!demand_no_problems (report, path, error))
    return NULL;
  mt3_report_check_values (report);
  if (!demand_no_problems (report, path, error))
    return NULL;
  return model_new (g_steal_pointer (&archive), g_steal_pointer (&report));
}

Mt3Model *
mt3_model_ref (Mt3Model *model)
{
  g_atomic_ref_count_inc (&model->ref_count);
  return model;
}

void
mt3_model_unref (Mt3Model *model)
{
  if (!g_atomic_ref_count_dec (&model->ref_count))
    return;
  g_hash_table_unref (model->by_name);
  mt3_report_free (model->report);
  mt3_archive_free (model->archive);
  g_free (model);
}

const gchar *
mt3_model_path (const Mt3Model *model)
{
  return model->archive->path;
}

const Mt3Config *
mt3_model_config (const Mt3Model *model)
{
  return &model->report->config;
}

guint64
mt3_model_n_parameters (const Mt3Model *model)
{
  return model->n_parameters;
}

const Mt3Tensor *
mt3_model_tensors (const Mt3Model *model, guint *n_tensors)
{
  *n_tensors = model->report->tensors->len;
  return &g_array_index (model->report->tensors, Mt3Tensor, 0);
}

const Mt3Tensor *
mt3_model_tensor (const Mt3Model *model, const gchar *format, ...)
{
  gchar name[NAME_MAX_LENGTH];
  va_list args;

  va_start (args, format);
  g_vsnprintf (name, sizeof name, format, args);
  va_end (args);
  return g_hash_table_lookup (model->by_name, name);
}

const gchar *
mt3_model_metadata (const Mt3Model *model, const gchar *key)
{
  return g_hash_table_lookup (model->archive->metadata, key);
}

void
mt3_model_release_pages (Mt3Model *model)
{
  GBytes *mapping = model->archive->mapping;
  uintptr_t page = (uintptr_t) sysconf (_SC_PAGESIZE);
  uintptr_t start;
  gsize length;

  if (mapping == NULL)
    return;
  start = (uintptr_t) g_bytes_get_data (mapping, &length);
  length += start % page;
  /* The mapping is private, clean and backed by the file: its pages come back
   * from the page cache when touched. A refusal costs memory only. */
  (void) madvise ((void *) (start - start % page), length, MADV_DONTNEED);
}
