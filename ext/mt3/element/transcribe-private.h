/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-private.h: what the files of the element share.
 *
 * Two threads pass the audio on, and a third opens the model:
 *
 *   sink pad's streaming thread (transcribe-sink.c, transcribe-windows.c)
 *     convert, cut into windows, push them into the engine's stream, which
 *     blocks when enough of them are under way
 *   source pad's task (transcribe-src.c)
 *     pop transcripts from the stream, decode notes, push buffers
 *   model thread (transcribe-model.c)
 *     opens the engine while the pipeline prerolls
 *
 * Locks: the object lock guards the settings; the state lock guards what the
 * comments below say. Neither is held while something is pushed, queried,
 * posted or waited for in the engine, and never both. The load lock, taken
 * before them, is held while the progress of a load is posted, so that a state
 * change waits for the message's end: its bin may be gone afterwards. What
 * hears the message may change the state itself, so it is recursive.
 */
#pragma once

#include <gst/gst.h>

#include "element/audio-input.h"
#include "element/gstmt3transcribe.h"
#include "element/note-messages.h"
#include "element/output.h"
#include "element/settings.h"
#include "notes/note-decoder.h"

G_BEGIN_DECLS

typedef enum {
  GST_MT3_MODEL_NONE,
  GST_MT3_MODEL_LOADING,
  GST_MT3_MODEL_READY,
  GST_MT3_MODEL_FAILED,
} GstMt3ModelState;

/* What the stats property tells about this element; state lock. */
typedef struct {
  Mt3NoteDecoderStats notes;
  guint64 tokens;
  guint64 replaced_samples;
  guint64 dropped_windows; /* of live audio */
  gdouble audio_seconds; /* transcribed */
  gint64 started_us; /* first window pushed; 0: none yet */
  gint64 transcribed_us; /* last window popped */
  GstClockTime window_latency; /* of the last one, from its last sample on */
  GstClockTime window_latency_max;
} GstMt3RunStats;

/**
 * GstMt3Run:
 *
 * The part of the audio that one engine transcribes.
 *
 * @start: where index 0 of its windows begins, since the first sample of all
 * @device: that the engine has, as far as the task has told; interned
 * @segment_done: (nullable): ended the segment, and the run before
 */
typedef struct {
  Mt3Engine *engine;
  Mt3Stream *stream;
  GstClockTime start;
  const gchar *device;
  GstEvent *segment_done;
} GstMt3Run;

/* What transcribe-live.c knows; state lock. */
typedef struct {
  gboolean is_live; /* upstream, when the stream was opened */
  GstClockTime window; /* how long one of the model's is */
  GstClockTime processing; /* what transcribing one is said to take */
  GstClockTime hold_back; /* min-duration */
  GstClockTime told; /* the latency; 0: none yet */
  GArray *losses; /* windows left out that the task does not know of */
  gint64 warned_us; /* of losses; sink pad's streaming thread only */
} GstMt3Live;

struct _GstMt3Transcribe {
  GstElement element;

  GstPad *sinkpad;
  GstPad *srcpad;

  GstMt3Settings settings; /* object lock */

  GMutex lock; /* the state lock */
  GCond changed;

  /* Model; state lock. A load whose serial is not the current one any more
   * was given up and its result is thrown away. */
  GstMt3ModelState model_state;
  guint model_serial;
  Mt3EngineOptions model_options; /* of the engine, or what becomes it */
  Mt3Engine *engine;
  gint64 load_begun_us; /* the one that LOADING is about */
  GError *told_error; /* posted before anybody asked for PAUSED */

  GRecMutex load_lock;
  gboolean load_told; /* to have begun, and not yet to have ended; load lock */

