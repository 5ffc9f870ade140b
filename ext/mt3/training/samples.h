/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * samples.h: records instruments from sets of sampled notes, as gather.py lays
 * them out: samples.tsv with the columns set, program ("drum" for a kit),
 * pitch, velocity and file (MT3_BANK_RATE, mono, whatever libsndfile reads).
 */
#pragma once

#include "training/recorder.h"

G_BEGIN_DECLS

/* Records every set of @folder. */
gboolean mt3_samples_record (
    const gchar *folder, guint8 source, Mt3BankWriter *writer, GError **error);

G_END_DECLS
