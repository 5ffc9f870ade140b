/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/shared.h"

struct _Mt3Shared {
  gchar *key; /* NULL: not in the table */
  gpointer value;
  GDestroyNotify destroy;

  /* Guarded by the lock. */
  guint refs;
  gboolean loading;
  GError *error;
};

/* Guards the table and the counts of every entry; never held during a load or
 * a destroy, so these may use other shared things. */
static GMutex lock;
static GCond loaded;
static GHashTable *table; /* key -> Mt3Shared, weak; NULL while empty */

static void
insert_unlocked (Mt3Shared *self)
{
  if (table == NULL)
    table = g_hash_table_new (g_str_hash, g_str_equal);
  g_hash_table_insert (table, self->key, self);
}

static void
remove_unlocked (Mt3Shared *self)
{
  if (self->key == NULL || table == NULL ||
      g_hash_table_lookup (table, self->key) != self)
    return;
  g_hash_table_remove (table, self->key);
  if (g_hash_table_size (table) == 0)
    g_clear_pointer (&table, g_hash_table_unref);
}

Mt3Shared *
mt3_shared_new (gpointer value, GDestroyNotify destroy)
{
  Mt3Shared *self = g_new0 (Mt3Shared, 1);

  self->value = value;
  self->destroy = destroy;
  self->refs = 1;
  return self;
}

/* The entry of @key with a use more; @is_new when the caller has to load. */
static Mt3Shared *
find_or_insert (const gchar *key, GDestroyNotify destroy, gboolean *is_new)
{
  Mt3Shared *self;

  g_mutex_lock (&lock);
  self = table != NULL ? g_hash_table_lookup (table, key) : NULL;
  *is_new = self == NULL;
  if (self != NULL) {
    self->refs++;
    while (self->loading)
      g_cond_wait (&loaded, &lock);
  } else {
    self = mt3_shared_new (NULL, destroy);
    self->key = g_strdup (key);
    self->loading = TRUE;
    insert_unlocked (self);
  }
  g_mutex_unlock (&lock);
  return self;
}

Mt3Shared *
mt3_shared_acquire (const gchar *key, Mt3SharedLoad load, gpointer data,
    GDestroyNotify destroy, GError **error)
{
  gboolean is_new;
  Mt3Shared *self = find_or_insert (key, destroy, &is_new);

  if (is_new) {
    GError *load_error = NULL;
    gpointer value = load (self, data, &load_error);

    g_mutex_lock (&lock);
    self->value = value;
    self->error = load_error;
    self->loading = FALSE;
    if (value == NULL)
      remove_unlocked (self);
    g_cond_broadcast (&loaded);
    g_mutex_unlock (&lock);
  }
  if (self->value == NULL) {
    g_propagate_error (error, g_error_copy (self->error));
    mt3_shared_unref (self);
    return NULL;
  }
  return self;
}

gpointer
mt3_shared_value (const Mt3Shared *self)
{
  return self->value;
}

Mt3Shared *
mt3_shared_ref (Mt3Shared *self)
{
  g_mutex_lock (&lock);
  self->refs++;
  g_mutex_unlock (&lock);
  return self;
}

void
mt3_shared_unref (Mt3Shared *self)
{
  gboolean is_last;

  g_mutex_lock (&lock);
  is_last = --self->refs == 0;
  if (is_last)
    remove_unlocked (self);
  g_mutex_unlock (&lock);

  if (!is_last)
    return;
  if (self->value != NULL)
    self->destroy (self->value);
  g_clear_error (&self->error);
  g_free (self->key);
  g_free (self);
}

void
mt3_shared_evict (Mt3Shared *self)
{
  g_mutex_lock (&lock);
  remove_unlocked (self);
  g_mutex_unlock (&lock);
}
