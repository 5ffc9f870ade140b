/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/staging.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_NAME "lock"

struct _Mt3Staging {
  gchar *path;
  int lock;
};

static gboolean
make_folder (const gchar *path, GError **error)
{
  if (g_mkdir_with_parents (path, 0700) == 0)
    return TRUE;
  g_set_error (error, MT3_ERROR, MT3_ERROR_IO,
      "cannot create the folder %s: %s", path, g_strerror (errno));
  return FALSE;
}

/* An open and locked file in the folder, or -1. Some network file systems know
 * no locks: then two processes would fetch the same bytes twice, which their
 * digests survive. */
static int
lock (const gchar *folder, GError **error)
{
  g_autofree gchar *path = g_build_filename (folder, LOCK_NAME, NULL);
  int fd = g_open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

  if (fd < 0) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_IO, "cannot write %s: %s", path,
        g_strerror (errno));
    return -1;
  }
  if (flock (fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_IO,
        "another mt3-model is fetching the same model into %s; wait for it",
        folder);
    (void) close (fd);
    return -1;
  }
  return fd;
}

Mt3Staging *
mt3_staging_open (const gchar *key, GError **error)
{
  g_autofree gchar *name = g_strconcat ("fetch-", key, NULL);
  g_autofree gchar *path =
      g_build_filename (g_get_user_cache_dir (), "gst-mt3", name, NULL);
  int fd = make_folder (path, error) ? lock (path, error) : -1;
  Mt3Staging *staging;

  if (fd < 0)
    return NULL;
  staging = g_new (Mt3Staging, 1);
  staging->path = g_steal_pointer (&path);
  staging->lock = fd;
  return staging;
}

void
mt3_staging_close (Mt3Staging *staging)
{
  (void) close (staging->lock);
  g_free (staging->path);
  g_free (staging);
}

const gchar *
mt3_staging_path (const Mt3Staging *staging)
{
  return staging->path;
}

gchar *
mt3_staging_file (const Mt3Staging *staging, const gchar *name, GError **error)
{
  gchar *path = g_build_filename (staging->path, name, NULL);
  g_autofree gchar *folder = g_path_get_dirname (path);

  if (!make_folder (folder, error))
    g_clear_pointer (&path, g_free);
  return path;
}

void
mt3_staging_remove (
    const Mt3Staging *staging, const gchar *const *names, guint n_names)
{
  g_autofree gchar *lock = g_build_filename (staging->path, LOCK_NAME, NULL);

  for (guint i = 0; i < n_names; i++) {
    g_autofree gchar *path = g_build_filename (staging->path, names[i], NULL);
    g_autofree gchar *folder = g_path_get_dirname (path);

    (void) g_unlink (path);
    if (!g_str_equal (folder, staging->path))
      (void) g_rmdir (folder);
  }
  (void) g_unlink (lock);
  (void) g_rmdir (staging->path);
}
