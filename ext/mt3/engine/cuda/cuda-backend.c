/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/cuda-backend.h"

#include <stdlib.h>
#include <string.h>

#include "engine/cuda/lane.h"
#include "engine/cuda/prefill.h"
#include "engine/cuda/window.h"
#include "error.h"

/* Windows that one prefill takes: enough to fill the device, few enough for
 * the encoder's activations to stay in its cache. */
#define PREFILL_BATCH 32

/* Windows that a lane decodes while there are idle lanes: about there a step
 * starts to last longer for the number of its rows, and not only for its chain
 * of kernels. */
#define LANE_WINDOWS 30

#define MAX_LANES 8

/* From so many windows on there are fewer lanes with more rows each. */
#define WIDE_WINDOWS 192
#define WIDE_LANES 4

/* Texts are verified when they have so many rows, or so long after those before
 * were; and at once while no more windows than this are decoded. */
#define VERIFY_ROWS 4096
#define VERIFY_US 9000
#define VERIFY_WINDOWS 4

/* Steps that the scheduler is asked for: one graph. */
#define DECODE_STEPS MT3_CUDA_GRAPH_STEPS

typedef struct {
  Mt3Backend parent;
  Mt3Model *model;
  guint device_id;
  Mt3CudaMethod method;
  Mt3CudaWeights *weights;
  Mt3CudaSlots slots;
  Mt3CudaPrefill prefill;
  Mt3CudaVerifier verifier;
  guint next_text; /* slot that is asked first for a text to verify */
  gint64 verified_us; /* when a batch was last started */
  Mt3CudaLane lanes[MAX_LANES];
  guint n_lanes;
  guint n_wide; /* of these, those that take any number of rows */
  guint64 n_runs; /* of all lanes so far */
  guint64 n_shared_out; /* batches encoded when lanes were last started */
  Mt3CudaWindow *windows; /* of each slot */
  guint16 *tokens; /* [n_slots][max_tokens] */
  gfloat *log_probs; /* likewise */
  Mt3Backend *stepwise; /* opened when a window first needs it */
} Mt3CudaBackend;

static gboolean
use_device (Mt3CudaBackend *self, GError **error)
{
  return mt3_cuda_check (
      cudaSetDevice ((int) self->device_id), "select the device", error);
}

/* ------------------------------------------------------------- results */

/* Takes over what a row made; returns when the row has ended. A row without
 * remaining tokens ended in a part before: its slot may have another window. */
static void
collect_row (Mt3CudaBackend *self, const Mt3CudaLane *lane, guint row)
{
  Mt3CudaRow *host_row = &lane->host_rows[row];
  Mt3CudaWindow *window = &self->windows[host_row->slot];

  if (host_row->remaining == 0)
    return;
  if (lane->n_parts == 0)
    window->lane = -1;
  if (window->state != MT3_CUDA_WINDOW_ACTIVE)
    return;
  if (window->corrected) {
    if (window->lane < 0)
      mt3_cuda_window_correct (window);
    return;
  }
  for (guint step = 0; step < lane->n_steps; step++)
    if (mt3_cuda_window_append_step (window,
            mt3_cuda_lane_records (lane, step, row), self->weights->n_places)) {
      window->lane = -1;
      host_row->remaining = 0;
      return;
    }
}

static gboolean
collect_lane (Mt3CudaBackend *self, Mt3CudaLane *lane, GError **error)
{
  if (!mt3_cuda_lane_wait (lane, error))
    return FALSE;
  for (guint row = 0; row < lane->n_rows; row++)
    collect_row (self, lane, row);
  return TRUE;
}

/* -------------------------------------------------------------- reruns */

static Mt3Backend *open_backend (Mt3Model *model,
    const Mt3BackendOptions *options, Mt3CudaMethod method, GError **error);

static gboolean
open_stepwise (Mt3CudaBackend *self, GError **error)
{
  const Mt3BackendOptions options = {
      .precision = MT3_PRECISION_EXACT,
      .n_slots = 1,
      .device_id = self->device_id,
  };

  if (self->stepwise == NULL)
    self->stepwise =
        open_backend (self->model, &options, MT3_CUDA_STEPS_EXACTLY, error);
  return self->stepwise != NULL;
}

