/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/tables.h"

#include <math.h>

static void
fill_transform (Mt3CudaTables *self, guint n)
{
  self->hann = g_new (gfloat, n);
  self->twiddle = g_new (gfloat, 2 * n);
  for (guint i = 0; i < n; i++) {
    gdouble angle = 2.0 * G_PI * i / n;

    self->hann[i] = (gfloat) (0.5 - 0.5 * cos (angle));
    self->twiddle[2 * i] = (gfloat) cos (angle);
    self->twiddle[2 * i + 1] = (gfloat) -sin (angle);
  }
}

/* HTK's scale. */
static gdouble
hz_to_mel (gdouble hz)
{
  return 1127.0 * log1p (hz / 700.0);
}

/* TensorFlow's linear_to_mel_weight_matrix, of which only the weights above
 * zero are kept: triangles in mel, none at 0 Hz, not normalised by area. */
static void
fill_mel (Mt3CudaTables *self, const Mt3Config *config)
{
  const gdouble low = hz_to_mel (config->mel_low_hz);
  const gdouble high = hz_to_mel (config->mel_high_hz);
  const gdouble step = (high - low) / (config->n_mels + 1);
  const guint bins = config->fft_length / 2 + 1;

  self->mel_start = g_new0 (gint, config->n_mels);
  self->mel_offset = g_new0 (gint, config->n_mels + 1);
  self->mel_weight = g_array_new (FALSE, FALSE, sizeof (gfloat));
  for (guint m = 0; m < config->n_mels; m++) {
    const gdouble left = low + m * step, centre = low + (m + 1) * step;
    const gdouble right =
        m + 2 == config->n_mels + 1 ? high : low + (m + 2) * step;

    for (guint bin = 1; bin < bins; bin++) {
      gdouble mel =
          hz_to_mel ((gdouble) bin * config->sample_rate / config->fft_length);
      gfloat weight = (gfloat) MIN (
          (mel - left) / (centre - left), (right - mel) / (right - centre));

      if (weight <= 0.0f)
        continue;
      if ((gint) self->mel_weight->len == self->mel_offset[m])
        self->mel_start[m] = (gint) bin;
      g_array_append_val (self->mel_weight, weight);
    }
    self->mel_offset[m + 1] = (gint) self->mel_weight->len;
  }
}

static void
fill_positions (Mt3CudaTables *self, const Mt3Config *config)
{
  const guint half = config->d_model / 2;
  const gdouble rate = -log (10000.0) / (half - 1);

  self->n_positions = MAX (config->window_frames, config->max_tokens) + 1;
  self->positions = g_new (gfloat, (gsize) self->n_positions * config->d_model);
  for (guint position = 0; position < self->n_positions; position++) {
    gfloat *row = self->positions + (gsize) position * config->d_model;

    for (guint i = 0; i < half; i++) {
      gdouble angle = position * exp (i * rate);

      row[i] = (gfloat) sin (angle);
      row[half + i] = (gfloat) cos (angle);
    }
  }
}

Mt3CudaTables *
mt3_cuda_tables_new (const Mt3Config *config)
{
  Mt3CudaTables *self = g_new0 (Mt3CudaTables, 1);

  fill_transform (self, config->fft_length);
  fill_mel (self, config);
  fill_positions (self, config);
  return self;
}

void
mt3_cuda_tables_free (Mt3CudaTables *self)
{
  g_free (self->hann);
  g_free (self->twiddle);
  g_free (self->mel_start);
  g_free (self->mel_offset);
  g_array_unref (self->mel_weight);
  g_free (self->positions);
  g_free (self);
}
