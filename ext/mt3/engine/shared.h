/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * shared.h: things that are costly to load and that live in the process once
 * for all who use them (models, engines), found by key.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A counted use of a loaded thing. */
typedef struct _Mt3Shared Mt3Shared;

/**
 * Mt3SharedLoad:
 * @shared: the use that will own what is loaded
 *
 * Runs on the thread that asked first, without any lock held.
 */
typedef gpointer (*Mt3SharedLoad) (
    Mt3Shared *shared, gpointer data, GError **error);

/**
 * mt3_shared_acquire:
 * @key: says everything that tells two such things apart
 * @destroy: called when the last use ends, without any lock held
 *
 * The thing under @key, loaded when nobody uses it yet. Whoever asks during a
 * load waits for it and gets its result, be it the thing or the error.
 *
 * Returns: (transfer full) (nullable): end the use with mt3_shared_unref().
 */
Mt3Shared *mt3_shared_acquire (const gchar *key, Mt3SharedLoad load,
    gpointer data, GDestroyNotify destroy, GError **error);

/* A counted thing that no key finds. */
Mt3Shared *mt3_shared_new (gpointer value, GDestroyNotify destroy);

gpointer mt3_shared_value (const Mt3Shared *shared);

Mt3Shared *mt3_shared_ref (Mt3Shared *shared);
void mt3_shared_unref (Mt3Shared *shared);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Shared, mt3_shared_unref)

/* The thing broke: its users keep it, but whoever asks from now on loads
 * anew. */
void mt3_shared_evict (Mt3Shared *shared);

G_END_DECLS
