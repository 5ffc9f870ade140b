/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What upstream, downstream and the application may do to mt3transcribe, in
 * any order: a byte that says what to ask downstream for, then steps, each a
 * byte that says which and what it needs. The engine is scripted. Whatever
 * happened, the element must answer an EOS at the end with one, or with an
 * error.
 */
#include "element/gstmt3transcribe.h"
#include "fuzz.h"
#include "scripted-engine.h"

#include <gst/audio/audio.h>
#include <gst/check/gstharness.h>
#include <string.h>

/* More teach nothing new and take long. */
#define MAX_STEPS 64

typedef struct {
  const guint8 *data;
  gsize left;
} Input;

typedef struct {
  Input input;
  GstHarness *harness;
  GstElement *element;
  GstBus *bus;
  GstAudioInfo info; /* of the last caps */
} Play;

static guint8
take (Input *input)
{
  if (input->left == 0)
    return 0;
  input->left--;
  return *input->data++;
}

static guint
take16 (Input *input)
{
  guint low = take (input);

  return low | (guint) take (input) << 8;
}

/* Near and far times, and none. */
static GstClockTime
take_time (Input *input)
{
  guint8 scale = take (input);
  guint64 value = take16 (input);

  return scale == 0 ? GST_CLOCK_TIME_NONE : value << scale % 48;
}

static void
send_stream_start (Play *play)
{
  g_autofree gchar *id = g_strdup_printf ("s%u", take (&play->input));

  gst_harness_push_event (play->harness, gst_event_new_stream_start (id));
}

static void
send_caps (Play *play)
{
  static const gint rates[] = {16000, 44100, 8000, 4000, 768000, 11025};
  GstAudioFormat format = 2 + take (&play->input) % 30;
  guint8 shape = take (&play->input);
  GstAudioInfo info;
  GstCaps *caps;

  gst_audio_info_set_format (&info, format,
      rates[take (&play->input) % G_N_ELEMENTS (rates)], 1 + shape % 3, NULL);
  info.layout = shape & 64 ? GST_AUDIO_LAYOUT_NON_INTERLEAVED
                           : GST_AUDIO_LAYOUT_INTERLEAVED;
  if (!(shape & 32))
    play->info = info;
  caps = shape & 128 ? gst_caps_new_empty_simple ("audio/x-raw")
                     : gst_audio_info_to_caps (&info);
  gst_harness_push_event (play->harness, gst_event_new_caps (caps));
  gst_caps_unref (caps);
}

static void
send_segment (Play *play)
{
  static const GstFormat formats[] = {GST_FORMAT_TIME, GST_FORMAT_TIME,
      GST_FORMAT_TIME, GST_FORMAT_BYTES, GST_FORMAT_DEFAULT};
  guint8 how = take (&play->input);
  GstSegment segment;

  gst_segment_init (&segment, formats[how % G_N_ELEMENTS (formats)]);
  segment.rate = how & 128 ? -1.0 : how & 64 ? 2.5 : 1.0;
  segment.start = take_time (&play->input);
  segment.stop = take_time (&play->input);
  segment.time = take_time (&play->input);
  if (segment.start == GST_CLOCK_TIME_NONE)
    segment.start = 0;
  if (segment.stop < segment.start)
    segment.stop = GST_CLOCK_TIME_NONE;
  gst_harness_push_event (play->harness, gst_event_new_segment (&segment));
}

/* What another clock showed. */
static void
add_reference (Play *play, GstBuffer *buffer)
{
  GstCaps *caps = gst_caps_new_empty_simple ("timestamp/x-ntp");
  GstClockTime time = take_time (&play->input);

  if (GST_CLOCK_TIME_IS_VALID (time))
    gst_buffer_add_reference_timestamp_meta (
        buffer, caps, time, GST_CLOCK_TIME_NONE);
  gst_caps_unref (caps);
}

