/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bulk.h: as many windows as there are, as fast as they go.
 */
#pragma once

#include "clip.h"
#include "engine/engine.h"

G_BEGIN_DECLS

/* What a run gave, and how long it took. */
typedef struct {
  gdouble seconds;
  gdouble cpu_seconds; /* of all threads */
  guint n_windows;
  guint n_identical; /* to the golden ones */
  guint n_other; /* than the same window gave before */
  guint64 n_tokens;
} BulkRun;

/**
 * BulkExpected:
 * @golden: (nullable): see golden_read(); the caller's
 * @before: #GBytes of each window of the clip: its tokens and their
 *   log-probabilities; %NULL before its first time
 *
 * What windows should give, over several runs of the same ones: the golden
 * tokens, and the bits of their first time, whatever they are decoded with. For
 * one thread.
 */
typedef struct {
  const GPtrArray *golden;
  GPtrArray *before;
} BulkExpected;

/* @golden: must outlive @self
 * @period: windows of the clip, not 0 */
void bulk_expected_init (
    BulkExpected *self, const GPtrArray *golden, guint period);
void bulk_expected_clear (BulkExpected *self);

/* How all runs decode: greedily, unless it is changed before the first. */
extern Mt3Decoding bulk_decoding;

/* Pushes all @windows through one stream of @engine, which takes windows over:
 * they are copied before the time counts. @expected: (nullable) */
gboolean bulk_run_engine (Mt3Engine *engine, GPtrArray *windows,
    BulkExpected *expected, BulkRun *run, GError **error);

/* The same with a backend of one's own and no scheduler. */
gboolean bulk_run_backend (Mt3Backend *backend, GPtrArray *windows,
    BulkExpected *expected, BulkRun *run, GError **error);

G_END_DECLS
