/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report.h"

#include <string.h>

struct _Report {
  JsonObject *object;
};

Report *
report_new (void)
{
  Report *report = g_new (Report, 1);

  report->object = json_object_new ();
  return report;
}

void
report_free (Report *report)
{
  json_object_unref (report->object);
  g_free (report);
}

void
report_text (Report *report, const gchar *name, const gchar *value)
{
  json_object_set_string_member (report->object, name, value);
  g_print ("%-24s %s\n", name, value);
}

void
report_count (Report *report, const gchar *name, guint64 value)
{
  json_object_set_int_member (report->object, name, (gint64) value);
  g_print ("%-24s %" G_GUINT64_FORMAT "\n", name, value);
}

void
report_number (
    Report *report, const gchar *name, gdouble value, const gchar *unit)
{
  json_object_set_double_member (report->object, name, value);
  g_print ("%-24s %.3f %s\n", name, value, unit);
}

gboolean
report_save (Report *report, const gchar *path, GError **error)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  JsonNode *root = json_node_init_object (json_node_alloc (), report->object);
  gboolean saved;

  json_generator_set_pretty (generator, TRUE);
  json_generator_set_root (generator, root);
  saved = json_generator_to_file (generator, path, error);
  json_node_free (root);
  return saved;
}

gdouble
report_resident_mib (const gchar *key)
{
  g_autofree gchar *status = NULL;
  const gchar *line;

  if (!g_file_get_contents ("/proc/self/status", &status, NULL, NULL))
    return 0.0;
  line = strstr (status, key);
  return line != NULL ? g_ascii_strtod (line + strlen (key) + 1, NULL) / 1024.0
                      : 0.0;
}
