/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-backend.h"

#include "error.h"

const Mt3Config fake_config = {
    .hop_length = 4,
    .window_frames = 4,
    .max_tokens = 64,
};

const Mt3Decoding fake_greedy = {0, 0.0f, 0, 1.0f, 0, NULL};

typedef enum { SLOT_FREE, SLOT_ACTIVE, SLOT_FINISHED } SlotState;

typedef struct {
  SlotState state;
  guint name;
  guint wanted; /* tokens that the window makes */
  guint64 index;
  Mt3Decoding decoding;
  guint n_tokens;
  guint16 tokens[64];
  gfloat log_probs[64];
} Slot;

typedef struct {
  Mt3Backend base;
  FakeOptions options;
  FakeLog *log;
  Slot *slots;
  guint n_prefills;
  guint n_decodes;
  gint busy; /* atomic: a call is under way */
} FakeBackend;

FakeLog *
fake_log_new (void)
{
  FakeLog *log = g_new0 (FakeLog, 1);

  g_mutex_init (&log->lock);
  g_cond_init (&log->changed);
  log->calls = g_string_new (NULL);
  log->prefilled = g_array_new (FALSE, FALSE, sizeof (guint));
  return log;
}

void
fake_log_free (FakeLog *log)
{
  g_string_free (log->calls, TRUE);
  g_array_unref (log->prefilled);
  g_cond_clear (&log->changed);
  g_mutex_clear (&log->lock);
  g_free (log);
}

void
fake_log_hold (FakeLog *log)
{
  g_mutex_lock (&log->lock);
  log->hold = TRUE;
  g_mutex_unlock (&log->lock);
}

void
fake_log_wait_until_held (FakeLog *log)
{
  g_mutex_lock (&log->lock);
  while (!log->is_held)
    g_cond_wait (&log->changed, &log->lock);
  g_mutex_unlock (&log->lock);
}

void
fake_log_let_go (FakeLog *log)
{
  g_mutex_lock (&log->lock);
  log->hold = FALSE;
  g_cond_broadcast (&log->changed);
  g_mutex_unlock (&log->lock);
}

static guint
mix (guint a, guint b)
{
  guint h = a * 2654435761u ^ (b + 0x9e3779b9u) * 40503u;

  h ^= h >> 15;
  h *= 2246822519u;
  return h ^ h >> 13;
}

static guint16
token_at (guint name, guint64 index, guint64 seed, guint position)
{
  guint h = mix (mix (name, (guint) index), mix ((guint) seed, position));

  return (guint16) (3 + h % 1000);
}

static gfloat
log_prob_of (guint16 token)
{
  return -(gfloat) token / 1024.0f;
}

/* One thread at a time may be inside. */
static FakeBackend *
enter (Mt3Backend *backend)
{
  FakeBackend *self = (FakeBackend *) backend;

  g_assert_true (g_atomic_int_compare_and_exchange (&self->busy, 0, 1));
  return self;
}

static void
leave (FakeBackend *self)
{
  g_atomic_int_set (&self->busy, 0);
}

static void
take_time (guint us)
{
  if (us > 0)
    g_usleep (us);
}

static void
log_prefill (
    FakeBackend *self, const Mt3BackendWindow *windows, guint n_windows)
{
  FakeLog *log = self->log;

  if (log == NULL)
    return;
  g_mutex_lock (&log->lock);
  g_string_append_c (log->calls, 'P');
  log->max_batch = MAX (log->max_batch, n_windows);
  for (guint i = 0; i < n_windows; i++)
    g_array_append_val (log->prefilled, self->slots[windows[i].slot].name);
  g_mutex_unlock (&log->lock);
}

