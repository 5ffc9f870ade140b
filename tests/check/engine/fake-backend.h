/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fake-backend.h: a backend whose tokens are a function of the samples, that
 * can be held, slowed down and made to fail, and that aborts when the scheduler
 * breaks the contract of engine/backend.h.
 */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

/* The model that fake windows belong to. */
extern const Mt3Config fake_config;
extern const Mt3Decoding fake_greedy;

/* What a test does to a backend and learns of it; outlives it. */
typedef struct {
  GMutex lock;
  GCond changed;
  gboolean hold; /* decode() waits while it is set */
  gboolean is_held; /* decode() waits now */
  GString *calls; /* 'P' a prefill, 'D' a decode, in order */
  GArray *prefilled; /* guint: the windows' names, in order */
  guint max_batch; /* windows in one prefill */
  guint max_active; /* slots in one decode */
  guint max_beams; /* in one decode, of all windows */
  guint n_released; /* unfinished slots that were released */
  gboolean closed;
} FakeLog;

FakeLog *fake_log_new (void);
void fake_log_free (FakeLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FakeLog, fake_log_free)

/* The next decode() waits inside the backend until fake_log_let_go(). */
void fake_log_hold (FakeLog *log);
void fake_log_wait_until_held (FakeLog *log);
void fake_log_let_go (FakeLog *log);

/**
 * FakeOptions:
 * @prefill_us, @step_us: what a call takes
 * @fail_prefill, @fail_decode: which call fails, 1 is the first; 0 none
 * @rerun: results say that they were computed again
 */
typedef struct {
  const gchar *name;
  guint n_slots;
  guint max_beams;
  guint prefill_batch;
  guint decode_steps;
  guint prefill_us;
  guint step_us;
  guint fail_prefill;
  guint fail_decode;
  gboolean rerun;
} FakeOptions;

/* @log: (nullable) */
Mt3Backend *fake_backend_new (const FakeOptions *options, FakeLog *log);

/* A window that is recognised by @name and makes @n_tokens tokens. */
Mt3Window *fake_window (guint64 index, guint name, guint n_tokens);

/* An engine on a fake backend. */
Mt3Engine *fake_engine_new (const FakeOptions *options, FakeLog *log);

/* Pushes such a window; aborts unless the flow is OK. */
void fake_push (Mt3Stream *stream, guint64 index, guint name, guint n_tokens);

/* Pops a transcript; aborts unless it is that of the window, greedy. */
void fake_expect (Mt3Stream *stream, guint64 index, guint name, guint n_tokens);

/* Pops; aborts unless that returns @flow and no transcript. */
void fake_expect_flow (Mt3Stream *stream, Mt3Flow flow);

/* Aborts unless @transcript is what that window must give. */
void fake_check (const Mt3Transcript *transcript, guint64 index, guint name,
    guint n_tokens, const Mt3Decoding *decoding);

G_END_DECLS
