/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * graph.h: kernels that are started together, again and again.
 */
#pragma once

#include "engine/cuda/memory.h"

G_BEGIN_DECLS

/* Starts the kernels of @self for so many rows or blocks on its stream. */
typedef cudaError_t (*Mt3CudaEnqueue) (gconstpointer self, guint size);

typedef struct _Mt3CudaGraph Mt3CudaGraph;

/**
 * mt3_cuda_graph_new:
 * @stream: that @enqueue uses; nothing else does meanwhile
 * @self: stays as long as the graph does
 * @what: is started, for messages: "decode steps"
 *
 * Captures what @enqueue starts. Kernels are loaded at their first launch,
 * which a capture does not allow: they have to have run before.
 *
 * With GST_MT3_CUDA_GRAPHS=0 in the environment nothing is captured, and
 * mt3_cuda_graph_launch() has @enqueue start the same kernels one by one: for
 * tools that cannot look into graphs, or need too much memory to.
 *
 * Returns: free with mt3_cuda_graph_free(); %NULL on error
 */
Mt3CudaGraph *mt3_cuda_graph_new (cudaStream_t stream, Mt3CudaEnqueue enqueue,
    gconstpointer self, guint size, const gchar *what, GError **error);

/* Starts the kernels on the graph's stream. */
cudaError_t mt3_cuda_graph_launch (const Mt3CudaGraph *self);

/* Takes a Mt3CudaGraph; a GDestroyNotify. */
void mt3_cuda_graph_free (gpointer self);

G_END_DECLS
