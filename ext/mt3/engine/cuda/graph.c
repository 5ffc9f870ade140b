/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/graph.h"

/* A capture that another library of the process broke, by waiting for the whole
 * device meanwhile, is begun again so many times. */
#define CAPTURES 8

static cudaError_t
capture (cudaStream_t stream, Mt3CudaEnqueue enqueue, gconstpointer self,
    guint size, cudaGraph_t *graph)
{
  cudaError_t result = cudaErrorStreamCaptureInvalidated;

  for (guint i = 0; i < CAPTURES && result == cudaErrorStreamCaptureInvalidated;
       i++) {
    cudaError_t enqueued;

    result = cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
    if (result != cudaSuccess)
      return result;
    enqueued = enqueue (self, size);
    result = cudaStreamEndCapture (stream, graph);
    if (result == cudaSuccess)
      result = enqueued;
  }
  return result;
}

cudaGraphExec_t
mt3_cuda_graph_new (cudaStream_t stream, Mt3CudaEnqueue enqueue,
    gconstpointer self, guint size, const gchar *what, GError **error)
{
  g_autofree gchar *doing = g_strconcat ("capture ", what, NULL);
  g_autofree gchar *instantiate = g_strconcat ("instantiate ", what, NULL);
  cudaGraph_t graph = NULL;
  cudaGraphExec_t executable = NULL;
  gboolean ok;

  ok =
      mt3_cuda_check (
          capture (stream, enqueue, self, size, &graph), doing, error) &&
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
