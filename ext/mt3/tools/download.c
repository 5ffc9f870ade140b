/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/download.h"
#include "config.h"
#include "error.h"
#include "tools/digest.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes per second below which a connection counts as stalled. */
#define SLOWEST 1024L

#define LONGEST_PAUSE 16

struct _Mt3Downloader {
  Mt3DownloadSettings settings;
  CURL *curl;
  gchar message[CURL_ERROR_SIZE];
};

/* What came of one try. */
typedef enum {
  DONE,
  TRY_AGAIN, /* the connection or the server failed */
  START_OVER, /* what was there cannot be continued */
  GIVE_UP,
} Outcome;

/* One file on its way. */
typedef struct {
  Mt3Downloader *downloader;
  const gchar *url, *path, *sha256;
  gchar *part;
  guint64 max_bytes;
  int fd;
  guint64 offset; /* where the try begins */
  guint64 length; /* of the part */
  gboolean started; /* bytes have come in this try */
  gboolean too_long;
  int disk_error; /* errno */
  GError *error; /* of the last try */
} Transfer;

static void
set_error (Transfer *transfer, Mt3Error code, const gchar *reason)
{
  g_clear_error (&transfer->error);
  g_set_error (&transfer->error, MT3_ERROR, code, "cannot fetch %s: %s",
      transfer->url, reason);
}

static gboolean
write_all (int fd, const gchar *data, gsize length)
{
  while (length > 0) {
    gssize written = write (fd, data, length);

    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return FALSE;
    data += written;
    length -= (gsize) written;
  }
  return TRUE;
}

/* A server that ignores the range sends the file from its start. */
static gboolean
start_writing (Transfer *transfer)
{
  long status = 0;

  transfer->started = TRUE;
  curl_easy_getinfo (
      transfer->downloader->curl, CURLINFO_RESPONSE_CODE, &status);
  if (transfer->offset == 0 || status == 206)
    return TRUE;
  transfer->offset = transfer->length = 0;
  return ftruncate (transfer->fd, 0) == 0 &&
         lseek (transfer->fd, 0, SEEK_SET) == 0;
}

static void
report_progress (const Transfer *transfer)
{
  const Mt3DownloadSettings *settings = &transfer->downloader->settings;
  curl_off_t coming = 0;

  if (settings->progress == NULL)
    return;
  curl_easy_getinfo (
      transfer->downloader->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &coming);
  settings->progress (transfer->length,
      coming > 0 ? transfer->offset + (guint64) coming : 0,
      settings->user_data);
}

/* libcurl's write callback: taking less than came ends the transfer. */
static size_t
on_data (char *data, size_t size, size_t n, void *user_data)
{
  Transfer *transfer = user_data;
  gsize length = size * n;

  if (!transfer->started && !start_writing (transfer)) {
    transfer->disk_error = errno;
    return 0;
  }
  transfer->too_long = transfer->length + length > transfer->max_bytes;
  if (transfer->too_long)
    return 0;
  if (!write_all (transfer->fd, data, length)) {
    transfer->disk_error = errno;
    return 0;
  }
  transfer->length += length;
  report_progress (transfer);
  return length;
}

static Outcome
judge_status (Transfer *transfer)
{
  g_autofree gchar *reason = NULL;
  long status = 0;

  curl_easy_getinfo (
      transfer->downloader->curl, CURLINFO_RESPONSE_CODE, &status);
  if (status == 416 && transfer->offset > 0) /* the part is too long */
    return START_OVER;
  reason = g_strdup_printf ("the server answers with HTTP status %ld", status);
  set_error (transfer,
      status == 404 || status == 410 ? MT3_ERROR_NOT_FOUND : MT3_ERROR_IO,
      reason);
  return status == 408 || status == 429 || status >= 500 ? TRY_AGAIN : GIVE_UP;
}

static Outcome
judge_disk (Transfer *transfer)
{
  g_clear_error (&transfer->error);
  g_set_error (&transfer->error, MT3_ERROR, MT3_ERROR_IO, "cannot write %s: %s",
      transfer->part, g_strerror (transfer->disk_error));
  return GIVE_UP;
}

static Outcome
judge_length (Transfer *transfer)
{
  g_autofree gchar *reason =
      g_strdup_printf ("the server sends more than the %" G_GUINT64_FORMAT
                       " bytes that such a file may have",
          transfer->max_bytes);

  set_error (transfer, MT3_ERROR_FORMAT, reason);
  (void) g_unlink (transfer->part);
  return GIVE_UP;
}

static Outcome
judge (Transfer *transfer, CURLcode code)
{
  const gchar *message = transfer->downloader->message;

  switch (code) {
    case CURLE_OK:
      return DONE;
    case CURLE_HTTP_RETURNED_ERROR:
      return judge_status (transfer);
    case CURLE_WRITE_ERROR:
      return transfer->too_long ? judge_length (transfer)
                                : judge_disk (transfer);
    default:
      set_error (transfer, MT3_ERROR_IO,
          message[0] != '\0' ? message : curl_easy_strerror (code));
  }
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return TRY_AGAIN;
    default:
      return GIVE_UP;
  }
}

static gboolean
is_whole (const gchar *path, const gchar *sha256)
{
  g_autofree gchar *found = mt3_digest_file (path, NULL);

  return g_strcmp0 (found, sha256) == 0;
}

