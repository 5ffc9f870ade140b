/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * report.h: figures, as text while they come and as JSON at the end.
 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

typedef struct _Report Report;

Report *report_new (void);
void report_free (Report *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Report, report_free)

/* One figure: a line of text, and a member of the JSON object. */
void report_text (Report *report, const gchar *name, const gchar *value);
void report_count (Report *report, const gchar *name, guint64 value);
void report_number (
    Report *report, const gchar *name, gdouble value, const gchar *unit);

gboolean report_save (Report *report, const gchar *path, GError **error);

/* This process's memory in MiB, from the kernel: "VmRSS" or "VmHWM". */
gdouble report_resident_mib (const gchar *key);

G_END_DECLS
