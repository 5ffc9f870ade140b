/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * rows.c: what is computed over one row of numbers.
 */
#include "cpu-kernels.h"
#include "simd.h"

static void
rms_norm (const float *x, const float *scale, size_t n, float *out)
{
  const float epsilon = 1e-6f;
  v16 squares = v16_set (0.0f);
  v16 factor;

  for (size_t i = 0; i < n; i += V16_LANES) {
    v16 v = v16_load (x + i);

    squares = v16_fma (v, v, squares);
  }
  factor = v16_set (1.0f / sqrtf (v16_sum (squares) / (float) n + epsilon));
  for (size_t i = 0; i < n; i += V16_LANES)
    v16_store (out + i,
        v16_mul (v16_mul (v16_load (x + i), factor), v16_load (scale + i)));
}

static float
log_sum_exp (const float *x, size_t n, size_t *largest)
{
  v16 most = v16_set (-INFINITY);
  v16 sum = v16_set (0.0f);
  float top;

  for (size_t i = 0; i < n; i += V16_LANES)
    most = v16_max (most, v16_load_n (x + i, n - i, -INFINITY));
  top = v16_largest (most);

  *largest = 0;
  for (size_t i = 0; i < n; i++)
    if (x[i] == top) {
      *largest = i;
      break;
    }

  most = v16_set (top);
  for (size_t i = 0; i < n; i += V16_LANES)
    sum = v16_add (
        sum, v16_exp (v16_sub (v16_load_n (x + i, n - i, -INFINITY), most)));
  return top + logf (v16_sum (sum));
}
