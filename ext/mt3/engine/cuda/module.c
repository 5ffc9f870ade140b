/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * module.c: what libmt3cuda.so exports, and why it may not be able to run.
 */
#include "engine/cuda/cuda-backend.h"

#include <cuda_runtime_api.h>
#include <gmodule.h>

#define DRIVER "libcuda.so.1"

/* The oldest compute capability that there is code for: 7.5. */
#define OLDEST 75

/* Without a driver the runtime says only that one is insufficient. */
static gchar *
probe_driver (void)
{
  GModule *driver = g_module_open (DRIVER, G_MODULE_BIND_LAZY);
  int has = 0, needs = 0;

  if (driver == NULL)
    return g_strdup ("there is no NVIDIA driver (" DRIVER
                     " cannot be opened): install one, or use the CPU");
  g_module_close (driver);
  if (cudaDriverGetVersion (&has) != cudaSuccess ||
      cudaRuntimeGetVersion (&needs) != cudaSuccess ||
      has / 1000 < needs / 1000)
    return g_strdup_printf (
        "the NVIDIA driver is too old: it supports CUDA %d.%d, this engine "
        "needs %d.0 or later; update the driver, or use the CPU",
        has / 1000, has % 1000 / 10, needs / 1000);
  return NULL;
}

static gchar *
probe_device (guint device_id)
{
  struct cudaDeviceProp properties;
  int count = 0;
  cudaError_t result = cudaGetDeviceCount (&count);

  if (result == cudaErrorNoDevice || (result == cudaSuccess && count == 0))
    return g_strdup ("the NVIDIA driver finds no device; use the CPU");
  if (result == cudaSuccess && device_id >= (guint) count)
    return g_strdup_printf ("there is no such device, only 0 to %d", count - 1);
  if (result == cudaSuccess)
    result = cudaGetDeviceProperties (&properties, (int) device_id);
  if (result != cudaSuccess)
    return g_strdup_printf (
        "CUDA does not start: %s (%s); see the driver's messages in the "
        "system's log, or use the CPU",
        cudaGetErrorString (result), cudaGetErrorName (result));
  if (properties.major * 10 + properties.minor < OLDEST)
    return g_strdup_printf (
        "%s has compute capability %d.%d, and the engine needs %d.%d; use the "
        "CPU",
        properties.name, properties.major, properties.minor, OLDEST / 10,
        OLDEST % 10);
  return NULL;
}

gchar *
mt3_cuda_probe (guint device_id)
{
  gchar *reason = probe_driver ();

  return reason != NULL ? reason : probe_device (device_id);
}

G_MODULE_EXPORT const Mt3BackendModule mt3_backend_module = {
    .abi = MT3_BACKEND_ABI,
    .probe = mt3_cuda_probe,
    .open = mt3_cuda_backend_open,
};
