/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * window.h: the host's side of a slot: its window, the text that the window has
 * so far, and how much of that is sure.
 */
#pragma once

#include "engine/backend.h"
#include "engine/cuda/verifier.h"

G_BEGIN_DECLS

typedef enum {
  MT3_CUDA_WINDOW_NONE,
  MT3_CUDA_WINDOW_ACTIVE, /* its text goes on */
  MT3_CUDA_WINDOW_DRAFTED, /* to its end, but not verified */
  MT3_CUDA_WINDOW_FINISHED,
} Mt3CudaWindowState;

/**
 * Mt3CudaWindow:
 * @slot: its number
 * @verifies: drafts have to be verified
 * @reported: to the scheduler
 * @batch: of prefill, that filled the slot
 * @lane: that decodes it just now, or -1
 * @overflow: a value left float16's range
 * @order: of the text so far
 * @drafts: what a draft network expects behind it; any tokens may be
 * @tokens, @log_probs: [max_tokens], not owned
 * @verifying: the batch of texts under way has its own
 * @verified: so many tokens were found right
 * @doubt: so many are there up to the last that may be wrong
 * @corrected: the token behind the first @n_right is @correction, which has to
 *   wait for the lane
 */
typedef struct {
  guint slot;
  gboolean verifies;
  Mt3CudaWindowState state;
  gboolean reported;
  guint64 batch;
  gint lane;
  guint n_frames;
  guint64 index;
  Mt3Decoding decoding;

  guint16 *tokens;
  gfloat *log_probs;
  guint n_tokens;
  Mt3TokenState order;
  guint16 drafts[MT3_CUDA_MOST_PLACES - 1];
  gboolean ended;
  gboolean overflow;
  gboolean rerun_exact;

  gboolean verifying;
  guint verified, doubt;
  gboolean corrected;
  guint n_right;
  Mt3CudaRecord correction;
} Mt3CudaWindow;

/* A new window in the slot, which neither a lane nor the verifier has. */
void mt3_cuda_window_start (
    Mt3CudaWindow *self, const Mt3BackendWindow *window, guint64 batch);

/* The row that makes the text's next token. */
void mt3_cuda_window_fill_row (const Mt3CudaWindow *self, Mt3CudaRow *row);

/* Takes over what a step made of a row, a record of each place; returns whether
 * the text has ended. */
gboolean mt3_cuda_window_append_step (
    Mt3CudaWindow *self, const Mt3CudaRecord *records, guint n_places);

/* Rows that the text has to verify: all of it once it has ended; with @doubts
 * before, where it may have left the right way. 0 while the verifier has it. */
guint mt3_cuda_window_rows_to_verify (
    const Mt3CudaWindow *self, gboolean doubts);

/* A row for each token of the text, as if only those before it had been made,
 * and for its end if it has one: @n_rows as said above. */
void mt3_cuda_window_fill_text (
    const Mt3CudaWindow *self, Mt3CudaRow *rows, guint n_rows);

/* Takes over what the verifier found. */
void mt3_cuda_window_verify (Mt3CudaWindow *self,
    const Mt3CudaVerifier *verifier, const Mt3CudaText *text);

/* The text goes on behind what is right of it, now that no lane has it. */
void mt3_cuda_window_correct (Mt3CudaWindow *self);

G_END_DECLS
