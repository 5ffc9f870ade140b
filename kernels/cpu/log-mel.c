/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * log-mel.c: eight frames at a time, one in each lane of a vector, so that the
 * transform is textbook code and still fast.
 */
#include "log-mel.h"

#include <math.h>

#define LANES MT3_LOG_MEL_FRAMES

typedef double Lanes __attribute__ ((vector_size (LANES * sizeof (double))));

typedef struct {
  Lanes re, im;
} Complex;

static inline Complex
add (Complex a, Complex b)
{
  return (Complex){a.re + b.re, a.im + b.im};
}

static inline Complex
subtract (Complex a, Complex b)
{
  return (Complex){a.re - b.re, a.im - b.im};
}

static inline Complex
times_minus_i (Complex a)
{
  return (Complex){a.im, -a.re};
}

static inline Complex
turn (Complex a, Mt3Root w)
{
  return (Complex){a.re * w.re - a.im * w.im, a.re * w.im + a.im * w.re};
}

/* One pass of Stockham's transform, radix 4: from @n / 4 butterflies on
 * columns of @stride to columns of 4 * stride. */
static void
radix4_pass (const Mt3LogMel *plan, size_t n, size_t stride, const Complex *x,
    Complex *y)
{
  size_t quarter = n / 4, root = plan->fft_length / n;

  for (size_t p = 0; p < quarter; p++) {
    Mt3Root w1 = plan->roots[p * root];
    Mt3Root w2 = plan->roots[2 * p * root];
    Mt3Root w3 = plan->roots[3 * p * root];

    for (size_t q = 0; q < stride; q++) {
      Complex a = x[q + stride * p];
      Complex b = x[q + stride * (p + quarter)];
      Complex c = x[q + stride * (p + 2 * quarter)];
      Complex d = x[q + stride * (p + 3 * quarter)];
      Complex sum = add (a, c), difference = subtract (a, c);
      Complex other = add (b, d), turned = times_minus_i (subtract (b, d));
      Complex *out = y + q + stride * 4 * p;

      out[0] = add (sum, other);
      out[stride] = turn (add (difference, turned), w1);
      out[2 * stride] = turn (subtract (sum, other), w2);
      out[3 * stride] = turn (subtract (difference, turned), w3);
    }
  }
}

/* The last pass when the length is not a power of four. */
static void
radix2_pass (size_t stride, const Complex *x, Complex *y)
{
  for (size_t q = 0; q < stride; q++) {
    y[q] = add (x[q], x[q + stride]);
    y[q + stride] = subtract (x[q], x[q + stride]);
  }
}

/* Transform of fft_length / 2 complex numbers in @x, with @y as scratch;
 * returns which of the two holds the result. */
static Complex *
transform (const Mt3LogMel *plan, Complex *x, Complex *y)
{
  size_t n = plan->fft_length / 2, stride = 1;

  for (; n >= 4; n /= 4, stride *= 4) {
    Complex *swap = x;

    radix4_pass (plan, n, stride, x, y);
    x = y;
    y = swap;
  }
  if (n == 1)
    return x;
  radix2_pass (stride, x, y);
  return y;
}

/* Windows the frames and packs even samples as real, odd as imaginary parts:
 * each frame by itself, so that a silent frame stays exactly 0. */
static void
load_frames (const Mt3LogMel *plan, const float *samples, size_t n_samples,
    size_t frame, size_t n_frames, Complex *x)
{
  double *lanes = (double *) x;

  for (size_t i = 0; i < plan->fft_length; i++)
    for (size_t f = 0; f < LANES; f++) {
      size_t at = (frame + f) * plan->hop_length + i;
      float sample =
          f < n_frames && at < n_samples ? samples[at] * plan->window[i] : 0.0f;

      lanes[i * LANES + f] = sample;
    }
}

/* |X[k]| of the real signal, from the transform of its halves. */
static void
magnitudes (const Mt3LogMel *plan, const Complex *z, float *magnitude)
{
  size_t half = plan->fft_length / 2;

  for (size_t k = 0; k < plan->n_bins; k++) {
    Complex a = z[k % half], b = z[(half - k) % half];
    Complex even = {0.5 * (a.re + b.re), 0.5 * (a.im - b.im)};
    Complex odd = {0.5 * (a.im + b.im), 0.5 * (b.re - a.re)};
    Complex sum = add (even, turn (odd, plan->roots[k]));
    Lanes squared = sum.re * sum.re + sum.im * sum.im;

    for (size_t f = 0; f < LANES; f++)
      magnitude[k * LANES + f] = sqrt (squared[f]);
  }
}

static void
log_mel_row (const Mt3LogMel *plan, const Mt3MelFilter *filter,
    const float *magnitude, float out[LANES])
{
  float mel[LANES] = {0};

  for (size_t i = 0; i < filter->n; i++)
    for (size_t f = 0; f < LANES; f++)
      mel[f] += plan->weights[filter->weight + i] *
                magnitude[(filter->start + i) * LANES + f];
  for (size_t f = 0; f < LANES; f++)
    out[f] = logf (mel[f] > 0.0f ? mel[f] : 1e-5f);
}

static void
log_mel (const Mt3LogMel *plan, const float *samples, size_t n_samples,
    size_t frame, size_t n_frames, float *out, size_t out_stride, void *scratch)
{
  Complex *x = scratch, *y = x + plan->fft_length / 2;
  float *magnitude = (float *) (y + plan->fft_length / 2);

  load_frames (plan, samples, n_samples, frame, n_frames, x);
  magnitudes (plan, transform (plan, x, y), magnitude);
  for (size_t m = 0; m < plan->n_mels; m++) {
    float mel[LANES];

    log_mel_row (plan, &plan->filters[m], magnitude, mel);
    for (size_t f = 0; f < n_frames; f++)
      out[f * out_stride + m] = mel[f];
  }
}