  /* Between the pads; state lock. */
  gboolean flushing;
  GstFlowReturn srcresult; /* of the source pad's task */
  gboolean have_audio; /* the task may open its output */
  gboolean drained; /* EOS came and all windows are in the stream */
  guint32 segment_seqnum;
  guint32 eos_seqnum;
  GstEvent *stream_start;
  GQueue events; /* serialized ones for the task to push */
  gchar *title;
  GstSegment audio_segment; /* of the first sample, */
  GstClockTime audio_pts; /* and its time in it, */
  GstClockTime stream_time; /* and in the stream */
  GQueue runs; /* of GstMt3Run, in the order of the audio */
  GstMt3TimeMap *times; /* has a lock of its own */
  GstMt3ReferenceTimes *references; /* likewise */
  GstMt3RunStats stats;
  GstMt3Live live;

  /* Sink pad's streaming thread */
  GstSegment segment;
  gboolean segment_changed;
  guint32 refused_seqnum; /* of a segment; its error was posted */
  GstAudioInfo info;
  gboolean info_changed;
  GstMt3Run *run; /* the last one: windows are pushed into it */
  GstMt3AudioInput *input;
  Mt3Windower *windower;
  guint64 silent_samples; /* since the last audible one */
  guint64 windows_skipped; /* of long silence, so far */
  Mt3Decoding decoding;

  /* Source pad's task */
  GstMt3Run *popped; /* the first run: transcripts are popped from it */
  GstMt3Output *output;
  GstMt3NoteMessages *messages;
  Mt3NoteDecoder *decoder;
  Mt3NoteShaper *shaper; /* gets the notes of the decoder */
  gdouble hold_back; /* how long it may hold a report back, in seconds */
  gint progress; /* per cent told last; -1: not begun */
  gint64 duration; /* of the input, for the progress; 0: unknown */
};

/* transcribe-model.c */

/* Begins to open the engine that the settings ask for, unless it is there.
 * @keep: what is open stays in use until then, and if it fails, which is a
 * warning only */
void gst_mt3_transcribe_load_model (GstMt3Transcribe *self, gboolean keep);
void gst_mt3_transcribe_unload_model (GstMt3Transcribe *self);

/* For the change to PAUSED: gives the load a moment. FALSE when the model
 * cannot be opened (which was posted already). */
gboolean gst_mt3_transcribe_try_model (GstMt3Transcribe *self);

/* Waits for the model. FLUSHING when the wait was broken off, ERROR when the
 * model cannot be opened (which was posted already). */
GstFlowReturn gst_mt3_transcribe_wait_model (
    GstMt3Transcribe *self, Mt3Engine **engine);

/* Posts @error (transfer full), which an engine gave. */
void gst_mt3_transcribe_post_error (
    GstMt3Transcribe *self, const gchar *model_file, GError *error);

/* For the task: tells when the engine has gone on with another device. */
void gst_mt3_transcribe_watch_device (GstMt3Transcribe *self);

/* transcribe-run.c */

/* For the sink pad's thread: windows go to @engine (transfer full) from here
 * on. @segment_done: (transfer full) (nullable). FALSE when the task takes
 * nothing any more. */
gboolean gst_mt3_transcribe_begin_run (GstMt3Transcribe *self,
    Mt3Engine *engine, GstClockTime start, GstEvent *segment_done);

/* The same: (transfer full) (nullable): the engine of a model that was set
 * since the last run began. @agrees: only one whose windows are those of the
 * last run, or only one whose windows are others. */
Mt3Engine *gst_mt3_transcribe_find_new_engine (
    GstMt3Transcribe *self, gboolean agrees);

/* For the task: goes on to the next run, if there is one. @segment_done: (out)
 * (transfer full) (nullable): the segment ends before it, and all notes have.
 */
gboolean gst_mt3_transcribe_next_run (
    GstMt3Transcribe *self, GstEvent **segment_done);

void gst_mt3_transcribe_flush_runs (GstMt3Transcribe *self, gboolean flushing);

/* All but the last @n_kept, which starts over. Neither thread may run. */
void gst_mt3_transcribe_forget_runs (GstMt3Transcribe *self, guint n_kept);

/* transcribe-live.c */

/* Windows of live audio that may wait for their notes or for downstream. */
#define GST_MT3_LIVE_WINDOWS 4

void gst_mt3_transcribe_init_live (GstMt3Transcribe *self);
gboolean gst_mt3_transcribe_query_latency (
    GstMt3Transcribe *self, GstQuery *query);

