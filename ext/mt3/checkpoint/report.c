/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/report.h"
#include "checkpoint/draft.h"
#include "checkpoint/schema.h"
#include "error.h"

static void add_problem (Mt3Report *report, const gchar *format, ...)
    G_GNUC_PRINTF (2, 3);

static void
add_problem (Mt3Report *report, const gchar *format, ...)
{
  g_autofree gchar *problem = NULL;
  va_list args;

  va_start (args, format);
  problem = g_strdup_vprintf (format, args);
  va_end (args);
  g_ptr_array_add (report->problems, mt3_printable (problem));
}

/* Both names, where the file's differs. */
static gchar *
describe_name (const Mt3Mapping *mapping, const gchar *canonical)
{
  const Mt3MappingRow *row = mt3_mapping_find (mapping, canonical);
  g_autofree gchar *other = NULL;
  gboolean transposed;

  if (row != NULL)
    other = g_strdup (row->file_name);
  else if (mapping->naming == MT3_NAMING_HUGGING_FACE)
    other = mt3_name_to_hugging_face (canonical, &transposed);
  if (other == NULL || g_str_equal (other, canonical))
    return g_strdup (canonical);
  return g_strdup_printf ("%s (in the file: %s)", canonical, other);
}

static gboolean
has_shape (const Mt3Tensor *tensor, const Mt3SchemaTensor *expected)
{
  if (tensor->n_dims != expected->n_dims)
    return FALSE;
  for (guint i = 0; i < expected->n_dims; i++)
    if (tensor->shape[i] != expected->shape[i])
      return FALSE;
  return TRUE;
}

static void
check_tensor (Mt3Report *report, const Mt3SchemaTensor *expected)
{
  const Mt3MappingRow *row = mt3_mapping_find (report->mapping, expected->name);
  g_autofree gchar *name = describe_name (report->mapping, expected->name);
  g_autofree gchar *shape =
      mt3_shape_to_string (expected->n_dims, expected->shape);

  if (row == NULL) {
    add_problem (report, "tensor %s: expected %s, found none", name, shape);
    return;
  }
  if (!row->readable) {
    add_problem (report, "tensor %s: expected F32, F16 or BF16, found %s", name,
        row->dtype_name);
    return;
  }
  if (!has_shape (&row->tensor, expected)) {
    g_autofree gchar *found =
        mt3_shape_to_string (row->tensor.n_dims, row->tensor.shape);

    add_problem (report, "tensor %s: expected %s, found %s%s", name, shape,
        found, row->transposed ? " (transposed)" : "");
    return;
  }
  g_array_append_val (report->tensors, row->tensor);
}

static void
check_schema (Mt3Report *report)
{
  g_autoptr (GArray) schema = mt3_schema_new (&report->config);
  g_autoptr (GHashTable) known = g_hash_table_new (g_str_hash, g_str_equal);

  report->n_schema = schema->len;
  for (guint i = 0; i < schema->len; i++) {
    const Mt3SchemaTensor *expected =
        &g_array_index (schema, Mt3SchemaTensor, i);

    check_tensor (report, expected);
    g_hash_table_add (known, expected->name);
  }
  for (guint i = 0; i < report->mapping->rows->len; i++) {
    const Mt3MappingRow *row =
        &g_array_index (report->mapping->rows, Mt3MappingRow, i);
    g_autofree gchar *found =
        mt3_shape_to_string (row->tensor.n_dims, row->tensor.shape);

    if (!g_hash_table_contains (known, row->tensor.name))
      add_problem (report,
          "tensor %s: expected no tensor of this name, found %s of %s",
          row->file_name, found, row->dtype_name);
  }
  for (guint i = 0; i < report->mapping->duplicates->len; i++)
    add_problem (report,
        "tensor %s: expected once, found again under another name",
        (const gchar *) g_ptr_array_index (report->mapping->duplicates, i));
}

Mt3Report *
mt3_report_new (const Mt3Archive *archive)
{
  Mt3Report *report = g_new0 (Mt3Report, 1);
  g_autoptr (GError) error = NULL;

  report->mapping = mt3_mapping_new (archive);
  report->tensors = g_array_new (FALSE, FALSE, sizeof (Mt3Tensor));
  report->problems = g_ptr_array_new_with_free_func (g_free);
  if (!mt3_config_derive (&report->config, archive, report->mapping, &error))
    add_problem (report, "%s", error->message);
  else if (mt3_draft_is_likely (archive))
    add_problem (report, "a draft network, not a model: "
                         "name the model that it was made for");
  else
    check_schema (report);
  return report;
}

void
mt3_report_free (Mt3Report *report)
{
  mt3_mapping_free (report->mapping);
  g_array_unref (report->tensors);
  g_ptr_array_unref (report->problems);
  g_free (report);
}

/* One thread's share of the values: tensors are taken one by one. */
typedef struct {
  const GArray *tensors;
  gssize *nonfinite; /* for each tensor: the first index, or -1 */
  gint next;
} Check;

static gpointer
check_thread (gpointer data)
{
  Check *check = data;

  for (;;) {
    guint i = (guint) g_atomic_int_add (&check->next, 1);

    if (i >= check->tensors->len)
      return NULL;
    check->nonfinite[i] = mt3_tensor_find_nonfinite (
        &g_array_index (check->tensors, Mt3Tensor, i));
  }
}

void
mt3_report_check_values (Mt3Report *report)
{
  g_autofree gssize *nonfinite = g_new (gssize, report->tensors->len + 1);
  Check check = {report->tensors, nonfinite, 0};
  GThread *helper = NULL;

  /* Reading is bound by memory: a second thread is all that helps. */
  if (g_get_num_processors () > 1)
    helper = g_thread_try_new ("mt3-check", check_thread, &check, NULL);
  check_thread (&check);
  if (helper != NULL)
    g_thread_join (helper);
  for (guint i = 0; i < report->tensors->len; i++) {
    const Mt3Tensor *tensor = &g_array_index (report->tensors, Mt3Tensor, i);
    g_autofree gchar *name = NULL;

    if (nonfinite[i] < 0)
      continue;
    name = describe_name (report->mapping, tensor->name);
    add_problem (report,
        "tensor %s: expected finite values, found Inf or NaN at index "
        "%" G_GSSIZE_FORMAT,
        name, nonfinite[i]);
  }
}
