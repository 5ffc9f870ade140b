/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * graph.h: kernels that are started together, again and again.
 */
#pragma once

#include "engine/cuda/memory.h"

G_BEGIN_DECLS

/* Starts the kernels of @self for so many rows or blocks on its stream. */
typedef cudaError_t (*Mt3CudaEnqueue) (gconstpointer self, guint size);

/**
 * mt3_cuda_graph_new:
 * @stream: that @enqueue uses; nothing else does meanwhile
 * @what: is started, for messages: "decode steps"
 *
 * Captures what @enqueue starts. Kernels are loaded at their first launch,
 * which a capture does not allow: they have to have run before.
 *
 * Returns: free with mt3_cuda_graph_free(); %NULL on error
 */
cudaGraphExec_t mt3_cuda_graph_new (cudaStream_t stream, Mt3CudaEnqueue enqueue,
    gconstpointer self, guint size, const gchar *what, GError **error);

/* Takes a cudaGraphExec_t; a GDestroyNotify. */
void mt3_cuda_graph_free (gpointer graph);

G_END_DECLS
