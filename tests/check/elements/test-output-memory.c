/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where what mt3transcribe sends lies: where downstream wants it.
 */
#include "element-fixture.h"

#define PREFIX 64

/* An allocator that has nothing, as one of hardware. */
typedef GstAllocator Empty;
typedef GstAllocatorClass EmptyClass;

static GType empty_get_type (void);
G_DEFINE_TYPE (Empty, empty, GST_TYPE_ALLOCATOR)

static GstMemory *
empty_alloc (GstAllocator *allocator, gsize size, GstAllocationParams *params)
{
  return NULL;
}

static void
empty_class_init (EmptyClass *klass)
{
  klass->alloc = empty_alloc;
}

static void
empty_init (Empty *self)
{
}

static const gchar *const outputs[] = {"audio/midi", "audio/x-midi-event"};

static Fixture
new_offering (const gchar *caps, GstAllocator *allocator)
{
  Fixture fixture = fixture_new ("scripted");
  GstAllocationParams params = {.prefix = PREFIX};

  gst_harness_set_sink_caps_str (fixture.harness, caps);
  gst_harness_set_propose_allocator (fixture.harness, allocator, &params);
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);

  return fixture;
}

/* A file begins with MThd, live MIDI with a tick. */
static void
check_first_buffer (Fixture *fixture, gsize prefix)
{
  g_autoptr (GstBuffer) buffer = NULL;
  gsize offset;
  guint8 status;

  fail_unless_equals_int (fixture_push_windows (fixture, 2, 0), GST_FLOW_OK);
  gst_harness_push_event (fixture->harness, gst_event_new_eos ());
  buffer = gst_harness_pull (fixture->harness);
  gst_memory_get_sizes (gst_buffer_peek_memory (buffer, 0), &offset, NULL);
  fail_unless_equals_uint64 (offset, prefix);
  fail_unless_equals_uint64 (gst_buffer_extract (buffer, 0, &status, 1), 1);
  fail_unless (status == 'M' || status == 0xf9);
}

GST_START_TEST (memory_is_what_downstream_offers)
{
  g_auto (Fixture) fixture =
      new_offering (outputs[__i__], gst_allocator_find (NULL));

  check_first_buffer (&fixture, PREFIX);
}

GST_END_TEST

GST_START_TEST (memory_is_any_where_downstream_has_none)
{
  g_auto (Fixture) fixture = new_offering (outputs[__i__],
      gst_object_ref_sink (g_object_new (empty_get_type (), NULL)));

  check_first_buffer (&fixture, 0);
}

GST_END_TEST

static Suite *
output_memory_suite (void)
{
  Suite *suite = suite_create ("output-memory");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_loop_test (
      tcase, memory_is_what_downstream_offers, 0, G_N_ELEMENTS (outputs));
  tcase_add_loop_test (tcase, memory_is_any_where_downstream_has_none, 0,
      G_N_ELEMENTS (outputs));
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (output_memory);
