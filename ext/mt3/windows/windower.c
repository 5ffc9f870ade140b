/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/windower.h"

#include <math.h>
#include <string.h>

#include "checkpoint/half.h"

#define FLOAT_MAX_BITS 0x7f7fffff

struct _Mt3Windower {
  Mt3WindowPool *pool; /* (nullable) */
  gsize window_samples;
  guint hop_length;
  guint window_frames;

  Mt3Window *window; /* being filled; NULL before its first sample */
  gsize filled; /* samples in it */
  guint64 index; /* of the window being filled */
};

Mt3Windower *
mt3_windower_new (const Mt3Config *config, Mt3WindowPool *pool)
{
  Mt3Windower *self = g_new0 (Mt3Windower, 1);

  self->pool = pool != NULL ? mt3_window_pool_ref (pool) : NULL;
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
  mt3_window_free (self->window);
  mt3_window_pool_unref (self->pool);
  g_free (self);
}

/* What is not finite becomes silence. */
static void
replace_odd_samples (Mt3Window *window, gfloat *samples, gsize n)
{
  for (gsize i = 0; i < n; i++) {
    if (isfinite (samples[i]))
      continue;
    samples[i] = 0.0f;
    window->n_replaced++;
  }
}

/* The bits of the largest magnitude: without their sign, floats are in the
 * order of their bits, and what is not finite is above them. As integers a
 * vector of them is compared at once. */
static gint32
largest_magnitude (const gfloat *samples, gsize n)
{
  gint32 largest = 0;

  for (gsize i = 0; i < n; i++) {
    gint32 bits = (gint32) (mt3_float_bits (samples[i]) & 0x7fffffff);

    largest = MAX (largest, bits);
  }
  return largest;
}

/* Copies samples, and notes what is odd about them on the way: a NaN would
 * spread through the FFT to the whole window. */
static void
copy_samples (Mt3Window *window, gsize at, const gfloat *samples, gsize n)
{
  gfloat *out = window->samples + at;
  gint32 largest;

  memcpy (out, samples, n * sizeof (gfloat));
  largest = largest_magnitude (out, n);
  if (largest > FLOAT_MAX_BITS) {
    replace_odd_samples (window, out, n);
    largest = largest_magnitude (out, n);
  }
  window->peak = MAX (window->peak, mt3_float_from_bits ((guint32) largest));
}

static void
add_silence (Mt3Window *window, gsize at, gsize n)
{
  memset (window->samples + at, 0, n * sizeof (gfloat));
}

static void
ensure_window (Mt3Windower *self)
{
  if (self->window != NULL)
    return;
  self->window = mt3_window_new (self->window_samples, self->pool);
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
  else
    add_silence (self->window, self->filled, n);
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
  add_silence (last, self->filled, self->window_samples - self->filled);
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
  g_clear_pointer (&self->window, mt3_window_free);
  self->filled = 0;
  self->index = 0;
}

guint64
mt3_windower_n_samples (const Mt3Windower *self)
{
  return self->index * self->window_samples + self->filled;
}
