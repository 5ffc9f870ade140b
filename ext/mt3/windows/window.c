/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/window.h"

struct _Mt3WindowPool {
  gsize window_samples;
  guint most_kept;

  GMutex lock;
  GPtrArray *kept; /* Mt3Window, of which nothing counts but the memory */
};

Mt3WindowPool *
mt3_window_pool_new (gsize window_samples, guint most_kept)
{
  Mt3WindowPool *pool = g_atomic_rc_box_new0 (Mt3WindowPool);

  pool->window_samples = window_samples;
  pool->most_kept = most_kept;
  g_mutex_init (&pool->lock);
  pool->kept = g_ptr_array_new_with_free_func (g_free);
  return pool;
}

Mt3WindowPool *
mt3_window_pool_ref (Mt3WindowPool *pool)
{
  return g_atomic_rc_box_acquire (pool);
}

static void
clear_pool (gpointer data)
{
  Mt3WindowPool *pool = data;

  g_ptr_array_unref (pool->kept);
  g_mutex_clear (&pool->lock);
}

void
mt3_window_pool_unref (Mt3WindowPool *pool)
{
  if (pool != NULL)
    g_atomic_rc_box_release_full (pool, clear_pool);
}

guint
mt3_window_pool_n_kept (Mt3WindowPool *pool)
{
  guint n;

  g_mutex_lock (&pool->lock);
  n = pool->kept->len;
  g_mutex_unlock (&pool->lock);
  return n;
}

/* The one that was freed last: caches may still hold it. */
static Mt3Window *
take_kept (Mt3WindowPool *pool)
{
  Mt3Window *window = NULL;

  g_mutex_lock (&pool->lock);
  if (pool->kept->len > 0)
    window = g_ptr_array_steal_index_fast (pool->kept, pool->kept->len - 1);
  g_mutex_unlock (&pool->lock);
  return window;
}

static gboolean
keep (Mt3WindowPool *pool, Mt3Window *window)
{
  gboolean kept;

  g_mutex_lock (&pool->lock);
  kept = pool->kept->len < pool->most_kept;
  if (kept)
    g_ptr_array_add (pool->kept, window);
  g_mutex_unlock (&pool->lock);
  return kept;
}

Mt3Window *
mt3_window_new (gsize window_samples, Mt3WindowPool *pool)
{
  Mt3Window *window = NULL;

  g_return_val_if_fail (
      pool == NULL || pool->window_samples == window_samples, NULL);

  if (pool != NULL)
    window = take_kept (pool);
  if (window == NULL)
    window = g_malloc (sizeof (Mt3Window) + window_samples * sizeof (gfloat));
  *window = (Mt3Window){
      .pool = pool != NULL ? mt3_window_pool_ref (pool) : NULL,
  };
  return window;
}

void
mt3_window_free (Mt3Window *window)
{
  Mt3WindowPool *pool;

  if (window == NULL)
    return;
  pool = window->pool;
  if (pool == NULL || !keep (pool, window))
    g_free (window);
  mt3_window_pool_unref (pool);
}