static void
send_buffer (Play *play)
{
  gsize size = take16 (&play->input);
  guint8 how = take (&play->input);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, size, NULL);

  gst_buffer_memset (buffer, 0, take (&play->input), size);
  GST_BUFFER_PTS (buffer) = take_time (&play->input);
  if (how & 1)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  if (how & 2)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_GAP);
  if (how & 4)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_RESYNC);
  if (how & 8)
    GST_BUFFER_DURATION (buffer) = take_time (&play->input);
  if (how & 32)
    add_reference (play, buffer);
  if (play->info.layout == GST_AUDIO_LAYOUT_NON_INTERLEAVED && !(how & 16))
    gst_buffer_add_audio_meta (
        buffer, &play->info, size / play->info.bpf, NULL);
  gst_harness_push (play->harness, buffer);
}

static void
send_gap (Play *play)
{
  GstClockTime start = take_time (&play->input) & G_MAXINT64;

  gst_harness_push_event (
      play->harness, gst_event_new_gap (start, take_time (&play->input)));
}

static void
send_flush (Play *play)
{
  guint8 how = take (&play->input);

  gst_harness_push_event (play->harness, gst_event_new_flush_start ());
  if (how & 1)
    send_gap (play);
  gst_harness_push_event (play->harness, gst_event_new_flush_stop (how & 2));
}

static void
send_tags (Play *play)
{
  gchar title[2] = {(gchar) take (&play->input), 0};

  gst_harness_push_event (
      play->harness, gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE,
                         g_utf8_validate (title, -1, NULL) ? title : "?",
                         GST_TAG_BITRATE, 9u, NULL)));
}

static void
send_other (Play *play)
{
  guint8 how = take (&play->input);
  GstStructure *structure;
  const GstEventType types[] = {GST_EVENT_CUSTOM_DOWNSTREAM,
      GST_EVENT_CUSTOM_DOWNSTREAM_OOB, GST_EVENT_CUSTOM_DOWNSTREAM_STICKY};

  if (how & 128) {
    gst_harness_push_event (
        play->harness, gst_event_new_segment_done (GST_FORMAT_TIME, how));
    return;
  }
  structure = gst_structure_new_empty ("anything");
  gst_harness_push_event (play->harness,
      gst_event_new_custom (types[how % G_N_ELEMENTS (types)], structure));
}

static void
send_eos (Play *play)
{
  gst_harness_push_event (play->harness, gst_event_new_eos ());
}

static void
send_upstream (Play *play)
{
  guint8 how = take (&play->input);
  GstClockTime time = take_time (&play->input);
  GstEvent *event;

  if (how % 4 == 0)
    event = gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 0.5, 1, time);
  else if (how % 4 == 1)
    event = gst_event_new_reconfigure ();
  else if (how % 4 == 2)
    event = gst_event_new_latency (time & G_MAXINT64);
  else
    event = gst_event_new_seek (how & 4 ? -1.0 : 1.0,
        how & 8 ? GST_FORMAT_BYTES : GST_FORMAT_TIME, how >> 4,
        GST_SEEK_TYPE_SET, (gint64) (time & G_MAXINT64), GST_SEEK_TYPE_NONE,
        -1);
  gst_harness_push_upstream_event (play->harness, event);
}

static void
ask (Play *play)
{
  GstPad *pad = GST_PAD_PEER (play->harness->sinkpad);
  GstFormat format = take (&play->input) % 6;
  GstQuery *queries[] = {gst_query_new_position (format),
      gst_query_new_duration (format), gst_query_new_seeking (format),
      gst_query_new_latency (), gst_query_new_caps (NULL),
      gst_query_new_convert (format, 1, GST_FORMAT_TIME)};

  for (guint i = 0; i < G_N_ELEMENTS (queries); i++) {
    gst_pad_query (pad, queries[i]);
    gst_pad_query (GST_PAD_PEER (play->harness->srcpad), queries[i]);
    gst_query_unref (queries[i]);
  }
}

/* Properties that may change at any time: a number, near its bounds or not, or
 * a short text. */
