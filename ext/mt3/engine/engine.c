/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/engine-private.h"

/* Windows whose memory waits for others: 16 MiB, those of four minutes. */
#define WINDOWS_KEPT 128

/* Constant but for the use count and what the scheduler guards. */
struct _Mt3Engine {
  Mt3Shared *shared; /* counts the uses of this engine */
  gchar *model_file; /* NULL in tests */
  Mt3Scheduler *scheduler;
  Mt3WindowPool *window_pool;
};

Mt3Engine *
mt3_engine_new (Mt3Shared *shared, const gchar *model_file, Mt3Backend *backend,
    const Mt3Config *config, GError **error)
{
  Mt3Scheduler *scheduler = mt3_scheduler_new (backend, config, error);
  Mt3Engine *self;

  if (scheduler == NULL)
    return NULL;
  self = g_new0 (Mt3Engine, 1);
  self->shared = shared ? shared : mt3_shared_new (self, mt3_engine_free);
  self->model_file = g_strdup (model_file);
  self->scheduler = scheduler;
  self->window_pool =
      mt3_window_pool_new (mt3_config_window_samples (config), WINDOWS_KEPT);
  return self;
}

Mt3Engine *
mt3_engine_new_with_backend (Mt3Backend *backend, const Mt3Config *config)
{
  return mt3_engine_new (NULL, NULL, backend, config, NULL);
}

void
mt3_engine_free (gpointer data)
{
  Mt3Engine *self = data;

  mt3_scheduler_free (self->scheduler);
  mt3_window_pool_unref (self->window_pool);
  g_free (self->model_file);
  g_free (self);
}

Mt3Engine *
mt3_engine_ref (Mt3Engine *self)
{
  mt3_shared_ref (self->shared);
  return self;
}

void
mt3_engine_unref (Mt3Engine *self)
{
  if (self != NULL)
    mt3_shared_unref (self->shared);
}

Mt3Scheduler *
mt3_engine_scheduler (Mt3Engine *self)
{
  return self->scheduler;
}

const Mt3Config *
mt3_engine_config (Mt3Engine *self)
{
  return &self->scheduler->config;
}

Mt3WindowPool *
mt3_engine_window_pool (Mt3Engine *self)
{
  return self->window_pool;
}

const gchar *
mt3_engine_model_file (Mt3Engine *self)
{
  return self->model_file;
}

void
mt3_engine_get_stats (Mt3Engine *self, Mt3EngineStats *stats)
{
  g_mutex_lock (&self->scheduler->lock);
  *stats = self->scheduler->stats;
  stats->n_streams = self->scheduler->streams.length;
  g_mutex_unlock (&self->scheduler->lock);
}

void
mt3_engine_set_fallback (Mt3Engine *self, const gchar *reason)
{
  g_mutex_lock (&self->scheduler->lock);
  self->scheduler->stats.fallback = g_intern_string (reason);
  g_mutex_unlock (&self->scheduler->lock);
}

gboolean
mt3_engine_is_dead (Mt3Engine *self)
{
  gboolean dead;

  g_mutex_lock (&self->scheduler->lock);
  dead = self->scheduler->error != NULL;
  g_mutex_unlock (&self->scheduler->lock);
  return dead;
}
