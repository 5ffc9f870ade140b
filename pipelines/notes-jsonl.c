/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * notes-jsonl.c: prints the notes of a recording, one JSON object a line.
 */
#include "config.h"

#include <errno.h>
#include <glib-unix.h>
#include <gst/mt3/mt3.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "notes/note.h"

#define PROGRAM "mt3-notes-jsonl"

/* Live MIDI, for a file of it would be kept in memory until the end. Nobody
 * waits for the notes to be heard: sync=false. */
#define PIPELINE                                                               \
  "uridecodebin name=source caps=audio/x-raw expose-all-streams=false ! "      \
  "mt3transcribe name=mt3 post-messages=true midi-ticks=false ! "              \
  "audio/x-midi-event ! fakesink sync=false"

static const gchar summary[] =
    "Prints the notes of an audio or video file (or URI), one JSON object a\n"
    "line, each as soon as its end is known:\n"
    "\n"
    "  {\"id\":1,\"onset\":0.050000000,\"offset\":0.150000000,\"pitch\":60,\n"
    "   \"velocity\":127,\"program\":40,\"program_name\":\"Violin\",\n"
    "   \"drum\":false,\"confidence\":0.97}\n"
    "\n"
    "Times are seconds, id counts onsets, pitch is a MIDI key and program a\n"
    "General MIDI program from 0. PROPERTY is one of mt3transcribe's, such as\n"
    "device=cpu or model-file=model.safetensors.";

static const gchar description[] =
    "Exit codes:\n"
    "  0    done\n"
    "  1    it cannot be read, transcribed or written\n"
    "  2    wrong arguments\n"
    "  130  interrupted (Ctrl-C); the notes so far are printed";

enum {
  STATUS_DONE = 0,
  STATUS_FAILED = 1,
  STATUS_USAGE = 2,
  STATUS_INTERRUPTED = 130,
};

typedef struct {
  GMainLoop *loop;
  GstElement *pipeline;
  const gchar *input;
  gboolean shows_progress;
  guint interrupt; /* GSource of the signal; 0: came already */
  gchar *missing; /* (nullable): the decoder that GStreamer lacks */
  int status;
} Job;

static void
clear_progress (const Job *job)
{
  if (job->shows_progress)
    g_printerr ("\r\033[K");
}

static void
end (Job *job, int status)
{
  if (job->status == STATUS_DONE)
    job->status = status;
  g_main_loop_quit (job->loop);
}

/* printf would write the locale's decimal point. */
static void
print_seconds (const gchar *name, GstClockTime time)
{
  printf ("\"%s\":%" G_GUINT64_FORMAT ".%09u", name, time / GST_SECOND,
      (guint) (time % GST_SECOND));
}

static void
print_note (const GstMt3Note *note)
{
  gchar confidence[G_ASCII_DTOSTR_BUF_SIZE];

  g_ascii_formatd (confidence, sizeof confidence, "%.6g", note->confidence);
  printf ("{\"id\":%u,", note->id);
  print_seconds ("onset", note->onset);
  putchar (',');
  print_seconds ("offset", note->end);
  printf (",\"pitch\":%u,\"velocity\":%u,\"program\":%u,\"program_name\":\"%s\""
          ",\"drum\":%s,\"confidence\":%s}\n",
      note->pitch, note->velocity, note->program,
      mt3_program_name (note->program, note->is_drum),
      note->is_drum ? "true" : "false", confidence);
}

static void
handle_notes (Job *job, GstMessage *message)
{
  g_autoptr (GPtrArray) notes = NULL;

  if (!gst_mt3_notes_message_parse (message, NULL, NULL, NULL, NULL, &notes))
    return;
  clear_progress (job);
  for (guint i = 0; i < notes->len; i++) {
    const GstMt3Note *note = g_ptr_array_index (notes, i);

    if (GST_CLOCK_TIME_IS_VALID (note->end))
      print_note (note);
  }
  if (fflush (stdout) != 0) {
    g_printerr (PROGRAM ": cannot write: %s\n", g_strerror (errno));
    end (job, STATUS_FAILED);
  }
}

static void
handle_progress (const Job *job, GstMessage *message)
{
  g_autofree gchar *code = NULL, *text = NULL;

  gst_message_parse_progress (message, NULL, &code, &text);
  if (job->shows_progress && g_str_equal (code, "transcribe"))
    g_printerr ("\r\033[K%s", text);
}

static void
handle_missing (Job *job, GstMessage *message)
{
  if (!gst_message_has_name (message, "missing-plugin"))
    return;
  g_free (job->missing);
  job->missing = g_strdup (
      gst_structure_get_string (gst_message_get_structure (message), "name"));
}

/* What an element added for who looks closer: the last line. The others say
 * where in its code. */
static const gchar *
last_line (const gchar *details)
{
  const gchar *newline = details ? strrchr (details, '\n') : NULL;

  return newline ? newline + 1 : NULL;
}

static void
print_error (const Job *job, const gchar *text, const gchar *reason)
{
  if (reason)
    g_printerr (PROGRAM ": %s: %s (%s)\n", job->input, text, reason);
  else
    g_printerr (PROGRAM ": %s: %s\n", job->input, text);
}

static void
handle_error (Job *job, GstMessage *message)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *details = NULL;

  gst_message_parse_error (message, &error, &details);
  clear_progress (job);
  /* uridecodebin says this of a file without sound, too. */
  if (!g_error_matches (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN))
    print_error (job, error->message, last_line (details));
  else if (job->missing)
    g_printerr (PROGRAM ": %s: GStreamer lacks a plugin: %s\n", job->input,
        job->missing);
  else
    g_printerr (PROGRAM ": %s: there is no sound in it\n", job->input);
  GST_INFO ("%s", details);
  end (job, STATUS_FAILED);
}

