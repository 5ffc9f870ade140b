/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-model.c: opening the model beside the streaming threads.
 *
 * Opening cannot be interrupted, so each load has a thread of its own that
 * nobody joins: a state change gives the load up and goes on at once. The
 * thread keeps the element alive until it is through, but not the bin that its
 * messages go through: who gives a load up says so, and the thread is silent
 * from then on.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"
#include "error.h"

#define GST_CAT_DEFAULT gst_mt3_model_debug

/* Code of the PROGRESS messages. */
#define PROGRESS_CODE "load"

/* How long the change to PAUSED waits for a load, from the load's beginning on,
 * so that the elements of a bin wait at the same time. A file that is missing
 * or no model is known by then, and the change fails: gst-launch-1.0 does not
 * see an error that comes before its main loop runs, and would wait for ever.
 */
#define MOMENT_US 200000

typedef struct {
  GstMt3Transcribe *element;
  guint serial;
  gboolean keeps; /* the engine that is open, until this one is */
  GError *told; /* of the load in READY that this one tries again */
  Mt3EngineOptions options;
} Load;

/* Called with the load lock. */
static void
gst_mt3_transcribe_post_load_progress (
    GstMt3Transcribe *self, GstProgressType type, const gchar *text)
{
  self->load_told = type == GST_PROGRESS_TYPE_START;
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_progress (GST_OBJECT (self), type, PROGRESS_CODE, text));
}

/* What to tell the user; the code is of GST_RESOURCE_ERROR. */
static gchar *
gst_mt3_transcribe_describe_error (
    const gchar *model_file, gint error_code, gint *code)
{
  const gchar *file = model_file ? model_file : _ ("found by search");
  const gchar *variable = g_getenv ("GST_MT3_MODEL");

  switch (error_code) {
    case MT3_ERROR_NOT_FOUND:
      *code = GST_RESOURCE_ERROR_NOT_FOUND;
      if (!model_file && variable && *variable)
        return g_strdup_printf (
            _ ("The model \"%s\", which GST_MT3_MODEL names, does not exist."),
            variable);
      if (!model_file)
        return g_strdup (
            _ ("No model was found. \"mt3-model fetch\" downloads and installs "
               "one; the property model-file or the environment variable "
               "GST_MT3_MODEL names another."));
      return g_strdup_printf (_ ("The model \"%s\" does not exist."), file);
    case MT3_ERROR_IO:
      *code = GST_RESOURCE_ERROR_READ;
      return g_strdup_printf (_ ("The model \"%s\" cannot be read."), file);
    case MT3_ERROR_FORMAT:
      *code = GST_RESOURCE_ERROR_READ;
      return g_strdup_printf (
          _ ("The model \"%s\" is damaged or of another format."), file);
    case MT3_ERROR_MODEL:
      *code = GST_RESOURCE_ERROR_SETTINGS;
      return g_strdup_printf (
          _ ("The model \"%s\" is not an MT3 model."), file);
    case MT3_ERROR_DEVICE:
      *code = GST_RESOURCE_ERROR_FAILED;
      return g_strdup (_ ("The device cannot be used to transcribe."));
    case MT3_ERROR_MEMORY:
      *code = GST_RESOURCE_ERROR_NO_SPACE_LEFT;
      return g_strdup (
          _ ("There is not enough memory to transcribe. A smaller batch-size "
             "needs less."));
    case MT3_ERROR_UNSUPPORTED:
      *code = GST_RESOURCE_ERROR_SETTINGS;
      return g_strdup (
          _ ("This computer cannot transcribe with these settings."));
    case MT3_ERROR_DRAFT:
      *code = GST_RESOURCE_ERROR_SETTINGS;
      return g_strdup (
          _ ("The draft network that GST_MT3_DRAFT names cannot be used."));
    default:
      *code = GST_RESOURCE_ERROR_FAILED;
      return g_strdup (_ ("Transcription failed."));
  }
}

/* Takes @error. @type: error or warning */
static void
gst_mt3_transcribe_post (GstMt3Transcribe *self, GstMessageType type,
    const gchar *model_file, GError *error)
{
  gint code;
  gchar *text = gst_mt3_transcribe_describe_error (
      model_file, error->domain == MT3_ERROR ? error->code : -1, &code);

  gst_element_message_full (GST_ELEMENT (self), type, GST_RESOURCE_ERROR, code,
      text, g_strdup (error->message), __FILE__, GST_FUNCTION, __LINE__);
  g_error_free (error);
}

void
gst_mt3_transcribe_watch_device (GstMt3Transcribe *self)
{
  GstMt3Run *run = self->popped;
  Mt3EngineStats stats;

  mt3_engine_get_stats (run->engine, &stats);
  if (stats.device == run->device)
    return;
  run->device = stats.device;
  GST_ELEMENT_WARNING (self, RESOURCE, FAILED,
      (_ ("The GPU failed. Transcription goes on with the CPU.")),
      ("%s", stats.fallback));
  gst_mt3_transcribe_log_stats (self);
}