static gboolean
run_stepwise (Mt3CudaBackend *self, const Mt3BackendWindow *window,
    Mt3BackendResult *result, GError **error)
{
  guint finished, n_finished = 0;

  if (!open_stepwise (self, error) ||
      !self->stepwise->prefill (self->stepwise, window, 1, error))
    return FALSE;
  while (n_finished == 0)
    if (!self->stepwise->decode (self->stepwise, self->stepwise->decode_steps,
            &finished, &n_finished, error))
      return FALSE;
  self->stepwise->result (self->stepwise, 0, result);
  return TRUE;
}

/* A value of the window does not fit float16: all of it again, from its
 * samples, which are still on the device. */
static gboolean
rerun (Mt3CudaBackend *self, Mt3CudaWindow *window, GError **error)
{
  const gsize n = mt3_config_window_samples (&self->weights->config);
  g_autofree gfloat *samples = g_new (gfloat, n);
  const Mt3BackendWindow again = {
      .slot = 0,
      .n_frames = window->n_frames,
      .index = window->index,
      .samples = samples,
      .decoding = window->decoding,
  };
  Mt3BackendResult result;

  if (!mt3_cuda_check (
          cudaMemcpy (samples, self->slots.samples + window->slot * n,
              n * sizeof (gfloat), cudaMemcpyDeviceToHost),
          "copy samples from the device", error) ||
      !run_stepwise (self, &again, &result, error))
    return FALSE;
  memcpy (window->tokens, result.tokens, result.n_tokens * sizeof (guint16));
  memcpy (
      window->log_probs, result.log_probs, result.n_tokens * sizeof (gfloat));
  window->n_tokens = result.n_tokens;
  window->ended = result.ended;
  window->rerun_exact = TRUE;
  self->stepwise->release (self->stepwise, 0);
  return TRUE;
}

/* -------------------------------------------------------- verification */

static guint
count_active (const Mt3CudaBackend *self)
{
  guint n = 0;

  for (guint i = 0; i < self->parent.n_slots; i++)
    n += self->windows[i].state == MT3_CUDA_WINDOW_ACTIVE ? 1 : 0;
  return n;
}

/* A batch of few rows takes nearly as long as one of many, and what it takes
 * the lanes lack: so texts wait for others. */
static gboolean
is_time_to_verify (const Mt3CudaBackend *self, guint n_active, gboolean doubts)
{
  guint n_rows = 0;

  for (guint i = 0; i < self->parent.n_slots; i++)
    n_rows += mt3_cuda_window_rows_to_verify (&self->windows[i], doubts);
  return n_rows >= VERIFY_ROWS ||
         (n_rows > 0 &&
             (n_active <= VERIFY_WINDOWS ||
                 g_get_monotonic_time () - self->verified_us >= VERIFY_US));
}

/* Starts a batch of texts, as many as there is room for. Where many windows
 * wait there is time to find a wrong way at its end. */
static gboolean
start_verifier (Mt3CudaBackend *self, GError **error)
{
  const guint n_slots = self->parent.n_slots, first = self->next_text;
  const guint n_active = count_active (self);
  const gboolean doubts = n_active < WIDE_WINDOWS;

  if (self->method != MT3_CUDA_VERIFIES || self->verifier.busy ||
      !is_time_to_verify (self, n_active, doubts))
    return TRUE;
  for (guint i = 0; i < n_slots; i++) {
    const guint number = (first + i) % n_slots;
    Mt3CudaWindow *window = &self->windows[number];
    const guint n_rows = mt3_cuda_window_rows_to_verify (window, doubts);
    Mt3CudaRow *rows;

    if (n_rows == 0)
      continue;
    self->next_text = number;
    rows = mt3_cuda_verifier_add (&self->verifier, number, n_rows);
    if (rows == NULL)
      break;
    mt3_cuda_window_fill_text (window, rows, n_rows);
    window->verifying = TRUE;
  }
  self->verified_us = g_get_monotonic_time ();
  return mt3_cuda_verifier_start (&self->verifier, error);
}

/* Waits for the texts that are being verified. */
static gboolean
collect_texts (Mt3CudaBackend *self, GError **error)
{
  Mt3CudaVerifier *verifier = &self->verifier;

  if (!mt3_cuda_verifier_wait (verifier, error))
    return FALSE;
  for (guint i = 0; i < verifier->n_texts; i++) {
    const Mt3CudaText *text = &verifier->texts[i];

    mt3_cuda_window_verify (&self->windows[text->slot], verifier, text);
  }
  mt3_cuda_verifier_reset (verifier);
  return TRUE;
}

