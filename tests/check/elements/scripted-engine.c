/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scripted-engine.h"

#include <string.h>

#include "error.h"
#include "vocabulary/vocabulary.h"

#define N_SLOTS 4
#define MAX_TOKENS 16

typedef struct {
  gboolean active;
  guint n_tokens;
  guint16 tokens[MAX_TOKENS];
  gfloat log_probs[MAX_TOKENS];
} Slot;

typedef struct {
  Mt3Backend base;
  guint lowest_pitch;
  Slot slots[N_SLOTS];
} ScriptedBackend;

Script script;

static const Mt3Config config = {
    .sample_rate = SCRIPT_RATE,
    .hop_length = 128,
    .fft_length = 2048,
    .n_mels = 512,
    .window_frames = SCRIPT_WINDOW / 128,
    .vocab_size = 1536,
    .max_tokens = 1024,
    .velocity_bins = 1,
    .ties = TRUE,
};

static void
add_token (
    Slot *slot, const Mt3Decoding *decoding, Mt3EventType type, guint value)
{
  Mt3Event event = {type, value};
  guint token = mt3_vocabulary_token (config.velocity_bins, event);

  if (decoding->allowed && !mt3_token_set_contains (decoding->allowed, token))
    return;
  slot->tokens[slot->n_tokens] = token;
  slot->log_probs[slot->n_tokens] = -0.125f;
  slot->n_tokens++;
}

static void
write_tokens (Slot *slot, const Mt3BackendWindow *window, guint lowest_pitch)
{
  const Mt3Decoding *decoding = &window->decoding;
  gboolean audible = FALSE;
  guint pitch = lowest_pitch + window->index % 12;

  for (guint i = 0; i < SCRIPT_WINDOW && !audible; i++)
    audible = window->samples[i] != 0.0f;
  slot->n_tokens = 0;
  add_token (slot, decoding, MT3_EVENT_TIE, 0);
  if (!audible)
    return;
  add_token (slot, decoding, MT3_EVENT_SHIFT, 5);
  add_token (slot, decoding, MT3_EVENT_PROGRAM, 40);
  add_token (slot, decoding, MT3_EVENT_VELOCITY, 1);
  add_token (slot, decoding, MT3_EVENT_PITCH, pitch);
  if (script.sustain)
    return;
  add_token (slot, decoding, MT3_EVENT_SHIFT, 15);
  add_token (slot, decoding, MT3_EVENT_VELOCITY, 0);
  add_token (slot, decoding, MT3_EVENT_PITCH, pitch);
}

static void
record_window (const Mt3BackendWindow *window)
{
  ScriptWindow *copy = g_new (ScriptWindow, 1);

  copy->index = window->index;
  copy->n_frames = window->n_frames;
  copy->decoding = mt3_decoding_copy (&window->decoding);
  memcpy (copy->samples, window->samples, sizeof copy->samples);
  g_ptr_array_add (script.windows, copy);
}

static gboolean
scripted_prefill (Mt3Backend *backend, const Mt3BackendWindow *windows,
    guint n_windows, GError **error)
{
  ScriptedBackend *self = (ScriptedBackend *) backend;
  gboolean fails = FALSE;

  g_mutex_lock (&script.lock);
  for (guint i = 0; i < n_windows; i++) {
    Slot *slot = &self->slots[windows[i].slot];

    slot->active = TRUE;
    write_tokens (slot, &windows[i], self->lowest_pitch);
    if (!script.forget)
      record_window (&windows[i]);
    fails |= script.fail_at == (gint64) windows[i].index;
  }
  g_mutex_unlock (&script.lock);
  if (fails)
    g_set_error (error, MT3_ERROR, script.fail_code, "the device was lost");
  return !fails;
}