static gboolean
fake_prefill (Mt3Backend *backend, const Mt3BackendWindow *windows,
    guint n_windows, GError **error)
{
  FakeBackend *self = enter (backend);
  gboolean fails = ++self->n_prefills == self->options.fail_prefill;

  g_assert_cmpuint (n_windows, >=, 1);
  g_assert_cmpuint (n_windows, <=, backend->prefill_batch);
  for (guint i = 0; i < n_windows; i++) {
    const Mt3BackendWindow *window = &windows[i];
    Slot *slot = &self->slots[window->slot];

    g_assert_cmpuint (window->slot, <, backend->n_slots);
    g_assert_true (slot->state == SLOT_FREE);
    g_assert_cmpuint (window->decoding.max_tokens, >, 0);
    g_assert_cmpuint (window->decoding.max_tokens, <=, fake_config.max_tokens);
    g_assert_cmpuint (window->decoding.beam_size, >=, 1);
    g_assert_cmpuint (
        window->decoding.beam_size, <=, MAX (backend->max_beams, 1));
    g_assert_cmpuint (window->n_frames, >, 0);
    slot->state = SLOT_ACTIVE;
    slot->name = (guint) window->samples[0];
    slot->wanted = (guint) window->samples[1];
    slot->index = window->index;
    slot->decoding = window->decoding;
    slot->n_tokens = 0;
  }
  log_prefill (self, windows, n_windows);
  take_time (self->options.prefill_us);
  if (fails)
    g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY, "%s: no memory for window",
        backend->name);
  leave (self);
  return !fails;
}

static void
log_decode (FakeBackend *self)
{
  FakeLog *log = self->log;
  guint n_active = 0, n_beams = 0;

  for (guint i = 0; i < self->base.n_slots; i++) {
    if (self->slots[i].state != SLOT_ACTIVE)
      continue;
    n_active++;
    n_beams += self->slots[i].decoding.beam_size;
  }
  g_assert_cmpuint (n_beams, <=, self->base.n_slots);
  if (log == NULL)
    return;
  g_mutex_lock (&log->lock);
  g_string_append_c (log->calls, 'D');
  log->max_active = MAX (log->max_active, n_active);
  log->max_beams = MAX (log->max_beams, n_beams);
  log->is_held = log->hold;
  g_cond_broadcast (&log->changed);
  while (log->hold)
    g_cond_wait (&log->changed, &log->lock);
  log->is_held = FALSE;
  g_mutex_unlock (&log->lock);
}

/* TRUE when the slot is at its end. */
static gboolean
step (Slot *slot)
{
  guint end = MIN (slot->wanted, slot->decoding.max_tokens);

  if (slot->n_tokens < end) {
    guint16 token =
        token_at (slot->name, slot->index, slot->decoding.seed, slot->n_tokens);

    slot->tokens[slot->n_tokens] = token;
    slot->log_probs[slot->n_tokens] = log_prob_of (token);
    slot->n_tokens++;
    return slot->n_tokens == slot->decoding.max_tokens;
  }
  return TRUE;
}

static gboolean
fake_decode (Mt3Backend *backend, guint n_steps, guint *finished,
    guint *n_finished, GError **error)
{
  FakeBackend *self = enter (backend);
  gboolean fails = ++self->n_decodes == self->options.fail_decode;

  log_decode (self);
  take_time (n_steps * self->options.step_us);
  *n_finished = 0;
  for (guint i = 0; i < backend->n_slots; i++) {
    Slot *slot = &self->slots[i];

    for (guint s = 0; s < n_steps && slot->state == SLOT_ACTIVE; s++) {
      if (!step (slot))
        continue;
      slot->state = SLOT_FINISHED;
      finished[(*n_finished)++] = i;
    }
  }
  if (fails)
    g_set_error (
        error, MT3_ERROR, MT3_ERROR_DEVICE, "%s: device lost", backend->name);
  leave (self);
  return !fails;
}

static void
fake_result (Mt3Backend *backend, guint i, Mt3BackendResult *result)
{
  FakeBackend *self = enter (backend);
  Slot *slot = &self->slots[i];

  g_assert_true (slot->state == SLOT_FINISHED);
  result->n_tokens = slot->n_tokens;
  result->tokens = slot->tokens;
  result->log_probs = slot->log_probs;
  result->ended = slot->n_tokens < slot->decoding.max_tokens;
  result->rerun_exact = self->options.rerun;
  leave (self);
}

