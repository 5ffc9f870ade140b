/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu-backend.c: windows in slots, decoded together.
 *
 * The environment variable GST_MT3_CPU chooses the instruction set (scalar,
 * avx2, avx512, avx512bf16) for tests; unset, it is the best there is.
 */
#include "engine/cpu/cpu-backend.h"

#include <string.h>

#include "engine/cpu/memory.h"
#include "engine/sampler.h"
#include "error.h"

/* Slots enough to make the products of a step worth reading the weights for,
 * few enough to stay within 400 MiB with the published model. */
#define DEFAULT_SLOTS 24

/* A free slot keeps self-attention memory of so many tokens, at most. */
#define KEPT_TOKENS 192

typedef struct {
  gboolean active;
  Mt3Decoding decoding;
  guint64 index; /* of the window, for the draw */
  guint n_tokens;
  guint n_touched; /* tokens whose memory in self is resident */
  guint16 *tokens; /* max_tokens of the model */
  gfloat *log_probs;
  gboolean ended;
  guint8 *cross; /* keys and values of the window */
  guint8 *self; /* and of the tokens */
} Slot;

typedef struct {
  Mt3Backend base;
  Mt3CpuForward *forward;
  Slot *slots;
  Mt3CpuDecoderRow *rows; /* of a step */
  guint *row_slots;
  Mt3Candidate *candidates; /* [thread][vocab_size] */
  guint8 *cross; /* of all slots */
  guint8 *self;
  gsize cross_bytes, self_bytes; /* of a slot */
} CpuBackend;

static gboolean
cpu_prefill (Mt3Backend *base, const Mt3BackendWindow *windows, guint n_windows,
    GError **error)
{
  CpuBackend *backend = (CpuBackend *) base;

  for (guint i = 0; i < n_windows; i++) {
    const Mt3BackendWindow *window = &windows[i];
    Slot *slot = &backend->slots[window->slot];

    mt3_cpu_forward_log_mel (
        backend->forward, window->samples, window->n_frames);
    mt3_cpu_forward_encode (backend->forward);
    mt3_cpu_forward_cross (backend->forward, slot->cross);
    slot->active = TRUE;
    slot->decoding = window->decoding;
    slot->decoding.max_tokens =
        MIN (window->decoding.max_tokens, backend->forward->config.max_tokens);
    slot->index = window->index;
    slot->n_tokens = 0;
    slot->ended = FALSE;
  }
  return TRUE;
}

/* The token that follows row @i, and whether the slot goes on. */
static void
choose_token (gpointer data, gsize i, gsize thread)
{
  CpuBackend *backend = data;
  const Mt3CpuForward *forward = backend->forward;
  guint n = forward->config.vocab_size;
  const gfloat *logits = mt3_row (&forward->logits, i);
  Slot *slot = &backend->slots[backend->row_slots[i]];
  gsize token;
  gfloat normaliser = forward->kernels->log_sum_exp (logits, n, &token);

  if (slot->decoding.temperature > 0.0f)
    token = mt3_sampler_draw (logits, n, &slot->decoding, slot->index,
        slot->n_tokens, backend->candidates + thread * n);
  else if (slot->decoding.allowed != NULL)
    token = mt3_sampler_best (logits, n, slot->decoding.allowed);
  if (token == MT3_TOKEN_EOS) {
    slot->ended = TRUE;
    slot->active = FALSE;
    return;
  }
  slot->tokens[slot->n_tokens] = token;
  slot->log_probs[slot->n_tokens] = logits[token] - normaliser;
  slot->n_tokens++;
  slot->active = slot->n_tokens < slot->decoding.max_tokens;
}

static guint
gather_rows (CpuBackend *backend)
{
  guint n = 0;

  for (guint i = 0; i < backend->base.n_slots; i++) {
    const Slot *slot = &backend->slots[i];

    if (!slot->active)
      continue;
    backend->rows[n] = (Mt3CpuDecoderRow){
        slot->n_tokens > 0 ? slot->tokens[slot->n_tokens - 1] : MT3_TOKEN_START,
        slot->n_tokens, slot->self, slot->cross};
    backend->row_slots[n++] = i;
  }
  return n;
}

static gboolean
cpu_decode (Mt3Backend *base, guint n_steps, guint *finished, guint *n_finished,
    GError **error)
{
  CpuBackend *backend = (CpuBackend *) base;

  *n_finished = 0;
  for (guint step = 0; step < n_steps && *n_finished == 0; step++) {
    guint n_rows = gather_rows (backend);

    if (n_rows == 0)
      break;
    mt3_cpu_forward_step (backend->forward, backend->rows, n_rows);
    mt3_pool_run (backend->forward->pool, choose_token, backend, n_rows);
    for (guint i = 0; i < n_rows; i++)
      if (!backend->slots[backend->row_slots[i]].active)
        finished[(*n_finished)++] = backend->row_slots[i];
  }
  return TRUE;
}

static void
cpu_result (Mt3Backend *base, guint slot_number, Mt3BackendResult *result)
{
  const Slot *slot = &((CpuBackend *) base)->slots[slot_number];

  *result = (Mt3BackendResult){
      slot->n_tokens, slot->tokens, slot->log_probs, slot->ended, FALSE};
}

