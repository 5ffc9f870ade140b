/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/windower.h"

#include <math.h>

struct _Mt3Windower {
  gsize window_samples;
  guint hop_length;
  guint window_frames;

  Mt3Window *window; /* being filled; NULL before its first sample */
  gsize filled; /* samples in it */
  guint64 index; /* of the window being filled */
};

Mt3Windower *
mt3_windower_new (const Mt3Config *config)
{
  Mt3Windower *self = g_new0 (Mt3Windower, 1);

  self->window_samples = mt3_config_window_samples (config);
  self->hop_length = config->hop_length;
  self->window_frames = config->window_frames;
  return self;
}

void
mt3_windower_free (Mt3Windower *self)
{
  if (self == NULL)
    return;
  g_free (self->window);
  g_free (self);
}

/* Copies samples, and notes what is odd about them on the way: a NaN would
 * spread through the FFT to the whole window. */
static void
copy_samples (Mt3Window *window, gsize at, const gfloat *samples, gsize n)
{
  gfloat *out = window->samples + at;
  gfloat peak = window->peak;

  for (gsize i = 0; i < n; i++) {
    gfloat sample = samples[i];

    if (!isfinite (sample)) {
      sample = 0.0f;
      window->n_replaced++;
    }
    peak = MAX (peak, fabsf (sample));
    out[i] = sample;
  }
  window->peak = peak;
}

static void
ensure_window (Mt3Windower *self)
{
  if (self->window != NULL)
    return;
  self->window =
      g_malloc0 (sizeof (Mt3Window) + self->window_samples * sizeof (gfloat));
  self->window->index = self->index;
  self->window->n_frames = self->window_frames;
}

gsize
mt3_windower_push (Mt3Windower *self, const gfloat *samples, gsize n_samples)
{
  gsize n = MIN (n_samples, self->window_samples - self->filled);

  if (n == 0)
    return 0;
  ensure_window (self);
  if (samples != NULL)
    copy_samples (self->window, self->filled, samples, n);
  self->filled += n;
  return n;
}

Mt3Window *
mt3_windower_take (Mt3Windower *self)
{
  if (self->filled < self->window_samples)
    return NULL;
  self->filled = 0;
  self->index++;
  return g_steal_pointer (&self->window);
}

Mt3Window *
mt3_windower_finish (Mt3Windower *self)
{
  Mt3Window *last;

  g_return_val_if_fail (self->filled < self->window_samples, NULL);

  if (mt3_windower_n_samples (self) == 0)
    return NULL;
  ensure_window (self);
  last = g_steal_pointer (&self->window);
  /* One frame more than are full: the reference pads by hop - n % hop, which
   * is a whole frame when n is a multiple. */
  last->n_frames = self->filled / self->hop_length + 1;
  last->last = TRUE;
  mt3_windower_reset (self);
  return last;
}

void
mt3_windower_reset (Mt3Windower *self)
{
  g_clear_pointer (&self->window, g_free);
  self->filled = 0;
  self->index = 0;
}

guint64
mt3_windower_n_samples (const Mt3Windower *self)
{
  return self->index * self->window_samples + self->filled;
}