void
gst_mt3_transcribe_post_error (
    GstMt3Transcribe *self, const gchar *model_file, GError *error)
{
  gst_mt3_transcribe_post (self, GST_MESSAGE_ERROR, model_file, error);
}

/* Called with the load lock, by who gives loads up. */
static void
gst_mt3_transcribe_end_load_progress (GstMt3Transcribe *self)
{
  if (self->load_told)
    gst_mt3_transcribe_post_load_progress (
        self, GST_PROGRESS_TYPE_CANCELED, _ ("Not needed any more"));
}

static gboolean
gst_mt3_transcribe_load_is_current (GstMt3Transcribe *self, guint serial)
{
  gboolean current;

  g_mutex_lock (&self->lock);
  current = serial == self->model_serial;
  g_mutex_unlock (&self->lock);

  return current;
}

/* Called with the state lock. */
static void
gst_mt3_transcribe_remember_options (
    GstMt3Transcribe *self, const Mt3EngineOptions *options)
{
  gst_mt3_engine_options_clear (&self->model_options);
  self->model_options = *options;
  self->model_options.model_file = g_strdup (options->model_file);
}

/* Hands the result of a load over to whom it may concern. */
static void
gst_mt3_transcribe_take_model (
    GstMt3Transcribe *self, const Load *load, Mt3Engine *engine)
{
  Mt3Engine *old = engine;

  g_mutex_lock (&self->lock);
  if (load->serial == self->model_serial && (engine || !load->keeps)) {
    old = self->engine;
    self->engine = engine;
    self->model_state = engine ? GST_MT3_MODEL_READY : GST_MT3_MODEL_FAILED;
    gst_mt3_transcribe_remember_options (self, &load->options);
    g_cond_broadcast (&self->changed);
  }
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&old, mt3_engine_unref);
}

static void
gst_mt3_transcribe_free_load (Load *load)
{
  gst_mt3_engine_options_clear (&load->options);
  g_clear_error (&load->told);
  gst_object_unref (load->element);
  g_free (load);
}

/* Takes @error. One that a load in READY has posted already is not posted again
 * for the state change that only tried once more. */
static void
gst_mt3_transcribe_tell_error (
    GstMt3Transcribe *self, const Load *load, GError *error)
{
  if (load->told &&
      g_error_matches (error, load->told->domain, load->told->code) &&
      g_str_equal (error->message, load->told->message)) {
    g_error_free (error);
    return;
  }
  if (!load->keeps && GST_STATE (self) < GST_STATE_PAUSED) {
    g_mutex_lock (&self->lock);
    g_clear_error (&self->told_error);
    self->told_error = g_error_copy (error);
    g_mutex_unlock (&self->lock);
  }
  gst_mt3_transcribe_post (self,
      load->keeps ? GST_MESSAGE_WARNING : GST_MESSAGE_ERROR,
      load->options.model_file, error);
}

/* Takes @error, without which the model is open. */
static void
gst_mt3_transcribe_tell_result (
    GstMt3Transcribe *self, const Load *load, GError *error)
{
  g_rec_mutex_lock (&self->load_lock);
  if (!gst_mt3_transcribe_load_is_current (self, load->serial)) {
    g_clear_error (&error);
  } else if (!error) {
    gst_mt3_transcribe_post_load_progress (
        self, GST_PROGRESS_TYPE_COMPLETE, _ ("Model opened"));
  } else {
    gst_mt3_transcribe_post_load_progress (
        self, GST_PROGRESS_TYPE_ERROR, _ ("The model cannot be opened"));
    gst_mt3_transcribe_tell_error (self, load, error);
  }
  g_rec_mutex_unlock (&self->load_lock);
}

/* Takes all three. Everything is posted before the result is handed over: once
 * the streaming thread knows of a failure, upstream posts an error that says
 * nothing, and applications look at the first. */
static void
gst_mt3_transcribe_finish_load (Load *load, Mt3Engine *engine, GError *error)
{
  GstMt3Transcribe *self = load->element;

  gst_mt3_transcribe_tell_result (self, load, error);
  gst_mt3_transcribe_take_model (self, load, engine);
  if (engine)
    gst_mt3_transcribe_log_stats (self);
  gst_mt3_transcribe_free_load (load);
}

static gpointer
gst_mt3_transcribe_load_thread (gpointer data)
{
  Load *load = data;
  GError *error = NULL;
  Mt3Engine *engine = mt3_engine_open (&load->options, &error);

  gst_mt3_transcribe_finish_load (load, engine, error);

  return NULL;
}

static void
gst_mt3_transcribe_start_load (Load *load)
{
  g_autoptr (GError) cause = NULL;
  GThread *thread = g_thread_try_new (
      "mt3-model", gst_mt3_transcribe_load_thread, load, &cause);

  if (thread)
    g_thread_unref (thread);
  else
    gst_mt3_transcribe_finish_load (load, NULL,
        g_error_new (MT3_ERROR, MT3_ERROR_MEMORY, "cannot start a thread: %s",
            cause->message));
}

