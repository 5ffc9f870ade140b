/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/settings.h"

#define DEFAULT_DEVICE MT3_DEVICE_AUTO
#define DEFAULT_CUDA_DEVICE_ID 0
#define DEFAULT_PRECISION MT3_PRECISION_AUTO
#define DEFAULT_THREADS 0
#define DEFAULT_BATCH_SIZE 0
#define DEFAULT_UPDATE_INTERVAL 0
#define DEFAULT_POST_MESSAGES FALSE
#define DEFAULT_MIDI_TICKS TRUE

#define MAX_CUDA_DEVICES 255
#define MAX_THREADS 1024
#define MAX_BATCH_SIZE 4096

enum {
  PROP_0,
  PROP_MODEL_FILE,
  PROP_DEVICE,
  PROP_CUDA_DEVICE_ID,
  PROP_PRECISION,
  PROP_THREADS,
  PROP_BATCH_SIZE,
  PROP_UPDATE_INTERVAL,
  PROP_POST_MESSAGES,
  PROP_MIDI_TICKS,
  N_PROPERTIES,
};

#define FLAGS (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)

static const GEnumValue precisions[] = {
    {MT3_PRECISION_AUTO, "exact on the CPU, fast on a GPU", "auto"},
    {MT3_PRECISION_EXACT, "float32 accuracy: token for token the reference",
        "exact"},
    {MT3_PRECISION_FAST, "float16 storage, float32 sums", "fast"},
    {MT3_PRECISION_BF16, "bfloat16 where the CPU has it, least faithful",
        "bf16"},
    {0, NULL, NULL},
};

static GType
gst_mt3_device_get_type (void)
{
  static gsize type = 0;
  static const GEnumValue values[] = {
      {MT3_DEVICE_AUTO, "CUDA when it can run, else the CPU", "auto"},
      {MT3_DEVICE_CPU, "CPU", "cpu"},
      {MT3_DEVICE_CUDA, "CUDA, or an error that says why not", "cuda"},
      {0, NULL, NULL},
  };

  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstMt3Device", values));
  return type;
}

static GType
gst_mt3_precision_get_type (void)
{
  static gsize type = 0;

  if (g_once_init_enter (&type))
    g_once_init_leave (
        &type, g_enum_register_static ("GstMt3Precision", precisions));
  return type;
}

const gchar *
gst_mt3_precision_nick (Mt3Precision precision)
{
  return precisions[precision].value_nick;
}

void
gst_mt3_settings_init (GstMt3Settings *settings)
{
  *settings = (GstMt3Settings){
      .device = DEFAULT_DEVICE,
      .cuda_device_id = DEFAULT_CUDA_DEVICE_ID,
      .precision = DEFAULT_PRECISION,
      .threads = DEFAULT_THREADS,
      .batch_size = DEFAULT_BATCH_SIZE,
      .update_interval = DEFAULT_UPDATE_INTERVAL,
      .post_messages = DEFAULT_POST_MESSAGES,
      .midi_ticks = DEFAULT_MIDI_TICKS,
  };
  gst_mt3_note_settings_init (&settings->notes);
}

void
gst_mt3_settings_clear (GstMt3Settings *settings)
{
  g_clear_pointer (&settings->model_file, g_free);
  gst_mt3_note_settings_clear (&settings->notes);
}

