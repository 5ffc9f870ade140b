/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Everything an application can do to mt3transcribe, in any order and at any
 * moment, for GST_MT3_RANDOM_SECONDS (5). The seed is printed;
 * GST_MT3_RANDOM_SEED repeats the same actions, though not the same moments.
 */
#include <string.h>

#include "element-fixture.h"

typedef struct {
  GRand *rand;
  GstElement *pipeline;
  GstElement *in; /* capsfilter before the element */
  GstElement *element;
  GstElement *out; /* capsfilter after it */
} Play;

static guint64
setting (const gchar *name, guint64 otherwise)
{
  const gchar *text = g_getenv (name);

  return text ? g_ascii_strtoull (text, NULL, 10) : otherwise;
}

static guint
draw (Play *play, guint n)
{
  return (guint) g_rand_int_range (play->rand, 0, (gint32) n);
}

static void
change_state (Play *play)
{
  gst_element_set_state (play->pipeline, GST_STATE_NULL + draw (play, 4));
}

/* All flush: others wait for the sink, which a paused pipeline never ends. */
static void
seek (Play *play)
{
  static const GstSeekFlags flags[] = {GST_SEEK_FLAG_FLUSH,
      GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE,
      GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_SEGMENT};
  static const gdouble rates[] = {1.0, 1.0, 1.0, 0.5, 2.0, -1.0};
  gint64 start = draw (play, 100) * GST_SECOND;

  gst_element_seek (play->pipeline, rates[draw (play, G_N_ELEMENTS (rates))],
      GST_FORMAT_TIME, flags[draw (play, G_N_ELEMENTS (flags))],
      GST_SEEK_TYPE_SET, start, GST_SEEK_TYPE_SET,
      draw (play, 2) ? start + GST_SECOND : -1);
}

/* A source waits until its buffer is taken, with the lock held that the way to
 * PLAYING needs: the pipeline must be there. */
static void
end (Play *play)
{
  GstState state;

  if (gst_element_get_state (play->pipeline, &state, NULL, 0) ==
          GST_STATE_CHANGE_SUCCESS &&
      state == GST_STATE_PLAYING)
    gst_element_send_event (play->pipeline, gst_event_new_eos ());
}

static void
set_format (Play *play)
{
  static const gint rates[] = {8000, 16000, 44100, 48000};
  GstCaps *caps = gst_caps_new_simple ("audio/x-raw", "rate", G_TYPE_INT,
      rates[draw (play, G_N_ELEMENTS (rates))], "channels", G_TYPE_INT,
      1 + (gint) draw (play, 2), NULL);

  g_object_set (play->in, "caps", caps, NULL);
  gst_caps_unref (caps);
}

static void
set_output (Play *play)
{
  static const gchar *const types[] = {
      "audio/midi", "audio/x-midi-event", "audio/x-none"};
  /* What takes nothing ends the run, so not often. */
  guint which = draw (play, 9);
  GstCaps *caps = gst_caps_new_empty_simple (types[which < 8 ? which % 2 : 2]);

  g_object_set (play->out, "caps", caps, NULL);
  gst_caps_unref (caps);
}

static const gchar *
draw_text (Play *play, const gchar *property)
{
  static const gchar *const models[] = {
      "scripted", "scripted", "another", SCRIPT_MISSING};
  static const gchar *const texts[] = {
      NULL, "", "violin", "drums", "0-127", "piano=violin", "?"};

  if (g_str_equal (property, "model-file"))
    return models[draw (play, G_N_ELEMENTS (models))];
  return texts[draw (play, G_N_ELEMENTS (texts))];
}