/* Audio begins, for @engine. Returns whether it is live. */
gboolean gst_mt3_transcribe_begin_live (
    GstMt3Transcribe *self, Mt3Engine *engine);

/* Tells of a longer latency when a window took longer than was told. */
void gst_mt3_transcribe_measure_window (
    GstMt3Transcribe *self, const Mt3Transcript *transcript);

/* Whether the next window has to be left out. */
gboolean gst_mt3_transcribe_is_overloaded (
    GstMt3Transcribe *self, Mt3Stream *stream);

/* Leaves out the window with that index, which begins at @position. */
void gst_mt3_transcribe_lose_window (
    GstMt3Transcribe *self, guint64 index, GstClockTime position);

/* For the task: the first window of the next run of them that was left out
 * before window @before, each run once. */
gboolean gst_mt3_transcribe_take_loss (
    GstMt3Transcribe *self, guint64 before, guint64 *first);

/* transcribe-sink.c */
void gst_mt3_transcribe_init_sink (GstMt3Transcribe *self);

/* transcribe-windows.c, for the sink pad's streaming thread */

/* Whatever has to be there before audio can be taken. */
GstFlowReturn gst_mt3_transcribe_prepare (GstMt3Transcribe *self);

/* Once audio was taken: the last window, which need not be full. */
GstFlowReturn gst_mt3_transcribe_push_rest (GstMt3Transcribe *self);

/* The same, but other windows may follow. @segment_done (transfer full) goes
 * out between them. */
GstFlowReturn gst_mt3_transcribe_end_segment (
    GstMt3Transcribe *self, GstEvent *segment_done);

/* What the task has come to, when the engine takes no windows any more. */
GstFlowReturn gst_mt3_transcribe_wait_outcome (GstMt3Transcribe *self);

/* What the settings mean to a model with @config; mt3_decoding_clear() it. */
Mt3Decoding gst_mt3_transcribe_decoding (
    GstMt3Transcribe *self, const Mt3Config *config);

/* transcribe-src.c */
void gst_mt3_transcribe_init_src (GstMt3Transcribe *self);
void gst_mt3_transcribe_start_task (GstMt3Transcribe *self);

/* An #Mt3NoteCallback for the notes that go out; @user_data is the element. */
void gst_mt3_transcribe_note (
    const Mt3Note *note, gboolean ended, gpointer user_data);

/* Posts the last of the progress messages, if there was a first. */
void gst_mt3_transcribe_end_progress (
    GstMt3Transcribe *self, GstProgressType type);

/* transcribe-notes.c */

/* FALSE when the properties that say which notes are written are not
 * understood, which is an error until the element is @running, then a
 * warning. */
gboolean gst_mt3_transcribe_check_notes (
    GstMt3Transcribe *self, gboolean running);

/* The others belong to the source pad's task. */

/* @seconds: where the window ends */
void gst_mt3_transcribe_decode_notes (
    GstMt3Transcribe *self, const Mt3Transcript *transcript, gdouble seconds);

/* Windows of another model follow; index 0 begins at @start. */
void gst_mt3_transcribe_change_notes (
    GstMt3Transcribe *self, const Mt3Config *config, GstClockTime start);

/* Ends all notes. */
void gst_mt3_transcribe_finish_notes (GstMt3Transcribe *self);

/* Forgets all notes. */
void gst_mt3_transcribe_reset_notes (GstMt3Transcribe *self);

/* gstmt3transcribe.c */

/* TRUE: wakes all who wait in either thread. */
void gst_mt3_transcribe_set_flushing (
    GstMt3Transcribe *self, gboolean flushing);

/* Forgets the audio and the notes. Neither thread may run.
 * @new_stream: and what was told of the stream */
void gst_mt3_transcribe_reset (GstMt3Transcribe *self, gboolean new_stream);

/* transcribe-stats.c */
GstStructure *gst_mt3_transcribe_get_stats (GstMt3Transcribe *self);
void gst_mt3_transcribe_log_stats (GstMt3Transcribe *self);

G_END_DECLS