static void
set_property (Play *play)
{
  guint n;
  g_autofree GParamSpec **specs =
      g_object_class_list_properties (G_OBJECT_GET_CLASS (play->element), &n);
  GParamSpec *spec = specs[take (&play->input) % n];
  g_auto (GValue) number = G_VALUE_INIT, value = G_VALUE_INIT;
  guint value16 = take16 (&play->input);
  gchar text[3] = {value16 & 127, value16 >> 8 & 127, 0};

  if (!(spec->flags & G_PARAM_WRITABLE) ||
      !(spec->flags & GST_PARAM_MUTABLE_PLAYING))
    return;
  g_value_init (&value, spec->value_type);
  if (spec->value_type == G_TYPE_STRING) {
    g_value_set_string (&value, text);
  } else {
    g_value_init (&number, G_TYPE_DOUBLE);
    g_value_set_double (&number, value16 / 256.0 - (value16 & 1));
    if (!g_value_transform (&number, &value))
      return;
  }
  g_param_value_validate (spec, &value);
  g_object_set_property (G_OBJECT (play->element), spec->name, &value);
}

/* Upstream starts again too, or its pad would still be at its end. */
static void
change_state (Play *play)
{
  static const GstState states[] = {
      GST_STATE_NULL, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING};
  guint8 how = take (&play->input);

  gst_element_set_state (play->element, states[how % 4]);
  gst_element_set_state (play->element, GST_STATE_PLAYING);
  send_stream_start (play);
}

static void
break_device (Play *play)
{
  g_mutex_lock (&script.lock);
  script.fail_at = take (&play->input) % 8;
  g_mutex_unlock (&script.lock);
}

static void (*const steps[]) (Play *play) = {send_buffer, send_buffer,
    send_buffer, send_gap, send_segment, send_caps, send_flush, send_tags,
    send_other, send_eos, send_stream_start, send_upstream, ask, set_property,
    change_state, break_device};

static void
start (Play *play)
{
  play->element = gst_element_factory_make ("mt3transcribe", NULL);
  g_object_set (play->element, "model-file", "scripted", NULL);
  gst_audio_info_init (&play->info);
  play->bus = gst_bus_new ();
  gst_element_set_bus (play->element, play->bus);
  play->harness = gst_harness_new_with_element (play->element, "sink", "src");
  gst_harness_set_sink_caps_str (play->harness,
      take (&play->input) & 1 ? "audio/x-midi-event" : "audio/midi");
  gst_harness_set_src_caps_str (play->harness,
      "audio/x-raw, format = " GST_AUDIO_NE (
          F32) ", rate = 16000, channels = 1, layout = interleaved");
}

/* A thread whose name is gone already has just ended, and perhaps with it the
 * list: it has to be read again. */
static gboolean
is_loading (void)
{
  g_autoptr (GDir) tasks = g_dir_open ("/proc/self/task", 0, NULL);
  gboolean found = FALSE;
  const gchar *id;

  while (!found && tasks && (id = g_dir_read_name (tasks))) {
    g_autofree gchar *path =
        g_build_filename ("/proc/self/task", id, "comm", NULL);
    g_autofree gchar *name = NULL;

    found = !g_file_get_contents (path, &name, NULL, NULL) ||
            g_str_equal (name, "mt3-model\n");
  }
  return found;
}

/* Nobody joins the threads that open models, which hold @element until then,
 * and while they end LeakSanitizer takes what GLib keeps for each thread for
 * lost. */
static void
unref_and_wait (GstElement *element)
{
  GWeakRef weak;
  GstElement *held;

  g_weak_ref_init (&weak, element);
  gst_object_unref (element);
  while ((held = g_weak_ref_get (&weak))) {
    gst_object_unref (held);
    g_usleep (100);
  }
  g_weak_ref_clear (&weak);
  while (is_loading ())
    g_usleep (100);
}

/* The harness frees what it answers queries with before it stops the element,
 * whose task may ask at any time. */
static void
stop (Play *play)
{
  gst_element_set_state (play->element, GST_STATE_NULL);
  gst_element_set_bus (play->element, NULL);
  gst_bus_set_flushing (play->bus, TRUE);
  gst_harness_teardown (play->harness);
  gst_object_unref (play->bus);
  unref_and_wait (play->element);
}

/* Does not return when the element forgets what it owes. */
static void
expect_end (Play *play)
{
  for (;;) {
    GstEvent *event = gst_harness_try_pull_event (play->harness);
    gboolean ended = event && GST_EVENT_TYPE (event) == GST_EVENT_EOS;
    GstMessage *error = gst_bus_pop_filtered (play->bus, GST_MESSAGE_ERROR);

    ended |= error != NULL;
    g_clear_pointer (&event, gst_event_unref);
    g_clear_pointer (&error, gst_message_unref);
    if (ended)
      return;
    g_usleep (100);
  }
}