/* Wrong bytes behind an older part may be that part's fault. */
static Outcome
judge_bytes (Transfer *transfer)
{
  g_autofree gchar *found = mt3_digest_file (transfer->part, NULL);
  g_autofree gchar *reason = NULL;

  if (g_strcmp0 (found, transfer->sha256) == 0)
    return DONE;
  reason = g_strdup_printf ("expected SHA-256 %s, found %s; the server has "
                            "another file or a damaged one",
      transfer->sha256, found != NULL ? found : "nothing to read");
  set_error (transfer, MT3_ERROR_FORMAT, reason);
  if (transfer->offset > 0)
    return START_OVER;
  (void) g_unlink (transfer->part);
  return GIVE_UP;
}

static CURLcode
perform (Transfer *transfer)
{
  CURL *curl = transfer->downloader->curl;
  g_autofree gchar *range = NULL;

  if (transfer->offset > 0)
    range = g_strdup_printf ("%" G_GUINT64_FORMAT "-", transfer->offset);
  transfer->downloader->message[0] = '\0';
  curl_easy_setopt (curl, CURLOPT_URL, transfer->url);
  curl_easy_setopt (curl, CURLOPT_RANGE, range);
  curl_easy_setopt (curl, CURLOPT_WRITEDATA, transfer);
  return curl_easy_perform (curl);
}

static Outcome
try_once (Transfer *transfer, gboolean start_over)
{
  int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (start_over ? O_TRUNC : 0);
  struct stat status;
  Outcome outcome;

  /* All bytes may be there though the server promised more. */
  if (!start_over && is_whole (transfer->part, transfer->sha256))
    return DONE;
  transfer->fd = g_open (transfer->part, flags, 0666);
  if (transfer->fd < 0 || fstat (transfer->fd, &status) != 0 ||
      lseek (transfer->fd, 0, SEEK_END) < 0) {
    transfer->disk_error = errno;
    outcome = judge_disk (transfer);
  } else {
    transfer->offset = transfer->length = (guint64) status.st_size;
    transfer->started = FALSE;
    outcome = judge (transfer, perform (transfer));
  }
  if (transfer->fd >= 0 && close (transfer->fd) != 0 && outcome == DONE) {
    transfer->disk_error = errno;
    outcome = judge_disk (transfer);
  }
  return outcome == DONE ? judge_bytes (transfer) : outcome;
}

static gboolean
try_often (Transfer *transfer)
{
  guint retries = transfer->downloader->settings.retries;
  gulong pause = 1;
  gboolean start_over = FALSE;

  for (guint i = 0;; i++) {
    Outcome outcome = try_once (transfer, start_over);

    if (outcome == DONE || outcome == GIVE_UP)
      return outcome == DONE;
    /* A try from the start cannot end in START_OVER: this happens once. */
    start_over = outcome == START_OVER;
    if (start_over)
      continue;
    if (i >= retries)
      return FALSE;
    g_usleep (pause * G_USEC_PER_SEC);
    pause = MIN (2 * pause, LONGEST_PAUSE);
  }
}

gboolean
mt3_download (Mt3Downloader *downloader, const gchar *url, const gchar *path,
    const gchar *sha256, guint64 max_bytes, GError **error)
{
  Transfer transfer = {.downloader = downloader,
      .url = url,
      .path = path,
      .sha256 = sha256,
      .max_bytes = max_bytes};
  gboolean done;

  if (is_whole (path, sha256))
    return TRUE;
  transfer.part = g_strconcat (path, ".part", NULL);
  done = try_often (&transfer);
  if (done && g_rename (transfer.part, path) != 0) {
    transfer.disk_error = errno;
    judge_disk (&transfer);
    done = FALSE;
  }
  g_free (transfer.part);
  if (done)
    g_clear_error (&transfer.error);
  else
    g_propagate_error (error, transfer.error);
  return done;
}

/* Options that hold for all files. */
static void
configure (Mt3Downloader *downloader)
{
  CURL *curl = downloader->curl;
  long timeout = (long) downloader->settings.timeout;

  curl_easy_setopt (curl, CURLOPT_ERRORBUFFER, downloader->message);
  curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt (curl, CURLOPT_USERAGENT, "mt3-model/" VERSION);
  curl_easy_setopt (curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt (curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt (curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt (curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt (curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt (curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt (curl, CURLOPT_CONNECTTIMEOUT, timeout);
  curl_easy_setopt (curl, CURLOPT_LOW_SPEED_LIMIT, SLOWEST);
  curl_easy_setopt (curl, CURLOPT_LOW_SPEED_TIME, timeout);
}

Mt3Downloader *
mt3_downloader_new (const Mt3DownloadSettings *settings, GError **error)
{
  Mt3Downloader *downloader;

  if (curl_global_init (CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "libcurl cannot start on this machine");
    return NULL;
  }
  downloader = g_new0 (Mt3Downloader, 1);
  downloader->settings = *settings;
  downloader->curl = curl_easy_init ();
  configure (downloader);
  return downloader;
}

void
mt3_downloader_free (Mt3Downloader *downloader)
{
  curl_easy_cleanup (downloader->curl);
  curl_global_cleanup ();
  g_free (downloader);
}
