/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * settings-notes.h: the properties of mt3transcribe that say which notes are
 * written, while they are decoded and after.
 */
#pragma once

#include <gst/gst.h>

#include "engine/decoding.h"
#include "notes/note-shaper.h"

G_BEGIN_DECLS

/**
 * GstMt3NoteSettings:
 * @programs: (nullable): as it was set
 * @program_set: what it means; the one before, if it is not understood
 * @all_programs: @program_set leaves nothing out
 * @program_map: (nullable): as it was set
 * @map: what it means; the one before, if it is not understood
 * @silence_threshold: dBFS
 */
typedef struct {
  guint max_tokens;
  gdouble temperature;
  guint top_k;
  gdouble top_p;
  guint64 seed;
  guint beam_size;
  gdouble beam_alpha;
  gchar *programs;
  Mt3ProgramSet program_set;
  gboolean all_programs;
  gdouble silence_threshold;

  gchar *program_map;
  Mt3ProgramMap map;
  GstClockTime min_duration;
  guint velocity;
} GstMt3NoteSettings;

void gst_mt3_note_settings_init (GstMt3NoteSettings *settings);
void gst_mt3_note_settings_clear (GstMt3NoteSettings *settings);

/* Installs the properties from the id @first on; returns the next id. */
guint gst_mt3_note_settings_install (GObjectClass *klass, guint first);

/* @index: of the property, the first is 0. FALSE when there is no such
 * property. */
gboolean gst_mt3_note_settings_set (
    GstMt3NoteSettings *settings, guint index, const GValue *value);
gboolean gst_mt3_note_settings_get (
    const GstMt3NoteSettings *settings, guint index, GValue *value);

/* FALSE when a property has a value that is not understood, or that another
 * property's rules out (MT3_ERROR_UNSUPPORTED); the error names the property.
 */
gboolean gst_mt3_note_settings_check (
    const GstMt3NoteSettings *settings, GError **error);

/* How windows of a model with @config are to be decoded; give it back with
 * mt3_decoding_clear(). */
Mt3Decoding gst_mt3_note_settings_decoding (
    const GstMt3NoteSettings *settings, const Mt3Config *config);

/* Whether a window with the sample @peak, 1 is full scale, need not be
 * decoded. */
gboolean gst_mt3_note_settings_is_silent (
    const GstMt3NoteSettings *settings, gfloat peak);

G_END_DECLS
