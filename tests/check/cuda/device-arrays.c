/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device-arrays.h"

#include "checkpoint/half.h"

/* See Mt3CudaPlanes. */
#define ACTIVATION_SCALE (1.0f / 64)
#define LOW_PLANE 2048.0f
#define N_TIMED 20

void
check_cuda (cudaError_t result)
{
  if (result != cudaSuccess)
    g_error ("%s", cudaGetErrorString (result));
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
device_bytes (gsize bytes)
{
  gpointer block = NULL;

  check_cuda (cudaMalloc (&block, bytes));
  check_cuda (cudaMemset (block, 0xff, bytes));
  return block;
}

gpointer
to_device (gconstpointer values, gsize bytes)
{
  gpointer block = device_bytes (bytes);

  check_cuda (cudaMemcpy (block, values, bytes, cudaMemcpyHostToDevice));
  return block;
}

gpointer
to_host (gconstpointer device, gsize bytes)
{
  gpointer values = g_malloc (bytes);

  check_cuda (cudaDeviceSynchronize ());
  check_cuda (cudaMemcpy (values, device, bytes, cudaMemcpyDeviceToHost));
  return values;
}

Mt3CudaPlanes
activations (gfloat *values, gsize n, gboolean exact)
{
  const gfloat scale = exact ? ACTIVATION_SCALE : 1.0f;
  g_autofree guint16 *hi = g_new (guint16, n);
  g_autofree guint16 *lo = g_new (guint16, n);

  for (gsize i = 0; i < n; i++) {
    const gfloat v = values[i] * scale;

    hi[i] = mt3_float_to_half (v);
    lo[i] = mt3_float_to_half ((v - mt3_half_to_float (hi[i])) * LOW_PLANE);
    if (!exact)
      values[i] = mt3_half_to_float (hi[i]);
  }
  return (Mt3CudaPlanes){
      to_device (hi, 2 * n), exact ? to_device (lo, 2 * n) : NULL};
}

Mt3CudaPlanes
empty_activations (gsize n, gboolean exact)
{
  return (Mt3CudaPlanes){
      device_bytes (2 * n), exact ? device_bytes (2 * n) : NULL};
}

gfloat *
read_activations (Mt3CudaPlanes planes, gsize n)
{
  g_autofree guint16 *hi = to_host (planes.hi, 2 * n);
  g_autofree guint16 *lo = planes.lo ? to_host (planes.lo, 2 * n) : NULL;
  gfloat *out = g_new (gfloat, n);

  for (gsize i = 0; i < n; i++) {
    out[i] = mt3_half_to_float (hi[i]);
    if (lo != NULL)
      out[i] =
          (out[i] + mt3_half_to_float (lo[i]) / LOW_PLANE) / ACTIVATION_SCALE;
  }
  return out;
}

static Mt3CudaPlanes
packed (
    const gfloat *in, gsize k, gsize n, gboolean exact, Mt3CudaLayout layout)
{
  Mt3CudaPack pack = {
      .in = to_device (in, k * n * sizeof (gfloat)),
      .k = (int) k,
      .n = (int) n,
      .out = empty_activations (k * n, exact),
      .layout = layout,
      .row_step = 1,
  };

  check_cuda (mt3_cuda_pack (&pack, NULL));
  return pack.out;
}

Mt3CudaPlanes
weight_rows (const gfloat *w, gsize k, gsize n)
{
  return packed (w, k, n, TRUE, MT3_CUDA_ROW_MAJOR);
}

Mt3CudaPlanes
activation_rows (const gfloat *a, gsize k, gsize n)
{
  g_autofree gfloat *scaled = g_new (gfloat, k * n);

  for (gsize i = 0; i < k * n; i++)
    scaled[i] = a[i] * ACTIVATION_SCALE;
  return packed (scaled, k, n, TRUE, MT3_CUDA_ROW_MAJOR);
}

Mt3CudaPlanes
decode_weights (
    gfloat *w, gsize k, gsize n, gboolean exact, Mt3CudaLayout layout)
{
  const Mt3CudaPlanes out = packed (w, k, n, exact, layout);

  for (gsize i = 0; i < k * n && !exact; i++)
    w[i] = mt3_half_to_float (mt3_float_to_half (w[i]));
  return out;
}

gpointer
cache_values (gfloat *values, gsize n, gboolean exact)
{
  return exact ? to_device (values, n * sizeof (gfloat))
               : activations (values, n, FALSE).hi;
}

Mt3CudaPlanes
cache_planes (const gfloat *values, gsize n)
{
  g_autofree guint16 *hi = g_new (guint16, n);
  g_autofree guint16 *lo = g_new (guint16, n);

  for (gsize i = 0; i < n; i++) {
    hi[i] = mt3_float_to_half (values[i]);
    lo[i] =
        mt3_float_to_half ((values[i] - mt3_half_to_float (hi[i])) * LOW_PLANE);
  }
  return (Mt3CudaPlanes){to_device (hi, 2 * n), to_device (lo, 2 * n)};
}

gfloat *
read_cache_planes (Mt3CudaPlanes planes, gsize n)
{
  const Mt3CudaPlanes high = {planes.hi, NULL}, low = {planes.lo, NULL};
  gfloat *out = read_activations (high, n);
  g_autofree gfloat *rest = read_activations (low, n);

  for (gsize i = 0; i < n; i++)
    out[i] += rest[i] / LOW_PLANE;
  return out;
}

gfloat *
read_cache (gconstpointer cache, gsize n, gboolean exact)
{
  const Mt3CudaPlanes half = {(gpointer) cache, NULL};

  return exact ? to_host (cache, n * sizeof (gfloat))
               : read_activations (half, n);
}

gdouble
time_launch (cudaError_t (*launch) (gconstpointer data), gconstpointer data)
{
  cudaEvent_t from, to;
  gfloat best = G_MAXFLOAT;

  if (g_getenv ("MT3_TEST_UNTIMED") != NULL)
    return 0.0;
  check_cuda (cudaEventCreate (&from));
  check_cuda (cudaEventCreate (&to));
  for (guint round = 0; round < 3; round++) {
    gfloat ms = 0.0f;

    check_cuda (cudaEventRecord (from, NULL));
    for (guint i = 0; i < N_TIMED; i++)
      check_cuda (launch (data));
    check_cuda (cudaEventRecord (to, NULL));
    check_cuda (cudaEventSynchronize (to));
    check_cuda (cudaEventElapsedTime (&ms, from, to));
    best = MIN (best, ms);
  }
  check_cuda (cudaEventDestroy (from));
  check_cuda (cudaEventDestroy (to));
  return best * 1000.0 / N_TIMED;
}
