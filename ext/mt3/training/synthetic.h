/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * synthetic.h: records instruments that nobody built: sums of partials and
 * noise around the textbook spectra of each family (Fletcher and Rossing, The
 * Physics of Musical Instruments), with everything drawn at random within
 * them. They keep a model from learning its fonts by heart, and they are free
 * of any licence.
 */
#pragma once

#include "training/recorder.h"

G_BEGIN_DECLS

/* How many different ones there are to record: melodic ones and drum kits. */
guint mt3_synthetic_n_timbres (void);

/* Records timbre @index (modulo the number of them) as @variant. Any thread. */
void mt3_synthetic_record (
    guint index, guint variant, guint8 source, Mt3BankWriter *writer);

G_END_DECLS