static void
gst_mt3_settings_install_engine (GObjectClass *klass)
{
  /**
   * GstMt3Transcribe:model-file:
   *
   * A T5X checkpoint directory, a safetensors file or a PyTorch state dict.
   * Unset: the environment variable GST_MT3_MODEL, then
   * gst-mt3/model.safetensors in the XDG data directories, then the model that
   * was installed with the plugin.
   *
   * When set while audio flows, the model is opened in the background, and the
   * windows that begin after that are its own. The model before transcribes
   * what came before, and stays in use when the new one cannot be opened, which
   * is a warning. Notes that sound go on, unless the new model's windows are of
   * another length, rate or vocabulary: then they end there.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MODEL_FILE,
      g_param_spec_string ("model-file", "Model file",
          "T5X checkpoint directory, safetensors or PyTorch file (unset = "
          "GST_MT3_MODEL, else the installed one)",
          NULL, FLAGS | GST_PARAM_MUTABLE_PLAYING));

  /**
   * GstMt3Transcribe:device:
   *
   * Where the network runs. `auto` never fails for want of a GPU: the property
   * #GstMt3Transcribe:stats tells why it was not used.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_DEVICE,
      g_param_spec_enum ("device", "Device", "Where the network runs",
          gst_mt3_device_get_type (), DEFAULT_DEVICE,
          FLAGS | GST_PARAM_MUTABLE_READY));

  /**
   * GstMt3Transcribe:cuda-device-id:
   *
   * Counted from 0 among the GPUs that CUDA shows to the process
   * (CUDA_VISIBLE_DEVICES).
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_CUDA_DEVICE_ID,
      g_param_spec_uint ("cuda-device-id", "CUDA device id",
          "Which GPU runs the network, as CUDA numbers them", 0,
          MAX_CUDA_DEVICES, DEFAULT_CUDA_DEVICE_ID,
          FLAGS | GST_PARAM_MUTABLE_READY));

  /**
   * GstMt3Transcribe:precision:
   *
   * `exact` gives the tokens of the float32 reference; the others trade a few
   * of them for speed.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_PRECISION,
      g_param_spec_enum ("precision", "Precision", "Arithmetic of the network",
          gst_mt3_precision_get_type (), DEFAULT_PRECISION,
          FLAGS | GST_PARAM_MUTABLE_READY));

  /**
   * GstMt3Transcribe:threads:
   *
   * Elements with the same model, device and precision share one engine; the
   * first of them decides.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_THREADS,
      g_param_spec_uint ("threads", "Threads",
          "CPU threads (0 = all cores this process may use)", 0, MAX_THREADS,
          DEFAULT_THREADS, FLAGS | GST_PARAM_MUTABLE_READY));

  /**
   * GstMt3Transcribe:batch-size:
   *
   * More takes more memory and never changes a result. Of elements that share
   * an engine the first decides.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_BATCH_SIZE,
      g_param_spec_uint ("batch-size", "Batch size",
          "Windows of 2 seconds decoded at once: fewer take less memory (0 = "
          "what suits the device)",
          0, MAX_BATCH_SIZE, DEFAULT_BATCH_SIZE,
          FLAGS | GST_PARAM_MUTABLE_READY));
}

guint
gst_mt3_settings_install (GObjectClass *klass)
{
  gst_type_mark_as_plugin_api (gst_mt3_device_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_mt3_precision_get_type (), 0);
  gst_mt3_settings_install_engine (klass);

  /**
   * GstMt3Transcribe:update-interval:
   *
   * Every so many nanoseconds of audio a complete file of the notes so far is
   * written over the one before, so that a crash loses little. Only for
   * `audio/midi` and where the sink can seek (filesink can, a pipe cannot).
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_UPDATE_INTERVAL,
      g_param_spec_uint64 ("update-interval", "Update interval",
          "Rewrite the unfinished file every so many nanoseconds of audio, so "
          "that a crash loses little (0 = only at the end)",
          0, G_MAXUINT64, DEFAULT_UPDATE_INTERVAL,
          FLAGS | GST_PARAM_MUTABLE_PLAYING));

  /**
   * GstMt3Transcribe:post-messages:
   *
   * Post an element message `mt3-notes` for every window in which notes begin
   * or end, as soon as they are known and before any buffer that has them;
   * gst_mt3_notes_message_new() lists its fields. Of `audio/midi`, which comes
   * at the end only, this is the way to see the notes earlier.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_POST_MESSAGES,
      g_param_spec_boolean ("post-messages", "Post messages",
          "Post an element message mt3-notes for every window in which notes "
          "begin or end",
          DEFAULT_POST_MESSAGES, FLAGS | GST_PARAM_MUTABLE_PLAYING));

  /**
   * GstMt3Transcribe:midi-ticks:
   *
   * Whether `audio/x-midi-event` has a message 0xF9 every 10 ms, as midiparse
   * sends them. Synthesizers such as fluiddec render up to the latest message.
   * Without ticks, GAP events tell how time goes on.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_MIDI_TICKS,
      g_param_spec_boolean ("midi-ticks", "MIDI ticks",
          "Send a tick every 10 ms between the notes of live MIDI, which "
          "fluiddec needs to play evenly",
          DEFAULT_MIDI_TICKS, FLAGS | GST_PARAM_MUTABLE_READY));

  return gst_mt3_note_settings_install (klass, N_PROPERTIES);
}

gboolean
gst_mt3_settings_set (GstMt3Settings *settings, guint id, const GValue *value)
{
  switch (id) {
    case PROP_MODEL_FILE:
      g_free (settings->model_file);
      settings->model_file = g_value_dup_string (value);
      return TRUE;
    case PROP_DEVICE:
      settings->device = g_value_get_enum (value);
      return TRUE;
    case PROP_CUDA_DEVICE_ID:
      settings->cuda_device_id = g_value_get_uint (value);
      return TRUE;
    case PROP_PRECISION:
      settings->precision = g_value_get_enum (value);
      return TRUE;
    case PROP_THREADS:
      settings->threads = g_value_get_uint (value);
      return TRUE;
    case PROP_BATCH_SIZE:
      settings->batch_size = g_value_get_uint (value);
      return TRUE;
    case PROP_UPDATE_INTERVAL:
      settings->update_interval = g_value_get_uint64 (value);
      return TRUE;
    case PROP_POST_MESSAGES:
      settings->post_messages = g_value_get_boolean (value);
      return TRUE;
    case PROP_MIDI_TICKS:
      settings->midi_ticks = g_value_get_boolean (value);
      return TRUE;
    default:
      return gst_mt3_note_settings_set (
          &settings->notes, id - N_PROPERTIES, value);
  }
}

gboolean
gst_mt3_settings_get (const GstMt3Settings *settings, guint id, GValue *value)
{
  switch (id) {
    case PROP_MODEL_FILE:
      g_value_set_string (value, settings->model_file);
      return TRUE;
    case PROP_DEVICE:
      g_value_set_enum (value, settings->device);
      return TRUE;
    case PROP_CUDA_DEVICE_ID:
      g_value_set_uint (value, settings->cuda_device_id);
      return TRUE;
    case PROP_PRECISION:
      g_value_set_enum (value, settings->precision);
      return TRUE;
    case PROP_THREADS:
      g_value_set_uint (value, settings->threads);
      return TRUE;
    case PROP_BATCH_SIZE:
      g_value_set_uint (value, settings->batch_size);
      return TRUE;
    case PROP_UPDATE_INTERVAL:
      g_value_set_uint64 (value, settings->update_interval);
      return TRUE;
    case PROP_POST_MESSAGES:
      g_value_set_boolean (value, settings->post_messages);
      return TRUE;
    case PROP_MIDI_TICKS:
      g_value_set_boolean (value, settings->midi_ticks);
      return TRUE;
    default:
      return gst_mt3_note_settings_get (
          &settings->notes, id - N_PROPERTIES, value);
  }
}

Mt3EngineOptions
gst_mt3_settings_engine_options (const GstMt3Settings *settings)
{
  return (Mt3EngineOptions){
      .model_file = g_strdup (settings->model_file),
      .device = settings->device,
      .precision = settings->precision,
      .cuda_device_id = settings->cuda_device_id,
      .n_threads = settings->threads,
      .batch_size = settings->batch_size,
      .beam_size = settings->notes.beam_size,
  };
}

gboolean
gst_mt3_engine_options_equal (
    const Mt3EngineOptions *a, const Mt3EngineOptions *b)
{
  return g_strcmp0 (a->model_file, b->model_file) == 0 &&
         a->device == b->device && a->precision == b->precision &&
         a->cuda_device_id == b->cuda_device_id &&
         a->n_threads == b->n_threads && a->batch_size == b->batch_size &&
         a->beam_size == b->beam_size;
}

void
gst_mt3_engine_options_clear (Mt3EngineOptions *options)
{
  g_free ((gchar *) options->model_file);
  options->model_file = NULL;
}
