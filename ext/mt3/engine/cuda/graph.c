/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/graph.h"

cudaGraphExec_t
mt3_cuda_graph_new (cudaStream_t stream, Mt3CudaEnqueue enqueue,
    gconstpointer self, guint size, const gchar *what, GError **error)
{
  g_autofree gchar *capture = g_strconcat ("capture ", what, NULL);
  g_autofree gchar *instantiate = g_strconcat ("instantiate ", what, NULL);
  cudaGraph_t graph = NULL;
  cudaGraphExec_t executable = NULL;
  cudaError_t enqueued;
  gboolean ok;

  if (!mt3_cuda_check (
          cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal),
          capture, error))
    return NULL;
  enqueued = enqueue (self, size);
  ok =
      mt3_cuda_check (cudaStreamEndCapture (stream, &graph), capture, error) &&
      mt3_cuda_check (enqueued, capture, error) &&
      mt3_cuda_check (
          cudaGraphInstantiate (&executable, graph, 0), instantiate, error) &&
      mt3_cuda_check (cudaGraphUpload (executable, stream), instantiate, error);
  if (graph != NULL)
    cudaGraphDestroy (graph);
  if (ok || executable == NULL)
    return executable;
  cudaGraphExecDestroy (executable);
  return NULL;
}

void
mt3_cuda_graph_free (gpointer graph)
{
  cudaGraphExecDestroy (graph);
}
