/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu-backend.c: windows in slots, decoded together.
 *
 * The environment variable GST_MT3_CPU chooses the instruction set (scalar,
 * avx2, avx512, avx512bf16) for tests; unset, it is the best there is.
 */
#include "engine/cpu/cpu-backend.h"

#include <string.h>

#include "engine/beam.h"
#include "engine/cpu/memory.h"
#include "engine/sampler.h"
#include "error.h"

/* Slots enough to make the products of a step worth reading the weights for,
 * few enough to stay within 400 MiB with the published model. */
#define DEFAULT_SLOTS 24

/* A free history keeps memory of so many tokens, at most. */
#define KEPT_TOKENS 192

/* Self-attention keys and values of a text that is being written. */
typedef struct {
  guint8 *self;
  guint n_touched; /* tokens whose memory is resident */
  gboolean taken;
} History;

/* A window. Its live texts have a history each: one, or the beams of a search,
 * whose histories are in the order of the beams. */
typedef struct {
  gboolean active;
  Mt3Decoding decoding;
  guint64 index; /* of the window, for the draw */
  Mt3TokenState text; /* so far; not of a search */
  guint n_tokens;
  guint16 *tokens; /* max_tokens of the model */
  gfloat *log_probs;
  gboolean ended;
  guint8 *cross; /* keys and values of the window */
  History *histories[MT3_MAX_BEAMS]; /* beam_size of them */
  Mt3BeamSearch *search; /* NULL: greedy or drawn */
} Slot;

/* What becomes of a row's logits. */
typedef struct {
  Slot *slot;
  guint beam;
  Mt3BeamCandidate *candidates; /* of a search */
} RowChoice;

typedef struct {
  Mt3Backend base;
  Mt3CpuForward *forward;
  Slot *slots;
  History *histories; /* as many as slots */
  Mt3CpuDecoderRow *rows; /* of a step */
  RowChoice *choices; /* of its rows */
  Mt3BeamCandidate *continuations; /* of its searches */
  Mt3Candidate *candidates; /* of draws, [thread][vocab_size] */
  guint8 *cross; /* of all slots */
  guint8 *self; /* of all histories */
  gsize cross_bytes, self_bytes; /* of one of them */
} CpuBackend;

static void
take_histories (CpuBackend *backend, Slot *slot)
{
  History *history = backend->histories;

  for (guint i = 0; i < slot->decoding.beam_size; history++) {
    if (history->taken)
      continue;
    history->taken = TRUE;
    slot->histories[i++] = history;
  }
}

static void
begin_texts (CpuBackend *backend, Slot *slot)
{
  const Mt3Decoding *decoding = &slot->decoding;

  slot->active = TRUE;
  slot->n_tokens = 0;
  slot->ended = FALSE;
  take_histories (backend, slot);
  slot->text = mt3_token_order_start (&decoding->order);
  if (decoding->beam_size > 1)
    slot->search = mt3_beam_search_new (decoding);
}

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
    slot->decoding = window->decoding;
    slot->decoding.max_tokens =
        MIN (window->decoding.max_tokens, backend->forward->config.max_tokens);
    slot->decoding.beam_size = MAX (window->decoding.beam_size, 1);
    slot->index = window->index;
    begin_texts (backend, slot);
  }
  return TRUE;
}

/* The token that follows row @i, and whether the slot goes on; of a search,
 * those that may follow. */
