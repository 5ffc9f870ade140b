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