static gboolean
handle_message (GstBus *bus, GstMessage *message, gpointer user_data)
{
  Job *job = user_data;

  switch (GST_MESSAGE_TYPE (message)) {
    case GST_MESSAGE_ELEMENT:
      handle_notes (job, message);
      handle_missing (job, message);
      break;
    case GST_MESSAGE_PROGRESS:
      handle_progress (job, message);
      break;
    case GST_MESSAGE_ERROR:
      handle_error (job, message);
      break;
    case GST_MESSAGE_EOS:
      clear_progress (job);
      end (job, STATUS_DONE);
      break;
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

/* The audio ends here, and what was heard of it is still transcribed. A second
 * Ctrl-C does not wait for that: by then GLib has taken its handler away. */
static gboolean
interrupt (gpointer user_data)
{
  Job *job = user_data;

  job->interrupt = 0;
  job->status = STATUS_INTERRUPTED;
  if (!gst_element_send_event (job->pipeline, gst_event_new_eos ()))
    g_main_loop_quit (job->loop);
  return G_SOURCE_REMOVE;
}

/* Sets PROPERTY=VALUE of @element; complains if it cannot. */
static gboolean
set_property (GstElement *element, const gchar *assignment)
{
  const gchar *equals = strchr (assignment, '=');
  g_autofree gchar *name =
      g_strndup (assignment, equals ? (gsize) (equals - assignment) : 0);
  GParamSpec *spec =
      g_object_class_find_property (G_OBJECT_GET_CLASS (element), name);
  g_auto (GValue) value = G_VALUE_INIT;

  if (!spec || !(spec->flags & G_PARAM_WRITABLE)) {
    g_printerr (PROGRAM ": %s sets no property of mt3transcribe; "
                        "gst-inspect-1.0 mt3transcribe lists them\n",
        assignment);
    return FALSE;
  }
  g_value_init (&value, spec->value_type);
  if (!gst_value_deserialize_with_pspec (&value, equals + 1, spec)) {
    g_printerr (PROGRAM ": %s cannot be %s\n", name, equals + 1);
    return FALSE;
  }
  if (g_param_value_validate (spec, &value)) {
    g_printerr (PROGRAM ": %s cannot be %s: it is out of the range that "
                        "gst-inspect-1.0 mt3transcribe tells\n",
        name, equals + 1);
    return FALSE;
  }
  g_object_set_property (G_OBJECT (element), name, &value);
  return TRUE;
}

/* Leaves INPUT and the properties in @argv; exits on --help. */
static gboolean
parse_arguments (int *argc, char ***argv)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("INPUT [PROPERTY=VALUE...]");
  g_autoptr (GError) error = NULL;

  g_set_prgname (PROGRAM);
  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, description);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (g_option_context_parse (context, argc, argv, &error) && *argc >= 2)
    return TRUE;
  g_printerr (PROGRAM ": %s; see " PROGRAM " --help\n",
      error ? error->message : "there is no INPUT");
  return FALSE;
}

/* (nullable): complains why there is none. */
static GstElement *
new_pipeline (const gchar *input)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) pipeline = gst_parse_launch_full (
      PIPELINE, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  g_autoptr (GstElement) source = NULL;
  g_autofree gchar *uri = NULL;

  /* "Mozart: Sonata.wav" looks like a URI, too. */
  if (pipeline)
    uri = gst_uri_is_valid (input) && !g_file_test (input, G_FILE_TEST_EXISTS)
              ? g_strdup (input)
              : gst_filename_to_uri (input, &error);
  if (error) {
    g_printerr (PROGRAM ": %s%s\n", error->message,
        g_error_matches (
            error, GST_PARSE_ERROR, GST_PARSE_ERROR_NO_SUCH_ELEMENT)
            ? "; install its plugin, or name its folder with GST_PLUGIN_PATH"
            : "");
    return NULL;
  }
  source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  g_object_set (source, "uri", uri, NULL);
  return g_steal_pointer (&pipeline);
}

static gboolean
set_properties (GstElement *pipeline, char **assignments)
{
  g_autoptr (GstElement) mt3 = gst_bin_get_by_name (GST_BIN (pipeline), "mt3");

  for (; *assignments; assignments++)
    if (!set_property (mt3, *assignments))
      return FALSE;
  return TRUE;
}

static void
run (Job *job)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (job->pipeline);
  guint watch = gst_bus_add_watch (bus, handle_message, job);

  job->loop = g_main_loop_new (NULL, FALSE);
  job->interrupt = g_unix_signal_add (SIGINT, interrupt, job);
  job->shows_progress = isatty (STDERR_FILENO);
  gst_element_set_state (job->pipeline, GST_STATE_PLAYING);
  g_main_loop_run (job->loop);
  gst_element_set_state (job->pipeline, GST_STATE_NULL);
  if (job->interrupt)
    g_source_remove (job->interrupt);
  g_source_remove (watch);
  g_main_loop_unref (job->loop);
  g_free (job->missing);
}

int
main (int argc, char **argv)
{
  Job job = {0};

  setlocale (LC_ALL, "");
  if (!parse_arguments (&argc, &argv))
    return STATUS_USAGE;
  job.input = argv[1];
  job.pipeline = new_pipeline (job.input);
  if (!job.pipeline)
    return STATUS_FAILED;
  if (set_properties (job.pipeline, argv + 2))
    run (&job);
  else
    job.status = STATUS_USAGE;
  gst_object_unref (job.pipeline);

  return job.status;
}
