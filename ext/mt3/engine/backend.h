/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * backend.h: what a device has to do for the scheduler. The CPU engine, the
 * CUDA module (opened at run time) and the tests' fake backend implement it.
 *
 * A backend owns n_slots slots. A slot holds one window from prefill (audio to
 * log-mel, encoder, cross-attention keys and values) through decode (tokens
 * one by one) until it is released. A window that is searched with several
 * beams counts as so many: all windows together have at most n_slots. One
 * thread at a time calls a backend (the scheduler's); different backends run
 * in parallel.
 *
 * The contract that everything rests on: the tokens and log-probabilities of
 * a window depend on its samples, its n_frames and its decoding alone, bit for
 * bit: never on the other slots, the slot number, or how many steps one call
 * of decode() makes.
 */
#pragma once

#include "checkpoint/draft.h"
#include "checkpoint/model.h"
#include "engine/decoding.h"

G_BEGIN_DECLS

#define MT3_BACKEND_ABI 5

typedef enum {
  MT3_PRECISION_AUTO, /* exact on the CPU, fast on a GPU */
  MT3_PRECISION_EXACT, /* float32 accuracy: token for token the reference */
  MT3_PRECISION_FAST, /* float16 storage, float32 sums, norms and softmax */
  MT3_PRECISION_BF16, /* bfloat16 operands where the CPU has them: fastest,
                         least faithful; opt-in */
} Mt3Precision;

/**
 * Mt3BackendOptions:
 * @precision: resolved, never AUTO
 * @n_slots: windows decoded at once; 0 lets the backend choose
 * @n_threads: CPU threads; 0 is all cores this process may use
 * @device_id: which GPU
 * @draft: (nullable): what drafts for the model, read during the open only;
 *   results do not depend on what it drafts; a backend may do without
 */
typedef struct {
  Mt3Precision precision;
  guint n_slots;
  guint n_threads;
  guint device_id;
  const Mt3Draft *draft;
} Mt3BackendOptions;

/* One window to prefill into a free slot. @samples need only live during the
 * call. */
typedef struct {
  guint slot;
  guint n_frames; /* 1 .. window_frames */
  guint64 index; /* of the window in its stream, for the draw */
  const gfloat *samples; /* window_samples floats */
  Mt3Decoding decoding; /* max_tokens resolved, never 0; beam_size 1 to
                           max_beams */
} Mt3BackendWindow;

/* What a finished slot holds; the arrays belong to the backend and are valid
 * until the slot is released or prefilled again. */
typedef struct {
  guint n_tokens; /* without the end token */
  const guint16 *tokens;
  const gfloat *log_probs; /* natural log of the model's own probability (before
                              temperature, top-k and top-p) of each token */
  gboolean ended; /* FALSE: max_tokens reached without an end token */
  gboolean rerun_exact; /* left float16's range, and was computed again */
} Mt3BackendResult;

typedef struct _Mt3Backend Mt3Backend;

/**
 * Mt3Backend:
 *
 * A backend embeds this as its first member and fills it at open. All calls
 * return FALSE and set an #MT3_ERROR when the device fails; the scheduler then
 * ends the backend's life (every window in a slot is unfinished).
 */
struct _Mt3Backend {
  const gchar *name; /* "cpu", "cuda" */
  gchar *description; /* "AVX-512, 2 threads", "NVIDIA H200, sm_90" */
  Mt3Precision precision;
  guint n_slots;
  guint max_beams; /* of a window, at most n_slots; 0 or 1: no search */
  guint prefill_batch; /* windows that one prefill() call takes at most */
  guint decode_steps; /* steps that a decode() call should be asked for:
                         1 on a CPU, more where a call has a cost */

  /* Loads windows into free slots; they are active afterwards. */
  gboolean (*prefill) (Mt3Backend *backend, const Mt3BackendWindow *windows,
      guint n_windows, GError **error);

  /* Advances every active slot by up to @n_steps tokens, or more of them where
   * steps are drafted. Slots that reach their end become inactive; their
   * numbers go to @finished (room for n_slots), how many to @n_finished. May
   * return early once one finished. */
  gboolean (*decode) (Mt3Backend *backend, guint n_steps, guint *finished,
      guint *n_finished, GError **error);

  /* The result of a finished slot. */
  void (*result) (Mt3Backend *backend, guint slot, Mt3BackendResult *result);

  /* Frees a slot in whatever state it is (a stream was flushed). */
  void (*release) (Mt3Backend *backend, guint slot);

  /* Bytes held: host (weights and slots), device (0 on the CPU). */
  void (*memory) (Mt3Backend *backend, guint64 *host, guint64 *device);

  void (*close) (Mt3Backend *backend);
};

/**
 * Mt3BackendModule:
 *
 * What a loadable module exports under the name `mt3_backend_module`.
 * @probe: returns %NULL when the module can run on @device_id, else the
 *   reason, a sentence for the user; free with g_free()
 */
typedef struct {
  guint abi; /* MT3_BACKEND_ABI */
  gchar *(*probe) (guint device_id);
  Mt3Backend *(*open) (
      Mt3Model *model, const Mt3BackendOptions *options, GError **error);
} Mt3BackendModule;

/* The CPU backend, always there. */
Mt3Backend *mt3_cpu_backend_open (
    Mt3Model *model, const Mt3BackendOptions *options, GError **error);

G_END_DECLS
