/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * recorder.h: collects the single notes of one instrument, measures how they
 * decay, and appends them to a note bank.
 */
#pragma once

#include "training/bank.h"

G_BEGIN_DECLS

typedef struct _Mt3Recorder Mt3Recorder;
typedef struct _Mt3BankWriter Mt3BankWriter;

/* Creates the three files of a bank in @folder. */
Mt3BankWriter *mt3_bank_writer_new (const gchar *folder, GError **error);

/* Writes the tables and closes. Frees @writer, also on error. */
gboolean mt3_bank_writer_finish (Mt3BankWriter *writer, GError **error);

guint mt3_bank_writer_n_instruments (Mt3BankWriter *writer);
gdouble mt3_bank_writer_hours (Mt3BankWriter *writer);

/* @may_sustain: notes that do not die away are to be looped while held */
Mt3Recorder *mt3_recorder_new (gboolean may_sustain);
void mt3_recorder_free (Mt3Recorder *recorder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Recorder, mt3_recorder_free)

/* Takes a note: @samples (transfer full, g_free) at MT3_BANK_RATE. Silence is
 * dropped. */
void mt3_recorder_add (Mt3Recorder *recorder, guint pitch, guint velocity,
    gfloat *samples, guint n_samples);

/**
 * mt3_recorder_finish:
 * @instrument: program, is_drum, is_acoustic and source are the caller's; the
 *   rest is filled in
 *
 * Appends the instrument to the bank, unless it made no sound. Any thread.
 */
void mt3_recorder_finish (Mt3Recorder *recorder, Mt3BankWriter *writer,
    Mt3BankInstrument *instrument);

G_END_DECLS
