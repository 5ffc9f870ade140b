/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * engine.h: windows of audio in, tokens with log-probabilities out.
 *
 * One engine per (model file, device, precision) lives in the process and is
 * shared by all who ask for it. Its scheduler thread batches the windows of
 * all streams: slots are refilled as they free, streams take turns, and what
 * a stream gets never depends on the others.
 */
#pragma once

#include "engine/backend.h"
#include "windows/windower.h"

G_BEGIN_DECLS

typedef struct _Mt3Engine Mt3Engine;
typedef struct _Mt3Stream Mt3Stream;

typedef enum {
  MT3_DEVICE_AUTO, /* CUDA when it can run, else the CPU */
  MT3_DEVICE_CPU,
  MT3_DEVICE_CUDA,
} Mt3Device;

typedef struct {
  const gchar *model_file; /* NULL: search, see model-search.h */
  Mt3Device device;
  Mt3Precision precision;
  guint cuda_device_id;
  guint n_threads; /* 0: all cores allowed. The first to open decides. */
  guint batch_size; /* slots; 0: the backend's choice. The first decides. */
  guint beam_size; /* the most beams that a window will be searched with;
                      0 or 1: no search */
} Mt3EngineOptions;

/* What an engine has done and is; all counters since it opened. */
typedef struct {
  const gchar *device; /* "cpu", "cuda" */
  const gchar *description; /* e.g. "AVX-512, 2 threads" */
  const gchar *fallback; /* why AUTO has not got CUDA, or NULL */
  Mt3Precision precision;
  guint n_slots;
  guint max_beams; /* of a window */
  guint n_streams;
  guint64 windows;
  guint64 tokens;
  guint64 reruns; /* windows that left float16's range, computed again */
  guint64 prefill_us; /* time spent in the backend */
  guint64 decode_us;
  guint64 decode_steps;
  guint64 host_bytes;
  guint64 device_bytes;
} Mt3EngineStats;

/**
 * mt3_engine_open:
 *
 * Returns the shared engine for @options, loading the model when no other user
 * has it open (blocks for as long as that takes; callers on other threads
 * wait for the same load). Thread safe.
 *
 * Returns: (transfer full): release with mt3_engine_unref().
 */
Mt3Engine *mt3_engine_open (const Mt3EngineOptions *options, GError **error);

/* Wraps a backend of one's own (tests); takes it over. Not shared. NULL when
 * no thread can be started. */
Mt3Engine *mt3_engine_new_with_backend (
    Mt3Backend *backend, const Mt3Config *config);

Mt3Engine *mt3_engine_ref (Mt3Engine *engine);
void mt3_engine_unref (Mt3Engine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Engine, mt3_engine_unref)

const Mt3Config *mt3_engine_config (Mt3Engine *engine);

/* (transfer none): where the windows of all its streams should come from, so
 * that the memory of one that is done is the next one's. */
Mt3WindowPool *mt3_engine_window_pool (Mt3Engine *engine);

const gchar *mt3_engine_model_file (Mt3Engine *engine); /* (nullable) */
void mt3_engine_get_stats (Mt3Engine *engine, Mt3EngineStats *stats);

/**
 * Mt3Transcript: the tokens of one window.
 * @allowed: (nullable): what the window was decoded with, a reference
 * @skipped: by mt3_stream_skip(): there are no tokens
 * @latency_us: from mt3_stream_push() to the result
 */
typedef struct {
  guint64 index;
  gboolean last;
  guint n_frames;
  guint n_tokens; /* without the end token */
  guint16 *tokens;
  gfloat *log_probs; /* one a token */
  gboolean ended;
  const Mt3TokenSet *allowed;
  gboolean skipped;
  gint64 latency_us;
} Mt3Transcript;

void mt3_transcript_free (Mt3Transcript *transcript);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Transcript, mt3_transcript_free)

/**
 * mt3_stream_new:
 * @max_pending: windows that may be pushed and not yet popped before
 *   mt3_stream_push() blocks; 0 is for files: enough to fill every slot, which
 *   all such streams share
 *
 * A stream is an ordered conversation with the engine. One thread pushes and
 * one pops (they may be the same only if it never exceeds max_pending).
 */
Mt3Stream *mt3_stream_new (
    Mt3Engine *engine, const Mt3Decoding *decoding, guint max_pending);

/* Waits until nothing of the stream runs in the backend, then frees it. */
void mt3_stream_free (Mt3Stream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Stream, mt3_stream_free)

typedef enum {
  MT3_FLOW_OK,
  MT3_FLOW_END, /* after the window with `last` and mt3_stream_finish() */
  MT3_FLOW_FLUSHING, /* mt3_stream_set_flushing() */
  MT3_FLOW_ERROR, /* the backend failed; *error says how */
} Mt3Flow;

/* Queues a window (transfer full); blocks while max_pending are under way. */
Mt3Flow mt3_stream_push (Mt3Stream *stream, Mt3Window *window, GError **error);

/* The same for a window that need not be decoded: its transcript has no tokens
 * and comes when those before it have come. */
Mt3Flow mt3_stream_skip (Mt3Stream *stream, Mt3Window *window, GError **error);

/* No window follows until the stream is flushed: pop returns END after the
 * last result. */
void mt3_stream_finish (Mt3Stream *stream);

/* Blocks until the next window's result, in the order of push. */
Mt3Flow mt3_stream_pop (
    Mt3Stream *stream, Mt3Transcript **transcript, GError **error);

/* TRUE: wakes and fails push and pop with FLUSHING and drops all windows, even
 * those being decoded. FALSE: ready for new windows (and not finished). */
void mt3_stream_set_flushing (Mt3Stream *stream, gboolean flushing);

/* Changes how windows pushed from now on are decoded. */
void mt3_stream_set_decoding (Mt3Stream *stream, const Mt3Decoding *decoding);

/* Windows pushed and not yet popped. */
guint mt3_stream_n_pending (Mt3Stream *stream);

G_END_DECLS
