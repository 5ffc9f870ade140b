/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * log-mel.h: the front end: samples to the spectrogram that MT3 reads.
 *
 * Frames of fft_length samples, hop_length apart, not centred; periodic Hann;
 * magnitude; triangular HTK mel filters without area normalisation
 * (tf.signal.linear_to_mel_weight_matrix); natural logarithm, with 1e-5 in
 * place of what is not above 0. Source: magenta/mt3 spectrograms.py and
 * ddsp spectral_ops.compute_logmel.
 *
 * The transform is computed in double precision, as NumPy does: near silence
 * float32 rounding shows in the logarithm.
 */
#pragma once

#include <stddef.h>

/* Frames that are computed at a time. */
#define MT3_LOG_MEL_FRAMES 8

typedef struct {
  double re, im;
} Mt3Root;

/* One triangle: n weights, from weights[weight] on, of bins from start on. */
typedef struct {
  size_t start, n, weight;
} Mt3MelFilter;

/* The tables; immutable, so threads share them. */
typedef struct {
  size_t hop_length;
  size_t fft_length;
  size_t n_mels;
  size_t n_bins; /* from 0 to the highest that a filter uses */
  float *window; /* periodic Hann */
  Mt3Root *roots; /* e^(-2 pi i k / fft_length), k < fft_length */
  Mt3MelFilter *filters;
  float *weights;
} Mt3LogMel;

/**
 * mt3_log_mel_new:
 * @fft_length: a power of two, 8 or more
 * @mel_low, @mel_high: Hz
 *
 * Returns: %NULL when memory does not suffice.
 */
Mt3LogMel *mt3_log_mel_new (size_t sample_rate, size_t hop_length,
    size_t fft_length, size_t n_mels, double mel_low, double mel_high);
void mt3_log_mel_free (Mt3LogMel *plan);

/* Bytes of scratch, 64-byte aligned, that a thread needs. */
size_t mt3_log_mel_scratch (const Mt3LogMel *plan);
