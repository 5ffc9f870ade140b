/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element-fixture.h"

#include <math.h>

#include "element/gstmt3transcribe.h"
#include "midi-chunks.h"

void
fixture_setup (void)
{
  GST_ELEMENT_REGISTER (mt3transcribe, NULL);
  script_setup ();
}

void
fixture_teardown (void)
{
  script_teardown ();
}

/* The harness starts the element at once: properties come before. */
Fixture
fixture_new (const gchar *model_file)
{
  Fixture fixture;

  fixture.element = gst_element_factory_make ("mt3transcribe", NULL);
  g_object_set (fixture.element, "model-file", model_file, NULL);
  fixture.bus = gst_bus_new ();
  gst_element_set_bus (fixture.element, fixture.bus);
  fixture.harness =
      gst_harness_new_with_element (fixture.element, "sink", "src");
  /* It is by default, and what comes too fast would be left out. */
  gst_harness_set_live (fixture.harness, FALSE);

  return fixture;
}

/* The harness frees what it answers queries with before it stops the element,
 * whose task may ask at any time. */
void
fixture_free (Fixture *fixture)
{
  gst_element_set_state (fixture->element, GST_STATE_NULL);
  gst_element_set_bus (fixture->element, NULL);
  gst_bus_set_flushing (fixture->bus, TRUE);
  gst_harness_teardown (fixture->harness);
  gst_object_unref (fixture->element);
  gst_object_unref (fixture->bus);
}

Fixture
fixture_new_playing (void)
{
  Fixture fixture = fixture_new ("scripted");

  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  return fixture;
}

GstBuffer *
fixture_buffer (gfloat value, guint n_samples, GstClockTime pts)
{
  gfloat *samples = g_new (gfloat, n_samples);
  GstBuffer *buffer;

  for (guint i = 0; i < n_samples; i++)
    samples[i] = value;
  buffer = gst_buffer_new_wrapped (samples, n_samples * sizeof (gfloat));
  GST_BUFFER_PTS (buffer) = pts;
  GST_BUFFER_DURATION (buffer) =
      gst_util_uint64_scale (n_samples, GST_SECOND, SCRIPT_RATE);

  return buffer;
}

GstClockTime
fixture_windows_time (guint n)
{
  return gst_util_uint64_scale (n * SCRIPT_WINDOW, GST_SECOND, SCRIPT_RATE);
}

GstFlowReturn
fixture_push_windows (Fixture *fixture, guint n, GstClockTime pts)
{
  GstFlowReturn ret = GST_FLOW_OK;

  for (guint i = 0; i < n && ret == GST_FLOW_OK; i++)
    ret = gst_harness_push (fixture->harness,
        fixture_buffer (0.5f, SCRIPT_WINDOW, pts + fixture_windows_time (i)));
  return ret;
}

static void
check_midi_file (GstBuffer *buffer)
{
  GstMapInfo map;

  fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
  check_midi_chunks (map.data, map.size);
  gst_buffer_unmap (buffer, &map);
}

GPtrArray *
fixture_pull_notes (Fixture *fixture)
{
  GstBuffer *buffer = gst_harness_pull (fixture->harness);
  GPtrArray *notes;

  fail_unless (buffer != NULL);
  /* Room for a longer file comes first. */
  if (GST_BUFFER_OFFSET (buffer) > 0) {
    gst_buffer_unref (buffer);
    return fixture_pull_notes (fixture);
  }
  check_midi_file (buffer);
  notes = gst_buffer_get_mt3_notes (buffer);
  gst_buffer_unref (buffer);

  return notes;
}

void
fixture_check_notes (GPtrArray *notes, GstClockTime start, const gint *windows)
{
  guint n = 0;

  for (; windows[n] >= 0; n++) {
    gdouble seconds = windows[n] * (SCRIPT_WINDOW / (gdouble) SCRIPT_RATE);
    const GstMt3Note *note;
    GstClockTime from;

    fail_unless (n < notes->len, "only %u notes", notes->len);
    note = g_ptr_array_index (notes, n);
    /* As the reference rounds a window's start. */
    seconds -= fmod (seconds, 0.01);
    from = start + llround (seconds * GST_SECOND);
    fail_unless_equals_int (note->id, n + 1);
    fail_unless_equals_int (note->pitch, 60 + windows[n] % 12);
    fail_unless_equals_int (note->program, 40);
    fail_unless (
        ABS (GST_CLOCK_DIFF (note->onset, from + 50 * GST_MSECOND)) < 2);
    fail_unless (
        ABS (GST_CLOCK_DIFF (note->end, from + 150 * GST_MSECOND)) < 2);
    fail_unless (note->confidence > 0.5 && note->confidence < 1.0);
  }
  fail_unless_equals_int (notes->len, n);
}

guint64
fixture_get_stat (Fixture *fixture, const gchar *name)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 value;

  g_object_get (fixture->element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint64 (stats, name, &value));

  return value;
}

void
fixture_wait_windows (Fixture *fixture, guint n)
{
  while (fixture_get_stat (fixture, "windows") < n)
    g_usleep (1000);
}

GPtrArray *
fixture_finish (Fixture *fixture)
{
  fail_unless (gst_harness_push_event (fixture->harness, gst_event_new_eos ()));
  return fixture_pull_notes (fixture);
}

void
fixture_check_finish (Fixture *fixture, GstClockTime start, const gint *windows)
{
  g_autoptr (GPtrArray) notes = fixture_finish (fixture);

  fixture_check_notes (notes, start, windows);
}

GstMessage *
fixture_wait (Fixture *fixture, GstMessageType type)
{
  return gst_bus_timed_pop_filtered (fixture->bus, GST_CLOCK_TIME_NONE, type);
}

void
fixture_expect_error (
    Fixture *fixture, GQuark domain, gint code, const gchar *words)
{
  GstMessage *message = fixture_wait (fixture, GST_MESSAGE_ERROR);
  g_autofree gchar *debug = NULL;
  g_autoptr (GError) error = NULL;

  gst_message_parse_error (message, &error, &debug);
  fail_unless (
      g_error_matches (error, domain, code), "%s (%s)", error->message, debug);
  fail_unless (strstr (error->message, words) || strstr (debug, words),
      "%s (%s)", error->message, debug);
  gst_message_unref (message);
}

GstEvent *
fixture_wait_event (Fixture *fixture, GstEventType type)
{
  for (;;) {
    GstEvent *event = gst_harness_pull_event (fixture->harness);

    fail_unless (event != NULL);
    if (GST_EVENT_TYPE (event) == type)
      return event;
    gst_event_unref (event);
  }
}