static Load *
gst_mt3_transcribe_new_load (GstMt3Transcribe *self)
{
  Load *load = g_new0 (Load, 1);

  load->element = gst_object_ref (self);
  GST_OBJECT_LOCK (self);
  load->options = gst_mt3_settings_engine_options (&self->settings);
  GST_OBJECT_UNLOCK (self);

  return load;
}

/* Called with the state lock. Whether @load is needed; from now on its result
 * is waited for. Gives back the engine that is of no use any more. */
static gboolean
gst_mt3_transcribe_plan_load (
    GstMt3Transcribe *self, Load *load, Mt3Engine **unused)
{
  gboolean ready = self->model_state == GST_MT3_MODEL_READY;
  gboolean equal =
      gst_mt3_engine_options_equal (&load->options, &self->model_options);

  /* A state change came first. */
  if (load->keeps && self->model_state == GST_MT3_MODEL_NONE)
    return FALSE;
  load->keeps &= ready;
  /* Ready with another load under way: that one is of no use. */
  if (equal && ready)
    self->model_serial++;
  if (equal && (ready || self->model_state == GST_MT3_MODEL_LOADING))
    return FALSE;

  load->serial = ++self->model_serial;
  if (load->keeps)
    return TRUE;
  *unused = g_steal_pointer (&self->engine);
  self->model_state = GST_MT3_MODEL_LOADING;
  self->load_begun_us = g_get_monotonic_time ();
  load->told = g_steal_pointer (&self->told_error);
  gst_mt3_transcribe_remember_options (self, &load->options);

  return TRUE;
}

/* Begins @load (transfer full), if it is needed. */
static void
gst_mt3_transcribe_begin_load (GstMt3Transcribe *self, Load *load)
{
  Mt3Engine *unused = NULL;
  guint serial;
  gboolean needed, given_up;

  g_mutex_lock (&self->lock);
  serial = self->model_serial;
  needed = gst_mt3_transcribe_plan_load (self, load, &unused);
  given_up = serial != self->model_serial;
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&unused, mt3_engine_unref);

  if (given_up)
    gst_mt3_transcribe_end_load_progress (self);
  if (!needed) {
    gst_mt3_transcribe_free_load (load);
    return;
  }
  GST_INFO_OBJECT (self, "opening the model %s",
      load->options.model_file ? load->options.model_file : "of a search");
  gst_mt3_transcribe_post_load_progress (
      self, GST_PROGRESS_TYPE_START, _ ("Opening the model"));
  gst_mt3_transcribe_start_load (load);
}

void
gst_mt3_transcribe_load_model (GstMt3Transcribe *self, gboolean keep)
{
  Load *load = gst_mt3_transcribe_new_load (self);

  load->keeps = keep;
  g_rec_mutex_lock (&self->load_lock);
  gst_mt3_transcribe_begin_load (self, load);
  g_rec_mutex_unlock (&self->load_lock);
}

void
gst_mt3_transcribe_unload_model (GstMt3Transcribe *self)
{
  Mt3Engine *engine;

  g_rec_mutex_lock (&self->load_lock);
  g_mutex_lock (&self->lock);
  engine = g_steal_pointer (&self->engine);
  self->model_state = GST_MT3_MODEL_NONE;
  self->model_serial++;
  gst_mt3_engine_options_clear (&self->model_options);
  g_clear_error (&self->told_error);
  g_mutex_unlock (&self->lock);
  gst_mt3_transcribe_end_load_progress (self);
  g_rec_mutex_unlock (&self->load_lock);
  g_clear_pointer (&engine, mt3_engine_unref);
}

gboolean
gst_mt3_transcribe_try_model (GstMt3Transcribe *self)
{
  gboolean failed;

  g_mutex_lock (&self->lock);
  while (self->model_state == GST_MT3_MODEL_LOADING &&
         g_cond_wait_until (
             &self->changed, &self->lock, self->load_begun_us + MOMENT_US))
    continue;
  failed = self->model_state == GST_MT3_MODEL_FAILED;
  g_clear_error (&self->told_error);
  g_mutex_unlock (&self->lock);

  return !failed;
}

GstFlowReturn
gst_mt3_transcribe_wait_model (GstMt3Transcribe *self, Mt3Engine **engine)
{
  GstFlowReturn ret = GST_FLOW_OK;

  g_mutex_lock (&self->lock);
  while (!self->flushing && self->model_state == GST_MT3_MODEL_LOADING)
    g_cond_wait (&self->changed, &self->lock);

  if (self->flushing)
    ret = GST_FLOW_FLUSHING;
  else if (self->model_state != GST_MT3_MODEL_READY)
    ret = GST_FLOW_ERROR;
  else
    *engine = mt3_engine_ref (self->engine);
  g_mutex_unlock (&self->lock);

  return ret;
}
