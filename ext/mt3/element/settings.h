/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * settings.h: the properties of mt3transcribe and what they mean to the
 * engine.
 */
#pragma once

#include <gst/gst.h>

#include "element/settings-notes.h"
#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct {
  gchar *model_file;
  Mt3Device device;
  guint cuda_device_id;
  Mt3Precision precision;
  guint threads;
  guint batch_size;
  GstClockTime update_interval;
  gboolean post_messages;
  gboolean midi_ticks;
  GstMt3NoteSettings notes;
} GstMt3Settings;

void gst_mt3_settings_init (GstMt3Settings *settings);
void gst_mt3_settings_clear (GstMt3Settings *settings);

/* Installs all properties but the read-only ones of the element itself; the
 * first has the id 1, the id of the next one is returned. */
guint gst_mt3_settings_install (GObjectClass *klass);

/* FALSE when there is no such property. The caller holds the lock that guards
 * @settings. */
gboolean gst_mt3_settings_set (
    GstMt3Settings *settings, guint id, const GValue *value);
gboolean gst_mt3_settings_get (
    const GstMt3Settings *settings, guint id, GValue *value);

/* What opening an engine takes; g_free() the model file. */
Mt3EngineOptions gst_mt3_settings_engine_options (
    const GstMt3Settings *settings);
gboolean gst_mt3_engine_options_equal (
    const Mt3EngineOptions *a, const Mt3EngineOptions *b);
void gst_mt3_engine_options_clear (Mt3EngineOptions *options);

const gchar *gst_mt3_precision_nick (Mt3Precision precision);

G_END_DECLS
