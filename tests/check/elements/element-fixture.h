/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * element-fixture.h: mt3transcribe in a harness, on the scripted engine.
 */
#pragma once

#include <gst/audio/audio.h>
#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/mt3/mt3.h>

#include "scripted-engine.h"

G_BEGIN_DECLS

#define FIXTURE_CAPS                                                           \
  "audio/x-raw, format = " GST_AUDIO_NE (                                      \
      F32) ", rate = 16000, channels = 1, layout = interleaved"

/* An element in a harness, and its bus. */
typedef struct {
  GstHarness *harness;
  GstElement *element;
  GstBus *bus;
} Fixture;

/* Checked fixture: registers the element, sets up the script. */
void fixture_setup (void);
void fixture_teardown (void);

/* Playing, without caps yet. */
Fixture fixture_new (const gchar *model_file);
void fixture_free (Fixture *fixture);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Fixture, fixture_free)

/* With FIXTURE_CAPS. */
Fixture fixture_new_playing (void);

/* @n_samples of @value at the model's rate. */
GstBuffer *fixture_buffer (gfloat value, guint n_samples, GstClockTime pts);

/* Pushes @n audible windows, the first at @pts; returns the first flow that is
 * not OK. */
GstFlowReturn fixture_push_windows (
    Fixture *fixture, guint n, GstClockTime pts);
GstClockTime fixture_windows_time (guint n);

/* Pulls the next buffer, which must be a whole Standard MIDI File; returns its
 * notes. */
GPtrArray *fixture_pull_notes (Fixture *fixture);

/* The notes must be those of the windows with these indexes (-1 ends). */
void fixture_check_notes (
    GPtrArray *notes, GstClockTime start, const gint *windows);

/* A guint64 of the property stats. */
guint64 fixture_get_stat (Fixture *fixture, const gchar *name);

/* Until so many windows are transcribed. */
void fixture_wait_windows (Fixture *fixture, guint n);

/* Pushes EOS and pulls notes. */
GPtrArray *fixture_finish (Fixture *fixture);

/* Both: the notes must be those of the windows. */
void fixture_check_finish (
    Fixture *fixture, GstClockTime start, const gint *windows);

/* Waits for a message of @type; (transfer full). */
GstMessage *fixture_wait (Fixture *fixture, GstMessageType type);

/* Waits for an error of that domain and code whose text or detail holds
 * @words. */
void fixture_expect_error (
    Fixture *fixture, GQuark domain, gint code, const gchar *words);

/* Waits for the next downstream event of @type; (transfer full). */
GstEvent *fixture_wait_event (Fixture *fixture, GstEventType type);

G_END_DECLS