static gboolean
scripted_decode (Mt3Backend *backend, guint n_steps, guint *finished,
    guint *n_finished, GError **error)
{
  ScriptedBackend *self = (ScriptedBackend *) backend;

  g_mutex_lock (&script.lock);
  script.is_held = script.hold_decode;
  g_cond_broadcast (&script.changed);
  while (script.hold_decode)
    g_cond_wait (&script.changed, &script.lock);
  script.is_held = FALSE;
  g_mutex_unlock (&script.lock);

  *n_finished = 0;
  for (guint i = 0; i < N_SLOTS; i++) {
    if (!self->slots[i].active)
      continue;
    self->slots[i].active = FALSE;
    finished[(*n_finished)++] = i;
  }
  return TRUE;
}

static void
scripted_result (Mt3Backend *backend, guint slot, Mt3BackendResult *result)
{
  ScriptedBackend *self = (ScriptedBackend *) backend;

  *result = (Mt3BackendResult){
      .n_tokens = self->slots[slot].n_tokens,
      .tokens = self->slots[slot].tokens,
      .log_probs = self->slots[slot].log_probs,
      .ended = TRUE,
  };
}

static void
scripted_release (Mt3Backend *backend, guint slot)
{
  ((ScriptedBackend *) backend)->slots[slot].active = FALSE;
}

static void
scripted_memory (Mt3Backend *backend, guint64 *host, guint64 *device)
{
  *host = sizeof (ScriptedBackend);
  *device = 0;
}

static void
scripted_close (Mt3Backend *backend)
{
  g_free (backend->description);
  g_free (backend);
  g_mutex_lock (&script.lock);
  script.n_engines--;
  g_cond_broadcast (&script.changed);
  g_mutex_unlock (&script.lock);
}

static Mt3Engine *
new_engine (const gchar *model_file)
{
  ScriptedBackend *self = g_new0 (ScriptedBackend, 1);
  gboolean slow = g_strcmp0 (model_file, SCRIPT_SLOW) == 0;
  gboolean low = slow || g_strcmp0 (model_file, SCRIPT_LOW) == 0;
  Mt3Config its_config = config;

  self->lowest_pitch = low ? 36 : 60;
  if (slow)
    its_config.sample_rate /= 2;
  its_config.ordered_events = g_strcmp0 (model_file, SCRIPT_ORDERED) == 0;

  self->base = (Mt3Backend){
      .name = "cpu",
      .description = g_strdup (model_file),
      .precision = MT3_PRECISION_EXACT,
      .n_slots = N_SLOTS,
      .max_beams = N_SLOTS,
      .prefill_batch = 1,
      .decode_steps = 1,
      .prefill = scripted_prefill,
      .decode = scripted_decode,
      .result = scripted_result,
      .release = scripted_release,
      .memory = scripted_memory,
      .close = scripted_close,
  };
  return mt3_engine_new_with_backend (&self->base, &its_config);
}

static void
remember_options (const Mt3EngineOptions *options)
{
  g_free ((gchar *) script.options.model_file);
  script.options = *options;
  script.options.model_file = g_strdup (options->model_file);
}

/* In the place of engine/open.c. */
typedef struct {
  const gchar *model_file;
  Mt3Error code;
  const gchar *reason;
} Refusal;

static const Refusal *
find_refusal (const gchar *model_file)
{
  static const Refusal refusals[] = {
      {SCRIPT_MISSING, MT3_ERROR_NOT_FOUND, "does not exist"},
      {SCRIPT_DAMAGED, MT3_ERROR_FORMAT, "is no model"},
      {SCRIPT_MISDRAFTED, MT3_ERROR_DRAFT, "has another draft network"},
  };

  for (gsize i = 0; i < G_N_ELEMENTS (refusals); i++)
    if (g_strcmp0 (model_file, refusals[i].model_file) == 0)
      return &refusals[i];
  return NULL;
}

