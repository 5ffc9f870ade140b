/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "planes.h"

#include <math.h>

void
check_cuda (cudaError_t result)
{
  if (result != cudaSuccess)
    g_error ("%s", cudaGetErrorString (result));
}

static gfloat
half_to_float (guint16 half)
{
  const gint exponent = half >> 10 & 31;
  const gfloat sign = half >> 15 ? -1.0f : 1.0f;
  const gint mantissa = half & 1023;

  if (exponent == 31)
    return mantissa ? NAN : sign * INFINITY;
  return exponent == 0 ? sign * ldexpf (mantissa, -24)
                       : sign * ldexpf (1024 + mantissa, exponent - 25);
}

gfloat *
read_planes (const Mt3CudaPlanes *planes, gsize n)
{
  g_autofree guint16 *hi = g_new (guint16, n);
  g_autofree guint16 *lo = g_new (guint16, n);
  g_autofree gfloat *values = g_new (gfloat, 65536);
  gfloat *out = g_new (gfloat, n);

  for (guint i = 0; i < 65536; i++)
    values[i] = half_to_float ((guint16) i);
  check_cuda (cudaMemcpy (hi, planes->hi, 2 * n, cudaMemcpyDeviceToHost));
  check_cuda (cudaMemcpy (lo, planes->lo, 2 * n, cudaMemcpyDeviceToHost));
  for (gsize i = 0; i < n; i++)
    out[i] = 64.0f * (values[hi[i]] + values[lo[i]] / 2048.0f);
  return out;
}

gpointer
device_block (gsize bytes)
{
  gpointer block = NULL;

  check_cuda (cudaMalloc (&block, bytes));
  /* What nothing writes is not a number. */
  check_cuda (cudaMemset (block, 0xff, bytes));
  return block;
}

Mt3CudaPlanes
device_planes (gsize n)
{
  return (Mt3CudaPlanes){device_block (2 * n), device_block (2 * n)};
}

gfloat *
random_floats (gsize n, gfloat scale)
{
  static guint64 state = 1;
  gfloat *out = g_new (gfloat, n);

  for (gsize i = 0; i < n; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    out[i] = scale * (gfloat) ((gint32) (state >> 32) / 2147483648.0);
  }
  return out;
}

gpointer
to_device (const gfloat *values, gsize n)
{
  gpointer out = device_block (n * sizeof (gfloat));

  check_cuda (
      cudaMemcpy (out, values, n * sizeof (gfloat), cudaMemcpyHostToDevice));
  return out;
}

Mt3CudaPlanes
pack_planes (const gfloat *in, gint k, gint n, gfloat scale)
{
  const gsize size = (gsize) k * n;
  g_autofree gfloat *scaled = g_new (gfloat, size);
  Mt3CudaPack pack = {.k = k, .n = n, .row_step = 1};

  for (gsize i = 0; i < size; i++)
    scaled[i] = in[i] * scale;
  pack.in = to_device (scaled, size);
  pack.out = device_planes (size);
  check_cuda (mt3_cuda_pack (&pack, NULL));
  check_cuda (cudaDeviceSynchronize ());
  check_cuda (cudaFree ((gpointer) pack.in));
  return pack.out;
}