/* ---------------------------------------------------------------- lanes */

static gboolean
any_in_flight (const Mt3CudaBackend *self)
{
  for (guint i = 0; i < self->n_lanes; i++)
    if (self->lanes[i].n_parts > 0)
      return TRUE;
  return FALSE;
}

/* Puts at most @share slots that no lane has, and whose prefill is done, into
 * the rows of a lane. Returns how many. */
static guint
gather (Mt3CudaBackend *self, guint number, guint share)
{
  Mt3CudaLane *lane = &self->lanes[number];
  guint n = 0;

  for (guint i = 0; i < self->parent.n_slots && n < share; i++) {
    Mt3CudaWindow *window = &self->windows[i];

    if (window->state != MT3_CUDA_WINDOW_ACTIVE || window->lane >= 0 ||
        !mt3_cuda_prefill_is_done (&self->prefill, window->batch))
      continue;
    window->lane = (gint) number;
    mt3_cuda_window_fill_row (window, &lane->host_rows[n++]);
  }
  return n;
}

/* Longest first, so that blocks that take every other turn backwards, as those
 * of attention do, have equal shares. */
static int
compare_rows (const void *a, const void *b)
{
  const Mt3CudaRow *row = a, *other = b;

  return other->position - row->position;
}

static gboolean
start_lane (Mt3CudaBackend *self, guint number, guint share, guint n_steps,
    GError **error)
{
  Mt3CudaLane *lane = &self->lanes[number];
  const guint n = gather (self, number, share);

  qsort (lane->host_rows, n, sizeof (Mt3CudaRow), compare_rows);
  if (n == 0)
    return TRUE;
  lane->started = ++self->n_runs;
  return mt3_cuda_lane_start (lane, n, n_steps, error);
}

/* How many lanes decode @n_active windows. */
static guint
share_out (const Mt3CudaBackend *self, guint n_active)
{
  const guint most = n_active >= WIDE_WINDOWS
                         ? MIN (self->n_wide, self->n_lanes)
                         : self->n_lanes;

  return CLAMP ((n_active + LANE_WINDOWS - 1) / LANE_WINDOWS, 1, most);
}

/* Gives every idle lane its share of the active slots. */
static gboolean
start_lanes (Mt3CudaBackend *self, guint n_steps, GError **error)
{
  const guint n_active = count_active (self);
  const guint n_lanes = share_out (self, n_active);
  const guint share = (n_active + n_lanes - 1) / n_lanes;

  self->n_shared_out = self->prefill.n_done;
  for (guint i = 0; i < n_lanes; i++)
    if (self->lanes[i].n_parts == 0 &&
        !start_lane (self, i, share, n_steps, error))
      return FALSE;
  return TRUE;
}

/* A lane that decodes alone goes on before its results are here: nothing else
 * would use the device meanwhile. Not where windows wait to join it. */
static gboolean
continue_alone (Mt3CudaBackend *self, guint n_steps, GError **error)
{
  Mt3CudaLane *alone = NULL;
  gboolean unfinished = FALSE;

  for (guint i = 0; i < self->n_lanes; i++) {
    if (self->lanes[i].n_parts == 0)
      continue;
    if (alone != NULL)
      return TRUE;
    alone = &self->lanes[i];
  }
  for (guint i = 0; i < self->parent.n_slots; i++) {
    const Mt3CudaWindow *window = &self->windows[i];

    if (window->state == MT3_CUDA_WINDOW_ACTIVE &&
        (window->lane < 0 || window->corrected))
      return TRUE;
    unfinished |= window->state == MT3_CUDA_WINDOW_ACTIVE;
  }
  return alone == NULL || !unfinished ||
         mt3_cuda_lane_continue (alone, n_steps, error);
}

/* Has something in flight, if there is anything to do: waits for the windows
 * whose encoding ends first where no other is left, nor a text. */
static gboolean
start_any (Mt3CudaBackend *self, guint n_steps, GError **error)
{
  return start_lanes (self, n_steps, error) &&
         (any_in_flight (self) || self->verifier.busy ||
             (mt3_cuda_prefill_wait (&self->prefill, error) &&
                 start_lanes (self, n_steps, error)));
}

/* Of the lanes that are done the one that was started first; %NULL: none is. */
static Mt3CudaLane *
done_lane (Mt3CudaBackend *self)
{
  Mt3CudaLane *done = NULL;

  for (guint i = 0; i < self->n_lanes; i++) {
    Mt3CudaLane *lane = &self->lanes[i];

    if ((done == NULL || lane->started < done->started) &&
        mt3_cuda_lane_is_done (lane))
      done = lane;
  }
  return done;
}

