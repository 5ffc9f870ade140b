/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * error.h: the error domain that all stages share.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * Mt3Error:
 * @MT3_ERROR_NOT_FOUND: a file (model, module) does not exist; the message
 *   names it and says where else was looked
 * @MT3_ERROR_IO: a file exists but cannot be read or written
 * @MT3_ERROR_FORMAT: a file is not what its reader expects (truncated,
 *   damaged, another format)
 * @MT3_ERROR_MODEL: a readable checkpoint whose tensors are not MT3's: the
 *   message names the tensor, what was expected and what was found
 * @MT3_ERROR_DEVICE: the device cannot run (no driver, no GPU, missing
 *   library, lost)
 * @MT3_ERROR_MEMORY: host or device memory does not suffice
 * @MT3_ERROR_UNSUPPORTED: a valid request that this build or device cannot do
 * @MT3_ERROR_CANCELLED: the caller asked to stop
 * @MT3_ERROR_DRAFT: the draft network that was named cannot be used
 *
 * Every message is one sentence a user can act on.
 */
typedef enum {
  MT3_ERROR_NOT_FOUND,
  MT3_ERROR_IO,
  MT3_ERROR_FORMAT,
  MT3_ERROR_MODEL,
  MT3_ERROR_DEVICE,
  MT3_ERROR_MEMORY,
  MT3_ERROR_UNSUPPORTED,
  MT3_ERROR_CANCELLED,
  MT3_ERROR_DRAFT,
} Mt3Error;

#define MT3_ERROR (mt3_error_quark ())
GQuark mt3_error_quark (void);

/* (transfer full): @text, which a file may have made up, as it can be printed:
 * a character that could steer a terminal or pretend to be another line, and a
 * byte that is not UTF-8, become \xNN. */
gchar *mt3_printable (const gchar *text);

/* For the reader of a file: MT3_ERROR_FORMAT, "PATH: ...". Returns FALSE. */
gboolean mt3_format_error (GError **error, const gchar *path,
    const gchar *format, ...) G_GNUC_PRINTF (3, 4);

G_END_DECLS