static void
set_property (Play *play)
{
  guint n;
  g_autofree GParamSpec **specs =
      g_object_class_list_properties (G_OBJECT_GET_CLASS (play->element), &n);
  GParamSpec *spec = specs[draw (play, n)];
  g_auto (GValue) number = G_VALUE_INIT, value = G_VALUE_INIT;

  if (spec->owner_type != G_OBJECT_TYPE (play->element) ||
      !(spec->flags & G_PARAM_WRITABLE))
    return;
  g_value_init (&value, spec->value_type);
  if (spec->value_type == G_TYPE_STRING) {
    g_value_set_static_string (&value, draw_text (play, spec->name));
  } else {
    g_value_init (&number, G_TYPE_DOUBLE);
    g_value_set_double (&number, draw (play, 2) ? draw (play, 3) : 0.5);
    if (!g_value_transform (&number, &value))
      return;
    g_param_value_validate (spec, &value);
  }
  g_object_set_property (G_OBJECT (play->element), spec->name, &value);
}

static void
ask (Play *play)
{
  g_autoptr (GstStructure) stats = NULL;
  gint64 time;

  g_object_get (play->element, "stats", &stats, NULL);
  fail_unless (stats != NULL);
  gst_element_query_position (play->pipeline, GST_FORMAT_TIME, &time);
  gst_element_query_duration (play->pipeline, GST_FORMAT_TIME, &time);
}

static void
break_device (Play *play)
{
  g_mutex_lock (&script.lock);
  script.fail_at = draw (play, 2) ? (gint64) draw (play, 1000) : -1;
  g_mutex_unlock (&script.lock);
}

static void (*const actions[]) (Play *play) = {change_state, change_state,
    change_state, seek, seek, seek, end, set_format, set_output, set_property,
    set_property, set_property, ask, break_device};

static GstBusSyncReply
drop_message (GstBus *bus, GstMessage *message, gpointer user_data)
{
  gst_message_unref (message);
  return GST_BUS_DROP;
}

static void
start (Play *play)
{
  GstBus *bus;

  play->pipeline =
      gst_parse_launch ("audiotestsrc samplesperbuffer=1000 wave=white-noise ! "
                        "capsfilter name=in ! "
                        "mt3transcribe name=element model-file=scripted ! "
                        "capsfilter name=out ! queue ! fakesink sync=false",
          NULL);
  play->in = gst_bin_get_by_name (GST_BIN (play->pipeline), "in");
  play->out = gst_bin_get_by_name (GST_BIN (play->pipeline), "out");
  play->element = gst_bin_get_by_name (GST_BIN (play->pipeline), "element");
  bus = gst_element_get_bus (play->pipeline);
  gst_bus_set_sync_handler (bus, drop_message, NULL, NULL);
  gst_object_unref (bus);
}

static void
stop (Play *play)
{
  gst_element_set_state (play->pipeline, GST_STATE_NULL);
  gst_object_unref (play->in);
  gst_object_unref (play->out);
  gst_object_unref (play->element);
  gst_object_unref (play->pipeline);
}

/* A pipeline lives for half a second, so that none stays broken for long.
 * Afterwards no engine is left: the fixture waits for that. */
GST_START_TEST (anything_in_any_order)
{
  guint64 seed = setting (
      "GST_MT3_RANDOM_SEED", (guint64) g_get_real_time () & G_MAXUINT32);
  gint64 end_us =
      g_get_monotonic_time () +
      G_USEC_PER_SEC * (gint64) setting ("GST_MT3_RANDOM_SECONDS", 5);
  Play play = {.rand = g_rand_new_with_seed ((guint32) seed)};
  guint n_actions = 0;

  g_print ("GST_MT3_RANDOM_SEED=%" G_GUINT64_FORMAT "\n", seed);
  script.forget = TRUE;
  while (g_get_monotonic_time () < end_us) {
    gint64 half = g_get_monotonic_time () + G_USEC_PER_SEC / 2;

    start (&play);
    for (; g_get_monotonic_time () < half; n_actions++) {
      actions[draw (&play, G_N_ELEMENTS (actions))](&play);
      g_usleep (draw (&play, 3000));
    }
    stop (&play);
  }
  g_print ("%u actions\n", n_actions);
  g_rand_free (play.rand);
}

GST_END_TEST

static Suite *
random_suite (void)
{
  Suite *suite = suite_create ("random");
  TCase *tcase = tcase_create ("general");

  tcase_set_timeout (
      tcase, (double) setting ("GST_MT3_RANDOM_SECONDS", 5) + 120);
  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, anything_in_any_order);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (random);
