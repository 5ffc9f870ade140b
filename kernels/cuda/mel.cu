/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mel.cu: samples to log-mel rows, one block a frame (magenta/mt3
 * spectrograms.py; see the front end's numbers in checkpoint/model-config.h).
 */
#include "device.cuh"

#define THREADS 256

static __device__ __forceinline__ float2
multiply (float2 a, float2 b)
{
  return make_float2 (a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

/* Stockham transform of n = 4^i or 2 * 4^i complex values by the whole block:
 * radix 4, and one radix 2 pass when needed. Returns the buffer that holds the
 * result. twiddle_step: distance in the table of exp (-2 pi i / n). */
static __device__ float2 *
transform (
    float2 *from, float2 *to, int n, const float2 *twiddle, int twiddle_step)
{
  int length = n, stride = 1;

  while (length > 1) {
    const int radix = length % 4 == 0 ? 4 : 2;
    const int quarter = length / radix;
    for (int j = threadIdx.x; j < n / radix; j += blockDim.x) {
      const int p = j / stride, q = j % stride;
      const float2 *in = from + q + stride * p;
      float2 *out = to + q + stride * radix * p;
      const float2 w1 = twiddle[p * stride * twiddle_step];
      const float2 a = in[0], b = in[stride * quarter];
      if (radix == 2) {
        out[0] = make_float2 (a.x + b.x, a.y + b.y);
        out[stride] = multiply (make_float2 (a.x - b.x, a.y - b.y), w1);
        continue;
      }
      const float2 c = in[stride * 2 * quarter], d = in[stride * 3 * quarter];
      const float2 ac = make_float2 (a.x + c.x, a.y + c.y);
      const float2 a_c = make_float2 (a.x - c.x, a.y - c.y);
      const float2 bd = make_float2 (b.x + d.x, b.y + d.y);
      const float2 b_d = make_float2 (b.y - d.y, d.x - b.x); /* -i (b - d) */
      const float2 w2 = twiddle[2 * p * stride * twiddle_step];
      const float2 w3 = twiddle[3 * p * stride * twiddle_step];
      out[0] = make_float2 (ac.x + bd.x, ac.y + bd.y);
      out[stride] = multiply (make_float2 (a_c.x + b_d.x, a_c.y + b_d.y), w1);
      out[2 * stride] = multiply (make_float2 (ac.x - bd.x, ac.y - bd.y), w2);
      out[3 * stride] =
          multiply (make_float2 (a_c.x - b_d.x, a_c.y - b_d.y), w3);
    }
    __syncthreads ();
    float2 *swap = from;
    from = to;
    to = swap;
    length = quarter;
    stride *= radix;
  }
  return from;
}

/* The magnitude of bin `k` of the real transform of 2 n samples, whose even
 * and odd samples were transformed together as z [n]. */
static __device__ __forceinline__ float
real_magnitude (const float2 *z, int k, int n, const float2 *twiddle)
{
  const float2 a = z[k % n], b = z[(n - k) % n];
  const float2 even = make_float2 (0.5f * (a.x + b.x), 0.5f * (a.y - b.y));
  const float2 odd = make_float2 (0.5f * (a.y + b.y), 0.5f * (b.x - a.x));
  const float2 turned = multiply (odd, twiddle[k]);
  const float re = even.x + turned.x, im = even.y + turned.y;
  return sqrtf (re * re + im * im);
}

static __global__ void
__launch_bounds__ (THREADS) mel_kernel (const Mt3CudaMel a)
{
  __shared__ float2 buffer[2][MT3_CUDA_MAX_FFT / 2];
  __shared__ float magnitude[MT3_CUDA_MAX_FFT / 2 + 1];
  const int frame = blockIdx.x, window = blockIdx.y;
  const int n = a.fft / 2, window_samples = a.frames * a.hop;
  const size_t row = ((size_t) window * a.frames + frame) * a.n_mels;
  const float2 *twiddle = reinterpret_cast<const float2 *> (a.twiddle);

  if (frame == 0 && threadIdx.x == 0)
    a.overflow[a.slots[window]] = 0;
  if (frame >= a.n_frames[window]) {
    for (int m = 2 * threadIdx.x; m < a.n_mels; m += 2 * THREADS)
      store2<true> (a.out, row + m, 0.0f, 0.0f);
    return;
  }

  const float *samples = a.samples + (size_t) a.slots[window] * window_samples;
  for (int i = threadIdx.x; i < n; i += THREADS) {
    const int at = frame * a.hop + 2 * i, left = window_samples - at;
    buffer[0][i].x = left > 0 ? samples[at] * a.hann[2 * i] : 0.0f;
    buffer[0][i].y = left > 1 ? samples[at + 1] * a.hann[2 * i + 1] : 0.0f;
  }
  __syncthreads ();
  const float2 *z = transform (buffer[0], buffer[1], n, twiddle, 2);
  for (int k = threadIdx.x; k <= n; k += THREADS)
    magnitude[k] = real_magnitude (z, k, n, twiddle);
  __syncthreads ();

  for (int m = 2 * threadIdx.x; m < a.n_mels; m += 2 * THREADS) {
    float value[2];
    for (int i = 0; i < 2; i++) {
      const int first = a.mel_offset[m + i], last = a.mel_offset[m + i + 1];
      float sum = 0.0f;
      for (int j = first; j < last; j++)
        sum += magnitude[a.mel_start[m + i] + j - first] * a.mel_weight[j];
      value[i] = logf (sum > 0.0f ? sum : 1e-5f);
    }
    store2<true> (a.out, row + m, value[0], value[1]);
  }
}

cudaError_t
mt3_cuda_mel (const Mt3CudaMel *args, cudaStream_t stream)
{
  const dim3 grid (args->frames, args->n_windows);

  return launch_kernel (
      mel_kernel, grid, dim3 (THREADS), 0, Mt3CudaLaunch{stream, 0}, *args);
}
