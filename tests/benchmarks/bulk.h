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
  guint64 n_tokens;
} BulkRun;

/* How all runs decode: greedily, unless it is changed before the first. */
extern Mt3Decoding bulk_decoding;

/**
 * bulk_run_engine:
 * @golden: (nullable): see golden_read()
 *
 * Pushes all @windows through one stream of @engine.
 */
gboolean bulk_run_engine (Mt3Engine *engine, GPtrArray *windows,
    const GPtrArray *golden, BulkRun *run, GError **error);

/* The same with a backend of one's own and no scheduler. */
gboolean bulk_run_backend (Mt3Backend *backend, GPtrArray *windows,
    const GPtrArray *golden, BulkRun *run, GError **error);

G_END_DECLS