/* Whether windows are encoded that no lane could have had yet. */
static gboolean
encoder_went_on (Mt3CudaBackend *self)
{
  mt3_cuda_prefill_is_done (&self->prefill, self->prefill.n_started);
  return self->prefill.n_done > self->n_shared_out;
}

/* Collects the first lane that is done; none, where texts are verified sooner.
 * Neither an idle lane nor the encoder stands still meanwhile. */
static gboolean
collect_next (Mt3CudaBackend *self, guint n_steps, GError **error)
{
  Mt3CudaLane *lane;

  while ((lane = done_lane (self)) == NULL) {
    if (!any_in_flight (self) || mt3_cuda_verifier_is_done (&self->verifier))
      return TRUE;
    if (!mt3_cuda_prefill_start (&self->prefill, FALSE, error) ||
        (encoder_went_on (self) && !start_lanes (self, n_steps, error)))
      return FALSE;
    g_thread_yield ();
  }
  return collect_lane (self, lane, error);
}

/* Takes what has been verified; waits for it where nothing else is left. */
static gboolean
collect_verified (Mt3CudaBackend *self, GError **error)
{
  const Mt3CudaVerifier *verifier = &self->verifier;

  return !verifier->busy ||
         (any_in_flight (self) && !mt3_cuda_verifier_is_done (verifier)) ||
         collect_texts (self, error);
}

/* ----------------------------------------------------------- interface */

static gboolean
cuda_prefill (Mt3Backend *backend, const Mt3BackendWindow *windows,
    guint n_windows, GError **error)
{
  Mt3CudaBackend *self = (Mt3CudaBackend *) backend;

  if (!use_device (self, error))
    return FALSE;
  /* A slot that was released in the middle of a run, while its text was
   * verified or its window waited for the encoder, is free after that. */
  for (guint i = 0; i < n_windows; i++) {
    const Mt3CudaWindow *window = &self->windows[windows[i].slot];

    while (window->lane >= 0)
      if (!collect_lane (self, &self->lanes[window->lane], error))
        return FALSE;
    if (window->verifying && !collect_texts (self, error))
      return FALSE;
    if (window->batch > self->prefill.n_started &&
        !mt3_cuda_prefill_start (&self->prefill, TRUE, error))
      return FALSE;
  }
  for (guint i = 0; i < n_windows; i++) {
    mt3_cuda_window_start (&self->windows[windows[i].slot], &windows[i],
        self->prefill.n_started + 1);
    if (!mt3_cuda_prefill_add (&self->prefill, &windows[i], error))
      return FALSE;
  }
  return mt3_cuda_prefill_start (&self->prefill, FALSE, error);
}

static gboolean
cuda_decode (Mt3Backend *backend, guint n_steps, guint *finished,
    guint *n_finished, GError **error)
{
  Mt3CudaBackend *self = (Mt3CudaBackend *) backend;
  guint n = 0;

  n_steps = MIN (n_steps, MT3_CUDA_RUN_STEPS);
  *n_finished = 0;
  /* The lane that was collected goes on at once, without the windows that the
   * caller has yet to bring: the device should not wait for the host. */
  if (!use_device (self, error) ||
      !mt3_cuda_prefill_start (&self->prefill, FALSE, error) ||
      !start_any (self, n_steps, error) ||
      !continue_alone (self, n_steps, error) ||
      !collect_next (self, n_steps, error) || !collect_verified (self, error) ||
      !start_lanes (self, n_steps, error) || !start_verifier (self, error))
    return FALSE;
  for (guint i = 0; i < backend->n_slots; i++) {
    Mt3CudaWindow *window = &self->windows[i];

    if (window->state != MT3_CUDA_WINDOW_FINISHED || window->reported)
      continue;
    if (window->overflow && self->method != MT3_CUDA_STEPS_EXACTLY &&
        !rerun (self, window, error))
      return FALSE;
    window->reported = TRUE;
    finished[n++] = i;
  }
  *n_finished = n;
  return TRUE;
}

static void
cuda_result (Mt3Backend *backend, guint number, Mt3BackendResult *result)
{
  const Mt3CudaWindow *window = &((Mt3CudaBackend *) backend)->windows[number];

  *result = (Mt3BackendResult){
      .n_tokens = window->n_tokens,
      .tokens = window->tokens,
      .log_probs = window->log_probs,
      .ended = window->ended,
      .rerun_exact = window->rerun_exact,
  };
}

