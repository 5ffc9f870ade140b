/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/mapping.h"

static void
transpose (Mt3Tensor *tensor)
{
  gsize rows = tensor->shape[1], stride = tensor->stride[1];

  if (tensor->n_dims != 2)
    return;
  tensor->shape[1] = tensor->shape[0];
  tensor->stride[1] = tensor->stride[0];
  tensor->shape[0] = rows;
  tensor->stride[0] = stride;
}

static void
add_row (Mt3Mapping *mapping, const Mt3ArchiveEntry *entry, const Mt3Name *name)
{
  Mt3MappingRow row = {
      .tensor = entry->tensor,
      .file_name = entry->tensor.name,
      .dtype_name = entry->dtype_name,
      .readable = entry->readable,
      .transposed = name->transposed,
  };

  if (mt3_mapping_find (mapping, name->canonical) != NULL) {
    /* A shared tensor under its second name carries the same values. */
    if (!name->alias)
      g_ptr_array_add (mapping->duplicates, (gpointer) row.file_name);
    return;
  }
  row.tensor.name = g_string_chunk_insert (mapping->strings, name->canonical);
  if (name->transposed)
    transpose (&row.tensor);
  g_array_append_val (mapping->rows, row);
  g_hash_table_insert (mapping->by_name, (gpointer) row.tensor.name,
      GUINT_TO_POINTER (mapping->rows->len));
}

/* First the first names, then what only an alias gives. */
static void
add_rows (Mt3Mapping *mapping, const Mt3Archive *archive, gboolean alias)
{
  for (guint i = 0; i < archive->entries->len; i++) {
    const Mt3ArchiveEntry *entry =
        &g_array_index (archive->entries, Mt3ArchiveEntry, i);
    Mt3Name name;

    mt3_name_resolve (entry->tensor.name, &name);
    if (!name.ignored && name.alias == alias) {
      add_row (mapping, entry, &name);
      if (name.naming == MT3_NAMING_HUGGING_FACE)
        mapping->naming = MT3_NAMING_HUGGING_FACE;
    }
    mt3_name_clear (&name);
  }
}

Mt3Mapping *
mt3_mapping_new (const Mt3Archive *archive)
{
  Mt3Mapping *mapping = g_new0 (Mt3Mapping, 1);

  mapping->rows = g_array_new (FALSE, TRUE, sizeof (Mt3MappingRow));
  mapping->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  mapping->strings = g_string_chunk_new (4096);
  mapping->duplicates = g_ptr_array_new ();
  mapping->naming = MT3_NAMING_T5X;
  add_rows (mapping, archive, FALSE);
  add_rows (mapping, archive, TRUE);
  return mapping;
}

void
mt3_mapping_free (Mt3Mapping *mapping)
{
  g_array_unref (mapping->rows);
  g_hash_table_unref (mapping->by_name);
  g_string_chunk_free (mapping->strings);
  g_ptr_array_unref (mapping->duplicates);
  g_free (mapping);
}

const Mt3MappingRow *
mt3_mapping_find (const Mt3Mapping *mapping, const gchar *canonical)
{
  guint index =
      GPOINTER_TO_UINT (g_hash_table_lookup (mapping->by_name, canonical));

  return index > 0 ? &g_array_index (mapping->rows, Mt3MappingRow, index - 1)
                   : NULL;
}
