/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"

/* As G_DEFINE_QUARK(), which writes its variable without a lock, but threads
 * that fail at the same time may all ask. */
GQuark
mt3_error_quark (void)
{
  static gsize quark = 0;

  if (g_once_init_enter (&quark))
    g_once_init_leave (&quark, g_quark_from_static_string ("mt3-error-quark"));
  return (GQuark) quark;
}

gboolean
mt3_format_error (GError **error, const gchar *path, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT, "%s: %s", path, message);
  return FALSE;
}