static void
choose_token (gpointer data, gsize i, gsize thread)
{
  CpuBackend *backend = data;
  const Mt3CpuForward *forward = backend->forward;
  const RowChoice *choice = &backend->choices[i];
  guint n = forward->config.vocab_size;
  const gfloat *logits = mt3_row (&forward->logits, i);
  Slot *slot = choice->slot;
  gsize token;
  gfloat normaliser = forward->kernels->log_sum_exp (logits, n, &token);

  if (slot->search != NULL) {
    mt3_beam_search_rank (
        slot->search, choice->beam, logits, n, normaliser, choice->candidates);
    return;
  }
  if (slot->decoding.temperature > 0.0f)
    token = mt3_sampler_draw (logits, n, &slot->decoding, &slot->text,
        slot->index, slot->n_tokens, backend->candidates + thread * n);
  else if (!mt3_decoding_permits (&slot->decoding, &slot->text, token))
    token = mt3_sampler_best (logits, n, &slot->decoding, &slot->text);
  if (token == MT3_TOKEN_EOS) {
    slot->ended = TRUE;
    slot->active = FALSE;
    return;
  }
  slot->tokens[slot->n_tokens] = token;
  slot->log_probs[slot->n_tokens] = logits[token] - normaliser;
  slot->n_tokens++;
  mt3_token_order_follow (&slot->decoding.order, &slot->text, token);
  slot->active = slot->n_tokens < slot->decoding.max_tokens;
}

static guint
last_token (const Slot *slot, guint beam)
{
  if (slot->n_tokens == 0)
    return MT3_TOKEN_START;
  return slot->search != NULL ? mt3_beam_search_last (slot->search, beam)->token
                              : slot->tokens[slot->n_tokens - 1];
}

/* The rows of a window follow each other. */
static guint
gather_rows (CpuBackend *backend)
{
  Mt3BeamCandidate *continuations = backend->continuations;
  guint n = 0;

  for (guint i = 0; i < backend->base.n_slots; i++) {
    Slot *slot = &backend->slots[i];
    guint n_texts = slot->search != NULL ? slot->search->n_live : 1;

    if (!slot->active)
      continue;
    for (guint beam = 0; beam < n_texts; beam++, n++) {
      History *history = slot->histories[beam];

      history->n_touched = MAX (history->n_touched, slot->n_tokens + 1);
      backend->rows[n] = (Mt3CpuDecoderRow){
          last_token (slot, beam), slot->n_tokens, history->self, slot->cross};
      backend->choices[n] = (RowChoice){slot, beam, continuations};
      if (slot->search != NULL)
        continuations += mt3_beam_search_n_candidates (slot->search);
    }
  }
  return n;
}

/* The @to-th of the histories that a search had @before its last step gets what
 * is in the @from-th. Only the first @n_before of them are of texts; these part
 * late, so little is not there already. */
static void
copy_history (CpuBackend *backend, const Slot *slot, History *const *before,
    guint from, guint to, guint n_before)
{
  guint n_tokens = slot->search->n_tokens - 1, first = 0;

  /* The start token has a place too, before those of the text. */
  if (to < n_before)
    first = 1 + mt3_beam_search_in_common (slot->search, n_tokens, from, to);
  mt3_cpu_forward_copy_tokens (backend->forward, before[from]->self,
      before[to]->self, first, n_tokens + 1);
}

/* The live texts go on from the @n_before there were before the step: the first
 * that goes on from one keeps its history, the others get copies in those that
 * nobody keeps. */
static void
follow_texts (CpuBackend *backend, Slot *slot, guint n_before)
{
  const Mt3BeamSearch *search = slot->search;
  History *before[MT3_MAX_BEAMS];
  gboolean kept[MT3_MAX_BEAMS] = {FALSE};
  guint spare = 0;

  memcpy (before, slot->histories, sizeof before);
  for (guint beam = 0; beam < search->n_live; beam++) {
    guint parent = mt3_beam_search_last (search, beam)->parent;

    slot->histories[beam] = kept[parent] ? NULL : before[parent];
    kept[parent] = TRUE;
  }
  for (guint beam = 0; beam < search->n_beams; beam++) {
    if (beam < search->n_live && slot->histories[beam] != NULL)
      continue;
    while (kept[spare])
      spare++;
    if (beam < search->n_live)
      copy_history (backend, slot, before,
          mt3_beam_search_last (search, beam)->parent, spare, n_before);
    slot->histories[beam] = before[spare++];
  }
}