static void
fake_release (Mt3Backend *backend, guint i)
{
  FakeBackend *self = enter (backend);
  Slot *slot = &self->slots[i];

  g_assert_true (slot->state != SLOT_FREE);
  if (self->log != NULL && slot->state == SLOT_ACTIVE) {
    g_mutex_lock (&self->log->lock);
    self->log->n_released++;
    g_mutex_unlock (&self->log->lock);
  }
  slot->state = SLOT_FREE;
  leave (self);
}

static void
fake_memory (Mt3Backend *backend, guint64 *host, guint64 *device)
{
  FakeBackend *self = enter (backend);

  *host = backend->n_slots * sizeof (Slot);
  *device = 0;
  leave (self);
}

static void
fake_close (Mt3Backend *backend)
{
  FakeBackend *self = enter (backend);

  if (self->log != NULL) {
    g_mutex_lock (&self->log->lock);
    self->log->closed = TRUE;
    g_mutex_unlock (&self->log->lock);
  }
  g_free (backend->description);
  g_free (self->slots);
  g_free (self);
}

Mt3Backend *
fake_backend_new (const FakeOptions *options, FakeLog *log)
{
  FakeBackend *self = g_new0 (FakeBackend, 1);
  Mt3Backend *base = &self->base;

  self->options = *options;
  self->log = log;
  base->name = options->name ? options->name : "fake";
  base->n_slots = MAX (options->n_slots, 1);
  base->max_beams = options->max_beams;
  base->prefill_batch = MAX (options->prefill_batch, 1);
  base->decode_steps = MAX (options->decode_steps, 1);
  base->description = g_strdup_printf ("%u fake slots", base->n_slots);
  base->precision = MT3_PRECISION_EXACT;
  base->prefill = fake_prefill;
  base->decode = fake_decode;
  base->result = fake_result;
  base->release = fake_release;
  base->memory = fake_memory;
  base->close = fake_close;
  self->slots = g_new0 (Slot, base->n_slots);
  return base;
}

Mt3Window *
fake_window (guint64 index, guint name, guint n_tokens)
{
  gsize n = mt3_config_window_samples (&fake_config);
  Mt3Window *window = g_malloc0 (sizeof (Mt3Window) + n * sizeof (gfloat));

  window->index = index;
  window->n_frames = fake_config.window_frames;
  window->samples[0] = (gfloat) name;
  window->samples[1] = (gfloat) n_tokens;
  return window;
}

void
fake_check (const Mt3Transcript *transcript, guint64 index, guint name,
    guint n_tokens, const Mt3Decoding *decoding)
{
  guint limit = decoding->max_tokens ? decoding->max_tokens : G_MAXUINT;

  limit = MIN (limit, fake_config.max_tokens);
  g_assert_cmpuint (transcript->index, ==, index);
  g_assert_cmpuint (transcript->n_tokens, ==, MIN (n_tokens, limit));
  g_assert_cmpint (transcript->ended, ==, n_tokens < limit);
  for (guint i = 0; i < transcript->n_tokens; i++) {
    guint16 token = token_at (name, index, decoding->seed, i);

    g_assert_cmpuint (transcript->tokens[i], ==, token);
    g_assert_cmpfloat (transcript->log_probs[i], ==, log_prob_of (token));
  }
}

Mt3Engine *
fake_engine_new (const FakeOptions *options, FakeLog *log)
{
  return mt3_engine_new_with_backend (
      fake_backend_new (options, log), &fake_config);
}

void
fake_push (Mt3Stream *stream, guint64 index, guint name, guint n_tokens)
{
  Mt3Window *window = fake_window (index, name, n_tokens);

  g_assert_cmpint (mt3_stream_push (stream, window, NULL), ==, MT3_FLOW_OK);
}

void
fake_expect (Mt3Stream *stream, guint64 index, guint name, guint n_tokens)
{
  g_autoptr (Mt3Transcript) transcript = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (
      mt3_stream_pop (stream, &transcript, &error), ==, MT3_FLOW_OK);
  g_assert_no_error (error);
  fake_check (transcript, index, name, n_tokens, &fake_greedy);
}

void
fake_expect_flow (Mt3Stream *stream, Mt3Flow flow)
{
  Mt3Transcript *transcript = NULL;

  g_assert_cmpint (mt3_stream_pop (stream, &transcript, NULL), ==, flow);
  g_assert_null (transcript);
}