Mt3Engine *
mt3_engine_open (const Mt3EngineOptions *options, GError **error)
{
  const Refusal *refusal = find_refusal (options->model_file);

  g_mutex_lock (&script.lock);
  remember_options (options);
  script.n_opening++;
  g_cond_broadcast (&script.changed);
  while (script.hold_open)
    g_cond_wait (&script.changed, &script.lock);
  script.n_opening--;
  script.n_opened++;
  script.n_engines += refusal == NULL;
  g_cond_broadcast (&script.changed);
  g_mutex_unlock (&script.lock);

  if (refusal == NULL)
    return new_engine (options->model_file);
  g_set_error (error, MT3_ERROR, (gint) refusal->code, "%s %s",
      refusal->model_file, refusal->reason);
  return NULL;
}

static void
free_window (gpointer window)
{
  mt3_decoding_clear (&((ScriptWindow *) window)->decoding);
  g_free (window);
}

void
script_setup (void)
{
  script.fail_at = -1;
  script.fail_code = MT3_ERROR_DEVICE;
  script.forget = FALSE;
  script.hold_open = script.hold_decode = script.sustain = FALSE;
  script.n_opened = 0;
  script.windows = g_ptr_array_new_with_free_func (free_window);
}

void
script_teardown (void)
{
  script_set_hold_open (FALSE);
  script_set_hold_decode (FALSE);
  script_wait_no_engines ();
  g_clear_pointer (&script.windows, g_ptr_array_unref);
  /* A load that was given up may not even have begun. */
  g_mutex_lock (&script.lock);
  g_free ((gchar *) script.options.model_file);
  script.options.model_file = NULL;
  g_mutex_unlock (&script.lock);
}

static void
set (gboolean *flag, gboolean value)
{
  g_mutex_lock (&script.lock);
  *flag = value;
  g_cond_broadcast (&script.changed);
  g_mutex_unlock (&script.lock);
}

void
script_set_hold_open (gboolean hold)
{
  set (&script.hold_open, hold);
}

void
script_set_hold_decode (gboolean hold)
{
  set (&script.hold_decode, hold);
}

static void
wait_until (const guint *value, guint n)
{
  g_mutex_lock (&script.lock);
  while (*value < n)
    g_cond_wait (&script.changed, &script.lock);
  g_mutex_unlock (&script.lock);
}

void
script_wait_opening (guint n)
{
  wait_until (&script.n_opening, n);
}

void
script_wait_opened (guint n)
{
  wait_until (&script.n_opened, n);
}

void
script_wait_held (void)
{
  g_mutex_lock (&script.lock);
  while (!script.is_held)
    g_cond_wait (&script.changed, &script.lock);
  g_mutex_unlock (&script.lock);
}

void
script_wait_no_engines (void)
{
  g_mutex_lock (&script.lock);
  while (script.n_engines > 0 || script.n_opening > 0)
    g_cond_wait (&script.changed, &script.lock);
  g_mutex_unlock (&script.lock);
}

guint
script_n_windows (void)
{
  guint n;

  g_mutex_lock (&script.lock);
  n = script.windows->len;
  g_mutex_unlock (&script.lock);
  return n;
}

const Mt3Decoding *
script_last_decoding (void)
{
  const ScriptWindow *last;

  g_mutex_lock (&script.lock);
  last = g_ptr_array_index (script.windows, script.windows->len - 1);
  g_mutex_unlock (&script.lock);
  return &last->decoding;
}

gfloat *
script_samples (gsize n_samples)
{
  gfloat *samples = g_new0 (gfloat, n_samples);

  g_mutex_lock (&script.lock);
  for (guint i = 0; i < script.windows->len; i++) {
    ScriptWindow *window = g_ptr_array_index (script.windows, i);
    gsize at = window->index * SCRIPT_WINDOW;

    if (at < n_samples)
      memcpy (samples + at, window->samples,
          MIN (SCRIPT_WINDOW, n_samples - at) * sizeof (gfloat));
  }
  g_mutex_unlock (&script.lock);
  return samples;
}