static void
cpu_release (Mt3Backend *base, guint slot_number)
{
  CpuBackend *backend = (CpuBackend *) base;
  Slot *slot = &backend->slots[slot_number];

  slot->n_touched = MAX (slot->n_touched, slot->n_tokens);
  if (slot->n_touched > KEPT_TOKENS) {
    mt3_memory_discard (slot->self, backend->self_bytes);
    slot->n_touched = 0;
  }
  slot->active = FALSE;
  slot->n_tokens = 0;
}

static void
cpu_memory (Mt3Backend *base, guint64 *host, guint64 *device)
{
  CpuBackend *backend = (CpuBackend *) base;
  const Mt3CpuForward *forward = backend->forward;

  *host = forward->weights->n_bytes + forward->n_bytes;
  for (guint i = 0; i < base->n_slots; i++) {
    const Slot *slot = &backend->slots[i];

    *host += backend->cross_bytes + backend->self_bytes /
                                        forward->config.max_tokens *
                                        MAX (slot->n_touched, slot->n_tokens);
  }
  *device = 0;
}

static void
cpu_close (Mt3Backend *base)
{
  CpuBackend *backend = (CpuBackend *) base;

  for (guint i = 0; backend->slots != NULL && i < base->n_slots; i++) {
    g_free (backend->slots[i].tokens);
    g_free (backend->slots[i].log_probs);
  }
  mt3_memory_free (backend->cross, backend->cross_bytes * base->n_slots);
  mt3_memory_free (backend->self, backend->self_bytes * base->n_slots);
  mt3_cpu_forward_free (backend->forward);
  g_free (backend->slots);
  g_free (backend->rows);
  g_free (backend->row_slots);
  g_free (backend->candidates);
  g_free (base->description);
  g_free (backend);
}

static const Mt3CpuKernels *
choose_kernels (Mt3Precision precision, GError **error)
{
  const gchar *name = g_getenv ("GST_MT3_CPU");
  const Mt3CpuKernels *kernels = mt3_cpu_kernels (name);

  if (kernels == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "This CPU cannot run the kernels \"%s\" that GST_MT3_CPU asks for: "
        "unset it, or use scalar, avx2, avx512 or avx512bf16",
        name);
    return NULL;
  }
  if (precision == MT3_PRECISION_BF16 && !kernels->fast_bf16) {
    g_set_error_literal (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "This CPU has no AVX-512 BF16 instructions: use precision exact or "
        "fast");
    return NULL;
  }
  return kernels;
}

static gboolean
make_slots (CpuBackend *backend, guint n_slots, GError **error)
{
  const Mt3CpuForward *forward = backend->forward;
  const Mt3Config *config = &forward->config;

  backend->base.n_slots = n_slots;
  backend->cross_bytes = mt3_cpu_forward_cross_bytes (forward);
  backend->self_bytes = mt3_cpu_forward_self_bytes (forward);
  backend->cross = mt3_memory_new (backend->cross_bytes * n_slots,
      MT3_PAGES_HUGE, "the keys and values of windows", error);
  if (backend->cross == NULL)
    return FALSE;
  backend->self = mt3_memory_new (backend->self_bytes * n_slots,
      MT3_PAGES_SMALL, "the keys and values of tokens", error);
  if (backend->self == NULL)
    return FALSE;
  backend->slots = g_new0 (Slot, n_slots);
  backend->rows = g_new (Mt3CpuDecoderRow, n_slots);
  backend->row_slots = g_new (guint, n_slots);
  backend->candidates = g_new (
      Mt3Candidate, mt3_pool_n_threads (forward->pool) * config->vocab_size);
  for (guint i = 0; i < n_slots; i++) {
    Slot *slot = &backend->slots[i];

    slot->tokens = g_new (guint16, config->max_tokens);
    slot->log_probs = g_new (gfloat, config->max_tokens);
    slot->cross = backend->cross + i * backend->cross_bytes;
    slot->self = backend->self + i * backend->self_bytes;
  }
  return TRUE;
}

Mt3Backend *
mt3_cpu_backend_open (
    Mt3Model *model, const Mt3BackendOptions *options, GError **error)
{
  const Mt3CpuKernels *kernels = choose_kernels (options->precision, error);
  guint n_slots = options->n_slots > 0 ? options->n_slots : DEFAULT_SLOTS;
  guint n_threads =
      options->n_threads > 0 ? options->n_threads : mt3_pool_available_cpus ();
  CpuBackend *backend;

  if (kernels == NULL)
    return NULL;
  backend = g_new0 (CpuBackend, 1);
  backend->base = (Mt3Backend){
      .name = "cpu",
      .description = g_strdup_printf ("%s, %u thread%s", kernels->name,
          n_threads, n_threads == 1 ? "" : "s"),
      .precision = options->precision,
      .prefill_batch = 1,
      .decode_steps = 1,
      .prefill = cpu_prefill,
      .decode = cpu_decode,
      .result = cpu_result,
      .release = cpu_release,
      .memory = cpu_memory,
      .close = cpu_close,
  };
  backend->forward = mt3_cpu_forward_new (
      model, options->precision, kernels, n_threads, n_slots, error);
  if (backend->forward == NULL || !make_slots (backend, n_slots, error)) {
    cpu_close (&backend->base);
    return NULL;
  }
  mt3_model_release_pages (model);
  return &backend->base;
}

void
mt3_cpu_backend_times (Mt3Backend *base, Mt3CpuTimes *times)
{
  *times = ((CpuBackend *) base)->forward->times;
}
