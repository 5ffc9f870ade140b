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

static void
append_escaped (GString *out, const gchar *bytes, gsize n)
{
  for (gsize i = 0; i < n; i++)
    g_string_append_printf (out, "\\x%02x", (guchar) bytes[i]);
}

gchar *
mt3_printable (const gchar *text)
{
  GString *out = g_string_new (NULL);

  while (*text != '\0') {
    gunichar c = g_utf8_get_char_validated (text, -1);
    gboolean valid = c != (gunichar) -1 && c != (gunichar) -2;
    gsize n = valid ? (gsize) (g_utf8_next_char (text) - text) : 1;

    if (valid && g_unichar_isprint (c))
      g_string_append_len (out, text, (gssize) n);
    else
      append_escaped (out, text, n);
    text += n;
  }
  return g_string_free (out, FALSE);
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
