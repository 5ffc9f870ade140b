/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/window.h"

void
mt3_cuda_window_start (
    Mt3CudaWindow *self, const Mt3BackendWindow *window, guint64 batch)
{
  *self = (Mt3CudaWindow){
      .slot = self->slot,
      .verifies = self->verifies,
      .state = MT3_CUDA_WINDOW_ACTIVE,
      .batch = batch,
      .lane = -1,
      .n_frames = window->n_frames,
      .index = window->index,
      .decoding = window->decoding,
      .tokens = self->tokens,
      .log_probs = self->log_probs,
      .order = mt3_token_order_start (&window->decoding.order),
  };
}

void
mt3_cuda_window_fill_row (const Mt3CudaWindow *self, Mt3CudaRow *row)
{
  *row = (Mt3CudaRow){
      .slot = (int32_t) self->slot,
      .position = (int32_t) self->n_tokens,
      .token = self->n_tokens > 0 ? self->tokens[self->n_tokens - 1]
                                  : MT3_TOKEN_START,
      .remaining = (int32_t) (self->decoding.max_tokens - self->n_tokens),
      .constrained = self->decoding.allowed != NULL,
      .top_k = (int32_t) self->decoding.top_k,
      .top_p = self->decoding.top_p,
      .temperature = self->decoding.temperature,
      .seed = self->decoding.seed,
      .index = self->index,
      .order = self->decoding.order,
      .state = self->order,
  };
  for (guint i = 0; i < G_N_ELEMENTS (row->drafts); i++)
    row->drafts[i] = self->drafts[i];
}

static void
append_token (Mt3CudaWindow *self, const Mt3CudaRecord *record)
{
  mt3_token_order_follow (&self->decoding.order, &self->order, record->token);
  self->tokens[self->n_tokens] = record->token;
  self->log_probs[self->n_tokens++] = record->log_prob;
}

static gboolean
is_over (const Mt3CudaWindow *self)
{
  return self->ended || self->overflow ||
         self->n_tokens == self->decoding.max_tokens;
}

/* Takes over a token; returns whether the text has ended. */
static gboolean
append (Mt3CudaWindow *self, const Mt3CudaRecord *record)
{
  self->overflow = (record->flags & MT3_CUDA_OVERFLOW) != 0;
  self->ended = !self->overflow && record->token == MT3_TOKEN_EOS;
  if (!self->overflow && !self->ended)
    append_token (self, record);
  if (record->flags & MT3_CUDA_DOUBT)
    self->doubt = self->n_tokens;
  if (!is_over (self))
    return FALSE;
  /* What overflows may be on a wrong way. Without a token it is prefill. */
  self->state = self->verifies && (!self->overflow || self->n_tokens > 0)
                    ? MT3_CUDA_WINDOW_DRAFTED
                    : MT3_CUDA_WINDOW_FINISHED;
  return TRUE;
}

gboolean
mt3_cuda_window_append_step (
    Mt3CudaWindow *self, const Mt3CudaRecord *records, guint n_places)
{
  for (guint i = 0; i < n_places && !(records[i].flags & MT3_CUDA_NONE); i++)
    if (append (self, &records[i]))
      return TRUE;
  for (guint i = 1; i < n_places; i++)
    self->drafts[i - 1] = (guint16) (records[i].flags >> MT3_CUDA_FLAG_BITS);
  return FALSE;
}

/* ------------------------------------------------------- verification */

static guint
count_rows (const Mt3CudaWindow *self)
{
  return self->n_tokens + (self->ended ? 1 : 0);
}

guint
mt3_cuda_window_rows_to_verify (const Mt3CudaWindow *self, gboolean doubts)
{
  if (self->verifying || self->corrected)
    return 0;
  if (self->state == MT3_CUDA_WINDOW_DRAFTED)
    return count_rows (self);
  return doubts && self->state == MT3_CUDA_WINDOW_ACTIVE &&
                 self->doubt > self->verified
             ? self->n_tokens
             : 0;
}

void
mt3_cuda_window_fill_text (
    const Mt3CudaWindow *self, Mt3CudaRow *rows, guint n_rows)
{
  Mt3CudaWindow so_far = *self;

  so_far.order = mt3_token_order_start (&self->decoding.order);
  for (guint i = 0; i < n_rows; i++) {
    so_far.n_tokens = i;
    mt3_cuda_window_fill_row (&so_far, &rows[i]);
    rows[i].remaining = 1;
    if (i < self->n_tokens)
      mt3_token_order_follow (
          &so_far.decoding.order, &so_far.order, self->tokens[i]);
  }
}

/* Its end is verified like that of any other text: then it counts what leaves
 * float16's range on the right way. */
void
mt3_cuda_window_correct (Mt3CudaWindow *self)
{
  self->order = mt3_token_order_start (&self->decoding.order);
  for (guint i = 0; i < self->n_right; i++)
    mt3_token_order_follow (
        &self->decoding.order, &self->order, self->tokens[i]);
  self->n_tokens = self->n_right;
  self->overflow = FALSE;
  self->ended = self->correction.token == MT3_TOKEN_EOS;
  if (!self->ended)
    append_token (self, &self->correction);
  self->state =
      is_over (self) ? MT3_CUDA_WINDOW_DRAFTED : MT3_CUDA_WINDOW_ACTIVE;
  self->verified = self->doubt = self->n_tokens;
  self->corrected = FALSE;
}

/* The token behind the first @n_right is @record's and not the drafted one. */
static void
note_correction (
    Mt3CudaWindow *self, guint n_right, const Mt3CudaRecord *record)
{
  self->corrected = TRUE;
  self->n_right = n_right;
  self->correction = *record;
  if (self->lane < 0)
    mt3_cuda_window_correct (self);
}

/* What leaves float16's range counts only in a whole text that is right: so it
 * does not depend on what else was drafted. (But for a query beyond 4 million
 * behind a wrong token, whose row is not a number then: hidden from the rows
 * before it, its values still are in their sums, times 0.) */
void
mt3_cuda_window_verify (Mt3CudaWindow *self, const Mt3CudaVerifier *verifier,
    const Mt3CudaText *text)
{
  const gboolean is_whole = self->state == MT3_CUDA_WINDOW_DRAFTED &&
                            text->n_rows == count_rows (self);
  gboolean overflow =
      self->overflow || mt3_cuda_verifier_overflowed (verifier, text);

  self->verifying = FALSE;
  if (self->state != MT3_CUDA_WINDOW_ACTIVE &&
      self->state != MT3_CUDA_WINDOW_DRAFTED)
    return;
  for (guint i = 0; i < text->n_rows; i++) {
    const Mt3CudaRecord *record = mt3_cuda_verifier_record (verifier, text, i);
    const gboolean is_end = i == self->n_tokens;

    if (record->flags & MT3_CUDA_OVERFLOW) {
      overflow = TRUE;
      break;
    }
    if (record->token != (is_end ? MT3_TOKEN_EOS : self->tokens[i])) {
      note_correction (self, i, record);
      return;
    }
    if (!is_end)
      self->log_probs[i] = record->log_prob;
  }
  self->verified = text->n_rows;
  if (is_whole) {
    self->overflow = overflow;
    self->state = MT3_CUDA_WINDOW_FINISHED;
  }
}
