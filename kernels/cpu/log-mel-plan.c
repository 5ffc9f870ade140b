/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * log-mel-plan.c: the tables of the front end, computed once.
 */
#include "log-mel.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static double
mel_from_hz (double hz)
{
  return 1127.0 * log1p (hz / 700.0);
}

/* Height of the triangle (low, centre, high) over a bin. */
static double
filter_height (double mel, const double edges[3])
{
  double rise = (mel - edges[0]) / (edges[1] - edges[0]);
  double fall = (edges[2] - mel) / (edges[2] - edges[1]);

  return fmax (0.0, fmin (rise, fall));
}

/* Lists the bins of each filter and their weights; only counts the weights
 * when @weights is NULL. @bin_mels: the mel of each bin. */
static size_t
fill_filters (Mt3LogMel *plan, const double *bin_mels, double mel_low,
    double mel_high, float *weights)
{
  double step = (mel_high - mel_low) / (double) (plan->n_mels + 1);
  size_t n_weights = 0;

  for (size_t m = 0; m < plan->n_mels; m++) {
    const double edges[3] = {mel_low + (double) m * step,
        mel_low + (double) (m + 1) * step, mel_low + (double) (m + 2) * step};
    Mt3MelFilter *filter = &plan->filters[m];

    *filter = (Mt3MelFilter){0, 0, n_weights};
    /* Bin 0 has no weight, whatever the lowest edge. */
    for (size_t bin = 1; bin <= plan->fft_length / 2; bin++) {
      float height = filter_height (bin_mels[bin], edges);

      if (height <= 0.0f)
        continue;
      if (filter->n == 0)
        filter->start = bin;
      filter->n = bin + 1 - filter->start;
      if (weights != NULL)
        weights[n_weights] = height;
      n_weights++;
      if (bin + 1 > plan->n_bins)
        plan->n_bins = bin + 1;
    }
  }
  return n_weights;
}

static bool
make_filters (Mt3LogMel *plan, double bin_hz, double low_hz, double high_hz)
{
  size_t n_bins = plan->fft_length / 2 + 1;
  double *bin_mels = calloc (n_bins, sizeof *bin_mels);
  double low = mel_from_hz (low_hz), high = mel_from_hz (high_hz);

  plan->filters = calloc (plan->n_mels, sizeof *plan->filters);
  if (bin_mels != NULL && plan->filters != NULL) {
    for (size_t bin = 0; bin < n_bins; bin++)
      bin_mels[bin] = mel_from_hz ((double) bin * bin_hz);
    plan->weights = calloc (fill_filters (plan, bin_mels, low, high, NULL) + 1,
        sizeof *plan->weights);
    if (plan->weights != NULL)
      fill_filters (plan, bin_mels, low, high, plan->weights);
  }
  free (bin_mels);
  return plan->weights != NULL;
}

static bool
make_window (Mt3LogMel *plan)
{
  plan->window = calloc (plan->fft_length, sizeof *plan->window);
  plan->roots = calloc (plan->fft_length, sizeof *plan->roots);
  if (plan->window == NULL || plan->roots == NULL)
    return false;
  for (size_t i = 0; i < plan->fft_length; i++) {
    double angle = 2.0 * M_PI * (double) i / (double) plan->fft_length;

    plan->window[i] = 0.5 - 0.5 * cos (angle);
    plan->roots[i] = (Mt3Root){cos (angle), -sin (angle)};
  }
  return true;
}

Mt3LogMel *
mt3_log_mel_new (size_t sample_rate, size_t hop_length, size_t fft_length,
    size_t n_mels, double mel_low, double mel_high)
{
  Mt3LogMel *plan = calloc (1, sizeof *plan);

  if (plan == NULL)
    return NULL;
  plan->hop_length = hop_length;
  plan->fft_length = fft_length;
  plan->n_mels = n_mels;
  if (!make_window (plan) ||
      !make_filters (plan, (double) sample_rate / (double) fft_length, mel_low,
          mel_high)) {
    mt3_log_mel_free (plan);
    return NULL;
  }
  return plan;
}

void
mt3_log_mel_free (Mt3LogMel *plan)
{
  if (plan == NULL)
    return;
  free (plan->window);
  free (plan->roots);
  free (plan->filters);
  free (plan->weights);
  free (plan);
}

size_t
mt3_log_mel_scratch (const Mt3LogMel *plan)
{
  size_t complex_bytes = MT3_LOG_MEL_FRAMES * 2 * sizeof (double);

  return plan->fft_length / 2 * 2 * complex_bytes +
         plan->n_bins * MT3_LOG_MEL_FRAMES * sizeof (float);
}
