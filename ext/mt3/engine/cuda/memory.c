/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/memory.h"

#include <string.h>

#include "error.h"

gboolean
mt3_cuda_check (cudaError_t result, const gchar *what, GError **error)
{
  if (result == cudaSuccess)
    return TRUE;
  /* Errors of a launch stay behind as the last error. */
  (void) cudaGetLastError ();
  if (result == cudaErrorMemoryAllocation)
    g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY,
        "out of device memory (%s): use fewer slots, free memory on the "
        "device or use the CPU",
        what);
  else
    g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
        "CUDA failed to %s: %s (%s); see the system's log for the driver's "
        "reason, or use the CPU",
        what, cudaGetErrorString (result), cudaGetErrorName (result));
  return FALSE;
}

void
mt3_cuda_wait_idle (cudaStream_t stream)
{
  /* An error belongs to who waits for what was started. */
  if (stream != NULL)
    (void) cudaStreamSynchronize (stream);
}

static void
free_device (gpointer block)
{
  cudaFree (block);
}

static void
free_host (gpointer block)
{
  cudaFreeHost (block);
}

gpointer
mt3_cuda_memory_device (
    Mt3CudaMemory *self, gsize bytes, const gchar *what, GError **error)
{
  g_autofree gchar *doing = g_strdup_printf (
      "take %" G_GSIZE_FORMAT " MiB for %s", bytes >> 20, what);
  gpointer block = NULL;

  if (!mt3_cuda_check (cudaMalloc (&block, MAX (bytes, 1)), doing, error))
    return NULL;
  if (self->device_blocks == NULL)
    self->device_blocks = g_ptr_array_new_with_free_func (free_device);
  g_ptr_array_add (self->device_blocks, block);
  self->device_bytes += bytes;
  /* Other streams do not wait for the one that clears. */
  if (!mt3_cuda_check (cudaMemset (block, 0, bytes), doing, error) ||
      !mt3_cuda_check (cudaStreamSynchronize (NULL), doing, error))
    return NULL;
  return block;
}

gpointer
mt3_cuda_memory_host (
    Mt3CudaMemory *self, gsize bytes, const gchar *what, GError **error)
{
  g_autofree gchar *doing = g_strdup_printf (
      "page-lock %" G_GSIZE_FORMAT " KiB for %s", bytes >> 10, what);
  gpointer block = NULL;

  if (!mt3_cuda_check (cudaMallocHost (&block, bytes), doing, error))
    return NULL;
  if (self->host_blocks == NULL)
    self->host_blocks = g_ptr_array_new_with_free_func (free_host);
  g_ptr_array_add (self->host_blocks, block);
  self->host_bytes += bytes;
  memset (block, 0, bytes);
  return block;
}

gboolean
mt3_cuda_memory_planes (Mt3CudaMemory *self, gsize elements, gboolean split,
    Mt3CudaPlanes *planes, const gchar *what, GError **error)
{
  planes->hi = mt3_cuda_memory_device (self, elements * 2, what, error);
  if (planes->hi == NULL)
    return FALSE;
  planes->lo = NULL;
  if (split)
    planes->lo = mt3_cuda_memory_device (self, elements * 2, what, error);
  return !split || planes->lo != NULL;
}

void
mt3_cuda_memory_clear (Mt3CudaMemory *self)
{
  g_clear_pointer (&self->device_blocks, g_ptr_array_unref);
  g_clear_pointer (&self->host_blocks, g_ptr_array_unref);
  self->device_bytes = 0;
  self->host_bytes = 0;
}