static void
ignore (const gchar *domain, GLogLevelFlags level, const gchar *message,
    gpointer user_data)
{
}

/* Wrong orders of events are warned of by GStreamer, which is all right. */
static void
initialise (void)
{
  static gboolean done = FALSE;

  if (done)
    return;
  done = TRUE;
  g_setenv ("GST_REGISTRY_DISABLE", "yes", TRUE);
  g_log_set_always_fatal (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR);
  g_log_set_handler ("GStreamer", G_LOG_LEVEL_WARNING, ignore, NULL);
  gst_init (NULL, NULL);
  gst_debug_set_active (FALSE);
  /* No idle thread ends, for the reason that unref_and_wait() tells, however
   * many there are. */
  g_thread_pool_set_max_idle_time (0);
  g_thread_pool_set_max_unused_threads (-1);
  GST_ELEMENT_REGISTER (mt3transcribe, NULL);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Play play = {{data, size}};

  initialise ();
  script_setup ();
  start (&play);
  for (guint i = 0; i < MAX_STEPS && play.input.left > 0; i++)
    steps[take (&play.input) % G_N_ELEMENTS (steps)](&play);
  send_eos (&play);
  expect_end (&play);
  stop (&play);
  script_teardown ();
  return 0;
}

/* Steps in the order of the table above. */
enum {
  BUFFER,
  GAP = 3,
  SEGMENT,
  CAPS,
  FLUSH,
  TAGS,
  OTHER,
  EOS,
  STREAM_START,
  UPSTREAM,
  ASK,
  PROPERTY,
  STATE,
  BREAK,
};

#define SECONDS 21, 0xdc, 0x01 /* about one */
#define CENTURIES 47, 0xff, 0xff /* almost three */
#define AUDIO(pts) BUFFER, 0x00, 0x80, 0, 0x11, pts
#define CLOCKED(pts, time) BUFFER, 0x00, 0x80, 32, 0x11, pts, time

void
fuzz_seeds (GPtrArray *seeds)
{
  static const guint8 plain[] = {0, AUDIO (SECONDS), AUDIO (SECONDS)};
  static const guint8 live[] = {1, TAGS, 'a', AUDIO (SECONDS), GAP, SECONDS,
      SECONDS, FLUSH, 2, SEGMENT, 0, SECONDS, 0, 0, 0, 0, 0, 0, AUDIO (SECONDS),
      CLOCKED (SECONDS, SECONDS), UPSTREAM, 3, SECONDS, ASK, 3};
  static const guint8 changes[] = {0, CAPS, 5, 1, 1, AUDIO (SECONDS), PROPERTY,
      8, 1, 0, AUDIO (SECONDS), EOS, STREAM_START, 1, SEGMENT, 0, SECONDS, 0, 0,
      0, 0, 0, 0, AUDIO (SECONDS), STATE, 1, OTHER, 0, BREAK, 1,
      AUDIO (SECONDS), AUDIO (SECONDS)};
  static const guint8 centuries[] = {0, AUDIO (SECONDS), GAP, CENTURIES,
      CENTURIES, GAP, CENTURIES, CENTURIES, GAP, CENTURIES, CENTURIES,
      AUDIO (SECONDS), AUDIO (SECONDS)};
  static const guint8 loops[] = {1, AUDIO (SECONDS), OTHER, 128, SEGMENT, 0,
      SECONDS, 0, 0, 0, 0, 0, 0, AUDIO (SECONDS), OTHER, 128, OTHER, 128};

  g_ptr_array_add (seeds, g_bytes_new_static (plain, sizeof plain));
  g_ptr_array_add (seeds, g_bytes_new_static (live, sizeof live));
  g_ptr_array_add (seeds, g_bytes_new_static (changes, sizeof changes));
  g_ptr_array_add (seeds, g_bytes_new_static (centuries, sizeof centuries));
  g_ptr_array_add (seeds, g_bytes_new_static (loops, sizeof loops));
}
