/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tables.h: the constants of the front end and of the position encoding.
 */
#pragma once

#include "checkpoint/model-config.h"

G_BEGIN_DECLS

/**
 * Mt3CudaTables:
 * @hann: [fft_length] periodic window
 * @twiddle: [fft_length] exp (-2 pi i j / fft_length), re and im by turns
 * @mel_start: [n_mels] bin of a filter's first weight
 * @mel_offset: [n_mels + 1] where a filter's weights lie in @mel_weight
 * @positions: [n_positions, d_model] sinusoids: the first half of the columns
 *   sines, the second cosines (mt3-facts: frequencies 10000^(-i / (d/2 - 1)))
 */
typedef struct {
  gfloat *hann;
  gfloat *twiddle;
  gint *mel_start;
  gint *mel_offset;
  GArray *mel_weight; /* of gfloat */
  gfloat *positions;
  guint n_positions;
} Mt3CudaTables;

Mt3CudaTables *mt3_cuda_tables_new (const Mt3Config *config);
void mt3_cuda_tables_free (Mt3CudaTables *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3CudaTables, mt3_cuda_tables_free)

G_END_DECLS
