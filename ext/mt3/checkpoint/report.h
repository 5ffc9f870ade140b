/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * report.h: what a checkpoint is, how its tensors map to MT3's, and every way
 * in which it differs from the schema. Opening a model demands a report without
 * differences; mt3-model prints any.
 */
#pragma once

#include "checkpoint/derive.h"
#include "checkpoint/mapping.h"

G_BEGIN_DECLS

/**
 * Mt3Report:
 * @n_schema: tensors that a model of this configuration has
 * @tensors: #Mt3Tensor in the schema's order, those the file has
 * @problems: sentences; each names a tensor, what was expected and what was
 *   found. Empty for a sound checkpoint (values are not looked at)
 */
typedef struct {
  Mt3Config config;
  Mt3Mapping *mapping;
  guint n_schema;
  GArray *tensors;
  GPtrArray *problems;
} Mt3Report;

/* Borrows the archive: free the report first. */
Mt3Report *mt3_report_new (const Mt3Archive *archive);
void mt3_report_free (Mt3Report *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Report, mt3_report_free)

/* Appends a sentence to the problems for each tensor that holds Inf or NaN,
 * with the index in the file's order. Reads everything, on all cores. */
void mt3_report_check_values (Mt3Report *report);

G_END_DECLS
