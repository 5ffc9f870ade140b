/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * download.h: files over HTTP (RFC 9110, RFC 9112) that are what they should
 * be, through libcurl: it notices stalls by itself, where libsoup would need a
 * main loop and timers, and needs no TLS module at run time.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _Mt3Downloader Mt3Downloader;

/* Called as bytes come in, with those of the file there are and those there
 * will be, or 0 when the server does not say. */
typedef void (*Mt3DownloadProgress) (
    guint64 done, guint64 total, gpointer user_data);

/**
 * Mt3DownloadSettings:
 * @timeout: seconds without an answer, or with less than 1 kB/s, after which a
 *   connection is given up
 * @retries: how often a file is tried again, after pauses of 1, 2, 4... up to
 *   16 seconds
 * @progress: (nullable)
 */
typedef struct {
  guint timeout;
  guint retries;
  Mt3DownloadProgress progress;
  gpointer user_data;
} Mt3DownloadSettings;

/* Keeps connections open from file to file. For one thread. Returns NULL with
 * %MT3_ERROR_UNSUPPORTED when libcurl cannot start. */
Mt3Downloader *mt3_downloader_new (
    const Mt3DownloadSettings *settings, GError **error);
void mt3_downloader_free (Mt3Downloader *downloader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Downloader, mt3_downloader_free)

/**
 * mt3_download:
 * @url: http or https. Certificates are verified
 * @path: in a folder that exists
 * @sha256: of the file, in lower-case hex
 * @max_bytes: longer answers are refused
 *
 * Sees to it that @path is the file of that digest. If it is already, nothing
 * is fetched; else what an earlier try left in @path.part is continued (from
 * the start, if the server cannot). The part takes its name when the digest is
 * right; it stays when the connection fails, and goes when its bytes are wrong.
 *
 * Returns: %FALSE with %MT3_ERROR_NOT_FOUND (the server has no such file),
 *   %MT3_ERROR_IO (connection, disk) or %MT3_ERROR_FORMAT (other bytes)
 */
gboolean mt3_download (Mt3Downloader *downloader, const gchar *url,
    const gchar *path, const gchar *sha256, guint64 max_bytes, GError **error);

G_END_DECLS
