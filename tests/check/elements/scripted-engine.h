/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * scripted-engine.h: takes the place of mt3_engine_open(), so that tests of the
 * element know every note beforehand, see every sample, and can hold and break
 * what is below.
 *
 * A window is 4096 samples (0.256 s). An audible one of index i makes a note of
 * pitch 60 + i % 12 of program 40 from 0.05 to 0.15 s after its start; a silent
 * one makes none and ends what sounds. Tokens that are not allowed are left
 * out.
 */
#pragma once

#include "engine/engine.h"
#include "error.h"

G_BEGIN_DECLS

#define SCRIPT_RATE 16000
#define SCRIPT_WINDOW 4096

/* model-file that cannot be opened: MT3_ERROR_NOT_FOUND. */
#define SCRIPT_MISSING "missing.safetensors"

/* And one that is no model: MT3_ERROR_FORMAT. */
#define SCRIPT_DAMAGED "damaged.safetensors"

/* And one for which somebody named a wrong draft network: MT3_ERROR_DRAFT. */
#define SCRIPT_MISDRAFTED "misdrafted.safetensors"

/* model-files of other engines: one whose notes have pitch 36 + i % 12, and
 * another whose windows besides have the same number of samples at half the
 * rate. */
#define SCRIPT_LOW "low.safetensors"
#define SCRIPT_SLOW "slow.safetensors"

/* Whose configuration says ordered_events. */
#define SCRIPT_ORDERED "ordered.safetensors"

typedef struct {
  GMutex lock;
  GCond changed;

  /* What the test asks for */
  gboolean hold_open; /* mt3_engine_open() waits while it is set */
  gboolean hold_decode; /* the backend waits while it is set */
  gboolean sustain; /* notes end only where the next window begins */
  gint64 fail_at; /* index of the window that breaks the device; -1: none */
  Mt3Error fail_code; /* and how */
  gboolean forget; /* windows are not kept */

  /* What the test learns */
  guint n_opening; /* calls that wait now */
  guint n_opened; /* calls that are through */
  guint n_engines; /* that exist */
  gboolean is_held; /* the backend waits now */
  GPtrArray *windows; /* ScriptWindow, in the order they came */
  Mt3EngineOptions options; /* of the last call */
} Script;

typedef struct {
  guint64 index;
  guint n_frames;
  Mt3Decoding decoding; /* with a reference of its own */
  gfloat samples[SCRIPT_WINDOW];
} ScriptWindow;

extern Script script;

/* Before and after each test (a checked fixture). */
void script_setup (void);
void script_teardown (void);

void script_set_hold_open (gboolean hold);
void script_set_hold_decode (gboolean hold);
void script_wait_opening (guint n);
void script_wait_opened (guint n);
void script_wait_held (void);
/* Until no engine exists: every stream and loader is gone. */
void script_wait_no_engines (void);

/* How the last window was to be decoded. */
const Mt3Decoding *script_last_decoding (void);

/* All samples that came, in order, without the padding of the last frame's
 * end: n_samples of them. */
gfloat *script_samples (gsize n_samples);
guint script_n_windows (void);

G_END_DECLS