/* The step of a search, once the rows of its live texts have been ranked. */
static void
step_search (CpuBackend *backend, Slot *slot, Mt3BeamCandidate *candidates)
{
  Mt3BeamSearch *search = slot->search;
  guint n_before = search->n_live;

  slot->active = mt3_beam_search_step (
      search, candidates, n_before * mt3_beam_search_n_candidates (search));
  slot->n_tokens = search->n_tokens;
  if (slot->active)
    follow_texts (backend, slot, n_before);
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
    for (guint i = 0; i < n_rows; i++) {
      const RowChoice *choice = &backend->choices[i];

      if (choice->beam > 0)
        continue;
      if (choice->slot->search != NULL)
        step_search (backend, choice->slot, choice->candidates);
      if (!choice->slot->active)
        finished[(*n_finished)++] = choice->slot - backend->slots;
    }
  }
  return TRUE;
}

static void
cpu_result (Mt3Backend *base, guint slot_number, Mt3BackendResult *result)
{
  Slot *slot = &((CpuBackend *) base)->slots[slot_number];
  guint n_tokens = slot->n_tokens;

  if (slot->search != NULL)
    n_tokens = mt3_beam_search_read (
        slot->search, slot->tokens, slot->log_probs, &slot->ended);
  *result = (Mt3BackendResult){
      n_tokens, slot->tokens, slot->log_probs, slot->ended, FALSE};
}

static void
cpu_release (Mt3Backend *base, guint slot_number)
{
  CpuBackend *backend = (CpuBackend *) base;
  Slot *slot = &backend->slots[slot_number];

  for (guint i = 0; i < slot->decoding.beam_size; i++) {
    History *history = slot->histories[i];

    if (history->n_touched > KEPT_TOKENS) {
      mt3_memory_discard (history->self, backend->self_bytes);
      history->n_touched = 0;
    }
    history->taken = FALSE;
  }
  g_clear_pointer (&slot->search, mt3_beam_search_free);
  slot->active = FALSE;
  slot->decoding.beam_size = 0;
}

static void
cpu_memory (Mt3Backend *base, guint64 *host, guint64 *device)
{
  CpuBackend *backend = (CpuBackend *) base;
  const Mt3CpuForward *forward = backend->forward;

  *host = forward->weights->n_bytes + forward->n_bytes +
          base->n_slots * backend->cross_bytes;
  for (guint i = 0; i < base->n_slots; i++)
    *host += backend->self_bytes / forward->config.max_tokens *
             backend->histories[i].n_touched;
  *device = 0;
}

static void
cpu_close (Mt3Backend *base)
{
  CpuBackend *backend = (CpuBackend *) base;

  for (guint i = 0; backend->slots != NULL && i < base->n_slots; i++) {
    g_free (backend->slots[i].tokens);
    g_free (backend->slots[i].log_probs);
    mt3_beam_search_free (backend->slots[i].search);
  }
  mt3_memory_free (backend->cross, backend->cross_bytes * base->n_slots);
  mt3_memory_free (backend->self, backend->self_bytes * base->n_slots);
  mt3_cpu_forward_free (backend->forward);
  g_free (backend->slots);
  g_free (backend->histories);
  g_free (backend->rows);
  g_free (backend->choices);
  g_free (backend->continuations);
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
  backend->base.max_beams = MIN (n_slots, MT3_MAX_BEAMS);
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
  backend->histories = g_new0 (History, n_slots);
  backend->rows = g_new (Mt3CpuDecoderRow, n_slots);
  backend->choices = g_new (RowChoice, n_slots);
  backend->continuations =
      g_new (Mt3BeamCandidate, n_slots * 2 * backend->base.max_beams);
  backend->candidates = g_new (
      Mt3Candidate, mt3_pool_n_threads (forward->pool) * config->vocab_size);
  for (guint i = 0; i < n_slots; i++) {
    Slot *slot = &backend->slots[i];

    slot->tokens = g_new (guint16, config->max_tokens);
    slot->log_probs = g_new (gfloat, config->max_tokens);
    slot->cross = backend->cross + i * backend->cross_bytes;
    backend->histories[i].self = backend->self + i * backend->self_bytes;
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
