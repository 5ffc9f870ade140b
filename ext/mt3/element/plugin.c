/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * plugin.c: the plugin `mt3`. Does nothing that takes time: models and devices
 * are looked for by an element that is used.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/gstmt3transcribe.h"

static gboolean
plugin_init (GstPlugin *plugin)
{
#ifdef ENABLE_NLS
  bindtextdomain (GETTEXT_PACKAGE, LOCALEDIR);
  bind_textdomain_codeset (GETTEXT_PACKAGE, "UTF-8");
#endif

  return GST_ELEMENT_REGISTER (mt3transcribe, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, mt3,
    "Music transcription with MT3", plugin_init, PACKAGE_VERSION, GST_LICENSE,
    PACKAGE_NAME, PACKAGE_ORIGIN)
