/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mapping.h: the entries of an archive under canonical names and in canonical
 * layout.
 */
#pragma once

#include "checkpoint/archive.h"
#include "checkpoint/names.h"

G_BEGIN_DECLS

/**
 * Mt3MappingRow:
 * @tensor: canonical name and layout
 * @file_name: what the file calls it
 * @transposed: whether the file stores [out, in]
 */
typedef struct {
  Mt3Tensor tensor;
  const gchar *file_name;
  const gchar *dtype_name;
  gboolean readable;
  gboolean transposed;
} Mt3MappingRow;

typedef struct {
  GArray *rows; /* Mt3MappingRow, in file order */
  GHashTable *by_name; /* canonical name -> index in rows, + 1 */
  GStringChunk *strings; /* the canonical names */
  GPtrArray *duplicates; /* file names whose tensor another name gave */
  Mt3Naming naming; /* of most rows */
} Mt3Mapping;

/* Borrows the archive's data and strings: free the mapping first. */
Mt3Mapping *mt3_mapping_new (const Mt3Archive *archive);
void mt3_mapping_free (Mt3Mapping *mapping);

/* NULL when the file has no such tensor. */
const Mt3MappingRow *mt3_mapping_find (
    const Mt3Mapping *mapping, const gchar *canonical);

G_END_DECLS