static void
cuda_release (Mt3Backend *backend, guint number)
{
  ((Mt3CudaBackend *) backend)->windows[number].state = MT3_CUDA_WINDOW_NONE;
}

static void
cuda_memory (Mt3Backend *backend, guint64 *host, guint64 *device)
{
  Mt3CudaBackend *self = (Mt3CudaBackend *) backend;
  const gsize results =
      (sizeof (guint16) + sizeof (gfloat)) * self->weights->config.max_tokens;

  *host = self->prefill.memory.host_bytes + self->verifier.memory.host_bytes +
          backend->n_slots * results;
  *device =
      self->weights->memory.device_bytes + self->slots.memory.device_bytes +
      self->prefill.memory.device_bytes + self->verifier.memory.device_bytes;
  for (guint i = 0; i < self->n_lanes; i++) {
    *host += self->lanes[i].memory.host_bytes;
    *device += self->lanes[i].memory.device_bytes;
  }
  if (self->stepwise != NULL) {
    guint64 more_host, more_device;

    self->stepwise->memory (self->stepwise, &more_host, &more_device);
    *host += more_host;
    *device += more_device;
  }
}

static void
cuda_close (Mt3Backend *backend)
{
  Mt3CudaBackend *self = (Mt3CudaBackend *) backend;

  if (self->stepwise != NULL)
    self->stepwise->close (self->stepwise);
  cudaSetDevice ((int) self->device_id);
  for (guint i = 0; i < MAX_LANES; i++)
    mt3_cuda_lane_clear (&self->lanes[i]);
  mt3_cuda_prefill_clear (&self->prefill);
  mt3_cuda_verifier_clear (&self->verifier);
  mt3_cuda_memory_clear (&self->slots.memory);
  g_clear_pointer (&self->weights, mt3_cuda_weights_free);
  g_clear_pointer (&self->model, mt3_model_unref);
  g_free (self->windows);
  g_free (self->tokens);
  g_free (self->log_probs);
  g_free (self->parent.description);
  g_free (self);
}

/* ---------------------------------------------------------------- open */

static gboolean
check_config (const Mt3Config *config, GError **error)
{
  const guint wide = MT3_CUDA_WIDTH_MULTIPLE;

  if (config->head_dim == MT3_CUDA_HEAD_DIM && config->d_model % wide == 0 &&
      config->encoder_d_ff % wide == 0 && config->decoder_d_ff % wide == 0 &&
      config->n_mels % 32 == 0 && config->vocab_size % 32 == 0 &&
      config->vocab_size <= MT3_CUDA_MAX_VOCAB &&
      config->window_frames % MT3_CUDA_FRAME_MULTIPLE == 0 &&
      config->fft_length <= MT3_CUDA_MAX_FFT &&
      (config->fft_length & (config->fft_length - 1)) == 0)
    return TRUE;
  g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
      "the CUDA engine is written for heads of %d, widths that %u divides, "
      "windows of a multiple of %d frames, an FFT of a power of two up to %d, "
      "mels that 32 divides, and a vocabulary of at most %d that 32 divides; "
      "use the CPU for this model",
      MT3_CUDA_HEAD_DIM, wide, MT3_CUDA_FRAME_MULTIPLE, MT3_CUDA_MAX_FFT,
      MT3_CUDA_MAX_VOCAB);
  return FALSE;
}

/* Dependent launch needs Hopper; GST_MT3_CUDA_DEPENDENT_LAUNCH=0 is the way out
 * should a driver have trouble with it. */
static gboolean
describe (Mt3CudaBackend *self, gboolean *dependent, GError **error)
{
  const gchar *wish = g_getenv ("GST_MT3_CUDA_DEPENDENT_LAUNCH");
  struct cudaDeviceProp properties;

  if (!mt3_cuda_check (
          cudaGetDeviceProperties (&properties, (int) self->device_id),
          "ask for the device's properties", error))
    return FALSE;
  *dependent = properties.major >= 9 && g_strcmp0 (wish, "0") != 0;
  self->parent.description = g_strdup_printf (
      "%s, sm_%d%d", properties.name, properties.major, properties.minor);
  return TRUE;
}

