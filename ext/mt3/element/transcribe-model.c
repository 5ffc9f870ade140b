/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-model.c: opening the model beside the streaming threads.
 *
 * Opening cannot be interrupted, so each load has a thread of its own that
 * nobody joins: a state change gives the load up and goes on at once. The
 * thread keeps the element alive until it is through.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"
#include "error.h"

#define GST_CAT_DEFAULT gst_mt3_model_debug

/* Code of the PROGRESS messages. */
#define PROGRESS_CODE "load"

typedef struct {
  GstMt3Transcribe *element;
  guint serial;
  Mt3EngineOptions options;
} Load;

static void
gst_mt3_transcribe_post_load_progress (
    GstMt3Transcribe *self, GstProgressType type, const gchar *text)
{
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_progress (GST_OBJECT (self), type, PROGRESS_CODE, text));
}

static void
gst_mt3_transcribe_post_not_found (
    GstMt3Transcribe *self, const gchar *file, const gchar *detail)
{
  if (file)
    GST_ELEMENT_ERROR (self, RESOURCE, NOT_FOUND,
        (_ ("The model \"%s\" does not exist."), file), ("%s", detail));
  else
    GST_ELEMENT_ERROR (self, RESOURCE, NOT_FOUND,
        (_ ("No model was found. \"mt3-model fetch\" downloads and installs "
            "one; the property model-file or the environment variable "
            "GST_MT3_MODEL names another.")),
        ("%s", detail));
}

void
gst_mt3_transcribe_post_error (
    GstMt3Transcribe *self, const gchar *model_file, GError *error)
{
  const gchar *file = model_file ? model_file : _ ("found by search");
  gint code = error->domain == MT3_ERROR ? error->code : -1;

  switch (code) {
    case MT3_ERROR_NOT_FOUND:
      gst_mt3_transcribe_post_not_found (self, model_file, error->message);
      break;
    case MT3_ERROR_IO:
      GST_ELEMENT_ERROR (self, RESOURCE, READ,
          (_ ("The model \"%s\" cannot be read."), file),
          ("%s", error->message));
      break;
    case MT3_ERROR_FORMAT:
      GST_ELEMENT_ERROR (self, RESOURCE, READ,
          (_ ("The model \"%s\" is damaged or of another format."), file),
          ("%s", error->message));
      break;
    case MT3_ERROR_MODEL:
      GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS,
          (_ ("The model \"%s\" is not an MT3 model."), file),
          ("%s", error->message));
      break;
    case MT3_ERROR_DEVICE:
      GST_ELEMENT_ERROR (self, RESOURCE, FAILED,
          (_ ("The device that transcribes failed.")), ("%s", error->message));
      break;
    case MT3_ERROR_MEMORY:
      GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT,
          (_ ("There is not enough memory to transcribe. A smaller batch-size "
              "needs less.")),
          ("%s", error->message));
      break;
    case MT3_ERROR_UNSUPPORTED:
      GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS,
          (_ ("This computer cannot transcribe with these settings.")),
          ("%s", error->message));
      break;
    default:
      GST_ELEMENT_ERROR (self, LIBRARY, FAILED, (_ ("Transcription failed.")),
          ("%s", error->message));
      break;
  }
  g_error_free (error);
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

/* Hands the result of a load over to whom it may concern. */
static void
gst_mt3_transcribe_take_model (
    GstMt3Transcribe *self, guint serial, Mt3Engine *engine)
{
  g_mutex_lock (&self->lock);
  if (serial == self->model_serial) {
    self->model_state = engine ? GST_MT3_MODEL_READY : GST_MT3_MODEL_FAILED;
    self->engine = g_steal_pointer (&engine);
    g_cond_broadcast (&self->changed);
  }
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&engine, mt3_engine_unref);
}

static void
gst_mt3_transcribe_free_load (Load *load)
{
  gst_mt3_engine_options_clear (&load->options);
  gst_object_unref (load->element);
  g_free (load);
}

/* Everything is posted before the result is handed over: once the streaming
 * thread knows of a failure, upstream posts an error that says nothing, and
 * applications look at the first. */
static gpointer
gst_mt3_transcribe_load_thread (gpointer data)
{
  Load *load = data;
  GstMt3Transcribe *self = load->element;
  GError *error = NULL;
  Mt3Engine *engine;

  gst_mt3_transcribe_post_load_progress (
      self, GST_PROGRESS_TYPE_START, _ ("Opening the model"));
  engine = mt3_engine_open (&load->options, &error);

  if (!gst_mt3_transcribe_load_is_current (self, load->serial)) {
    gst_mt3_transcribe_post_load_progress (
        self, GST_PROGRESS_TYPE_CANCELED, _ ("Not needed any more"));
    g_clear_error (&error);
  } else if (engine) {
    gst_mt3_transcribe_post_load_progress (
        self, GST_PROGRESS_TYPE_COMPLETE, _ ("Model opened"));
  } else {
    gst_mt3_transcribe_post_load_progress (
        self, GST_PROGRESS_TYPE_ERROR, _ ("The model cannot be opened"));
    gst_mt3_transcribe_post_error (self, load->options.model_file, error);
  }
  gst_mt3_transcribe_take_model (self, load->serial, engine);
  gst_mt3_transcribe_free_load (load);

  return NULL;
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

void
gst_mt3_transcribe_load_model (GstMt3Transcribe *self)
{
  Load *load = gst_mt3_transcribe_new_load (self);
  Mt3Engine *old = NULL;
  gboolean have;

  g_mutex_lock (&self->lock);
  have = (self->model_state == GST_MT3_MODEL_LOADING ||
             self->model_state == GST_MT3_MODEL_READY) &&
         gst_mt3_engine_options_equal (&load->options, &self->model_options);
  if (!have) {
    old = g_steal_pointer (&self->engine);
    self->model_state = GST_MT3_MODEL_LOADING;
    load->serial = ++self->model_serial;
    gst_mt3_engine_options_clear (&self->model_options);
    self->model_options = load->options;
    self->model_options.model_file = g_strdup (load->options.model_file);
  }
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&old, mt3_engine_unref);

  if (have) {
    gst_mt3_transcribe_free_load (load);
    return;
  }
  GST_INFO_OBJECT (
      self, "opening model %s", GST_STR_NULL (load->options.model_file));
  g_thread_unref (
      g_thread_new ("mt3-model", gst_mt3_transcribe_load_thread, load));
}

void
gst_mt3_transcribe_unload_model (GstMt3Transcribe *self)
{
  Mt3Engine *engine;

  g_mutex_lock (&self->lock);
  engine = g_steal_pointer (&self->engine);
  self->model_state = GST_MT3_MODEL_NONE;
  self->model_serial++;
  gst_mt3_engine_options_clear (&self->model_options);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&engine, mt3_engine_unref);
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
