/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * engine-private.h: what the files of the engine tell each other.
 */
#pragma once

#include "engine/scheduler.h"
#include "engine/shared.h"

G_BEGIN_DECLS

/**
 * mt3_engine_new:
 * @shared: (nullable): the use count that will own the engine, or %NULL for
 *   one of its own
 * @model_file: (nullable): where the model came from
 * @backend: (transfer full): keeps of the model what it needs
 *
 * Returns: the engine, or %NULL with #MT3_ERROR_MEMORY.
 */
Mt3Engine *mt3_engine_new (Mt3Shared *shared, const gchar *model_file,
    Mt3Backend *backend, const Mt3Config *config, GError **error);

/* Ends an engine that nobody uses; a GDestroyNotify. */
void mt3_engine_free (gpointer engine);

Mt3Scheduler *mt3_engine_scheduler (Mt3Engine *engine);

/* Remembers why the engine is not on the device that was hoped for. */
void mt3_engine_set_fallback (Mt3Engine *engine, const gchar *reason);

/* The backend failed and nothing took over. */
gboolean mt3_engine_is_dead (Mt3Engine *engine);

G_END_DECLS