static guint
lane_limit (void)
{
  const gchar *s = g_getenv ("GST_MT3_CUDA_LANES");

  return s != NULL ? CLAMP (g_ascii_strtoull (s, NULL, 10), 1, MAX_LANES)
                   : MAX_LANES;
}

static gboolean
open_lanes (Mt3CudaBackend *self, gboolean dependent, GError **error)
{
  const guint n_slots = self->slots.n_slots;

  self->n_lanes =
      MIN (lane_limit (), (n_slots + LANE_WINDOWS - 1) / LANE_WINDOWS);
  self->n_wide = MIN (self->n_lanes, WIDE_LANES);
  for (guint i = 0; i < self->n_lanes; i++) {
    const guint most = i < self->n_wide
                           ? (n_slots + self->n_wide - 1) / self->n_wide
                           : (WIDE_WINDOWS + self->n_lanes - 1) / self->n_lanes;
    const guint capacity = MAX (LANE_WINDOWS, most);

    if (!mt3_cuda_lane_init (&self->lanes[i], self->weights, &self->slots,
            capacity, dependent, error))
      return FALSE;
  }
  return TRUE;
}

static void
open_slots (Mt3CudaBackend *self)
{
  const guint n = self->slots.n_slots;
  const guint max_tokens = self->weights->config.max_tokens;

  self->windows = g_new0 (Mt3CudaWindow, n);
  self->tokens = g_new (guint16, (gsize) n * max_tokens);
  self->log_probs = g_new (gfloat, (gsize) n * max_tokens);
  for (guint i = 0; i < n; i++) {
    Mt3CudaWindow *window = &self->windows[i];

    window->slot = i;
    window->verifies = self->method == MT3_CUDA_VERIFIES;
    window->lane = -1;
    window->tokens = self->tokens + (gsize) i * max_tokens;
    window->log_probs = self->log_probs + (gsize) i * max_tokens;
  }
}

static gboolean
open_all (
    Mt3CudaBackend *self, const Mt3BackendOptions *options, GError **error)
{
  const Mt3Config *config = mt3_model_config (self->model);
  gboolean dependent;

  if (!check_config (config, error) || !use_device (self, error) ||
      !describe (self, &dependent, error))
    return FALSE;
  self->weights =
      mt3_cuda_weights_new (self->model, options->draft, self->method, error);
  if (self->weights == NULL ||
      !mt3_cuda_slots_init (
          &self->slots, self->weights, self->method, options->n_slots, error) ||
      !mt3_cuda_prefill_init (&self->prefill, self->weights, &self->slots,
          MIN (PREFILL_BATCH, self->slots.n_slots), dependent, error) ||
      !open_lanes (self, dependent, error) ||
      (self->method == MT3_CUDA_VERIFIES &&
          !mt3_cuda_verifier_init (
              &self->verifier, self->weights, &self->slots, dependent, error)))
    return FALSE;
  open_slots (self);
  mt3_model_release_pages (self->model);
  return TRUE;
}

static Mt3Backend *
open_backend (Mt3Model *model, const Mt3BackendOptions *options,
    Mt3CudaMethod method, GError **error)
{
  Mt3CudaBackend *self = g_new0 (Mt3CudaBackend, 1);
  Mt3Backend *backend = &self->parent;

  self->model = mt3_model_ref (model);
  self->device_id = options->device_id;
  self->method = method;
  backend->name = "cuda";
  backend->precision = options->precision == MT3_PRECISION_EXACT
                           ? MT3_PRECISION_EXACT
                           : MT3_PRECISION_FAST;
  backend->prefill = cuda_prefill;
  backend->decode = cuda_decode;
  backend->result = cuda_result;
  backend->release = cuda_release;
  backend->memory = cuda_memory;
  backend->close = cuda_close;
  if (!open_all (self, options, error)) {
    cuda_close (backend);
    return NULL;
  }
  backend->n_slots = self->slots.n_slots;
  backend->prefill_batch = self->prefill.batch;
  backend->decode_steps = DECODE_STEPS;
  return backend;
}

/* Float32 accuracy is what float16 drafts once it has been verified: so it is
 * nearly as fast. */
Mt3Backend *
mt3_cuda_backend_open (
    Mt3Model *model, const Mt3BackendOptions *options, GError **error)
{
  return open_backend (model, options,
      options->precision == MT3_PRECISION_EXACT ? MT3_CUDA_VERIFIES
                                                : MT3_CUDA_DRAFTS,
      error);
}
