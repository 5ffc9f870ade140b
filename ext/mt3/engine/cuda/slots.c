/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/slots.h"

#include "error.h"

/* More windows at once gain nothing, for the caches' bandwidth is the limit;
 * beyond the first number little, so only where there is much memory. */
#define DEFAULT_SLOTS 512
#define MOST_DEFAULT_SLOTS 1024
#define DEFAULT_SHARE 8 /* of the free memory, which they may take */

/* What is left to others of the device's free memory, in hundredths. */
#define SPARE_PERCENT 10

static gsize
slot_bytes (const Mt3CudaSlots *self, const Mt3Config *config)
{
  return (self->cross_slot + self->self_slot) * self->element +
         (self->verifies ? self->cross_slot * sizeof (guint16) : 0) +
         mt3_config_window_samples (config) * sizeof (gfloat) + sizeof (gint) +
         mt3_cuda_allowed_words (config) * sizeof (guint32);
}

static gboolean
choose_n_slots (
    Mt3CudaSlots *self, const Mt3Config *config, guint n_slots, GError **error)
{
  gsize available = 0, total = 0, fit;

  if (!mt3_cuda_check (cudaMemGetInfo (&available, &total),
          "ask for free device memory", error))
    return FALSE;
  fit = available / 100 * (100 - SPARE_PERCENT) / slot_bytes (self, config);
  if (fit >= MAX (n_slots, 1)) {
    self->n_slots = n_slots > 0
                        ? n_slots
                        : MIN (fit, CLAMP (fit / DEFAULT_SHARE, DEFAULT_SLOTS,
                                        MOST_DEFAULT_SLOTS));
    return TRUE;
  }
  g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY,
      "device memory does not suffice for %u windows at once: %" G_GSIZE_FORMAT
      " MiB of %" G_GSIZE_FORMAT " MiB are free, enough for %" G_GSIZE_FORMAT
      " (%" G_GSIZE_FORMAT " KiB each); set the batch size to that or less",
      MAX (n_slots, 1), available >> 20, total >> 20, fit,
      slot_bytes (self, config) >> 10);
  return FALSE;
}

gboolean
mt3_cuda_slots_init (Mt3CudaSlots *self, const Mt3CudaWeights *weights,
    Mt3CudaMethod method, guint n_slots, GError **error)
{
  const Mt3Config *config = &weights->config;
  const gsize width = 2 * mt3_config_inner (config);

  self->element =
      method == MT3_CUDA_STEPS_EXACTLY ? sizeof (gfloat) : sizeof (guint16);
  self->verifies = method == MT3_CUDA_VERIFIES;
  self->cross_slot = weights->n_layers * width * config->window_frames;
  self->self_slot = weights->n_layers * width * config->max_tokens;
  if (!choose_n_slots (self, config, n_slots, error))
    return FALSE;
  self->cross = mt3_cuda_memory_device (&self->memory,
      self->n_slots * self->cross_slot * self->element,
      "cross-attention caches", error);
  if (self->cross == NULL)
    return FALSE;
  if (self->verifies) {
    self->cross_lo = mt3_cuda_memory_device (&self->memory,
        self->n_slots * self->cross_slot * sizeof (guint16),
        "cross-attention caches", error);
    if (self->cross_lo == NULL)
      return FALSE;
  }
  self->self = mt3_cuda_memory_device (&self->memory,
      self->n_slots * self->self_slot * self->element, "self-attention caches",
      error);
  if (self->self == NULL)
    return FALSE;
  self->samples = mt3_cuda_memory_device (&self->memory,
      self->n_slots * mt3_config_window_samples (config) * sizeof (gfloat),
      "samples", error);
  if (self->samples == NULL)
    return FALSE;
  self->overflow = mt3_cuda_memory_device (
      &self->memory, self->n_slots * sizeof (gint), "flags", error);
  if (self->overflow == NULL)
    return FALSE;
  self->allowed = mt3_cuda_memory_device (&self->memory,
      self->n_slots * mt3_cuda_allowed_words (config) * sizeof (guint32),
      "allowed tokens", error);
  return self->allowed != NULL;
}
