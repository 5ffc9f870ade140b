/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * memory.h: CUDA errors as GErrors, and device memory that is freed as one.
 */
#pragma once

#include "mt3-cuda-kernels.h"

#include <glib.h>

G_BEGIN_DECLS

/**
 * mt3_cuda_check:
 * @what: what was tried, for the message: "copy samples to the device"
 *
 * Returns: %TRUE on cudaSuccess, else %FALSE with MT3_ERROR_DEVICE (or
 * MT3_ERROR_MEMORY) that names @what, CUDA's reason and what to do.
 */
gboolean mt3_cuda_check (cudaError_t result, const gchar *what, GError **error);

/* Waits for the end of what was started on @stream (nullable), before what it
 * uses is freed. Never for the whole device: that would break what another
 * engine captures at the time. */
void mt3_cuda_wait_idle (cudaStream_t stream);

/* Blocks of device and pinned host memory of one owner. Zero to start. */
typedef struct {
  GPtrArray *device_blocks;
  GPtrArray *host_blocks;
  guint64 device_bytes;
  guint64 host_bytes;
} Mt3CudaMemory;

/* Device memory, zeroed; %NULL with an error that names @what. Of 0 bytes, too,
 * it is something. */
gpointer mt3_cuda_memory_device (
    Mt3CudaMemory *self, gsize bytes, const gchar *what, GError **error);

/* Page-locked host memory, zeroed. */
gpointer mt3_cuda_memory_host (
    Mt3CudaMemory *self, gsize bytes, const gchar *what, GError **error);

/* A float16 matrix, with its second plane when @split. */
gboolean mt3_cuda_memory_planes (Mt3CudaMemory *self, gsize elements,
    gboolean split, Mt3CudaPlanes *planes, const gchar *what, GError **error);

/* Frees all blocks; nothing that uses them may be under way. */
void mt3_cuda_memory_clear (Mt3CudaMemory *self);

G_END_DECLS
