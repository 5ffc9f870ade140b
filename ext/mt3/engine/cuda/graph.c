/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/graph.h"

/* A capture that another library of the process broke, by waiting for the whole
 * device meanwhile, is begun again so many times. */
#define CAPTURES 8

struct _Mt3CudaGraph {
  cudaStream_t stream;
  Mt3CudaEnqueue enqueue;
  gconstpointer enqueued;
  guint size;
  cudaGraphExec_t executable; /* NULL: kernels are started one by one */
};

static cudaError_t
capture (const Mt3CudaGraph *self, cudaGraph_t *graph)
{
  cudaError_t result = cudaErrorStreamCaptureInvalidated;

  for (guint i = 0; i < CAPTURES && result == cudaErrorStreamCaptureInvalidated;
       i++) {
    cudaError_t enqueued;

    result =
        cudaStreamBeginCapture (self->stream, cudaStreamCaptureModeThreadLocal);
    if (result != cudaSuccess)
      return result;
    enqueued = self->enqueue (self->enqueued, self->size);
    result = cudaStreamEndCapture (self->stream, graph);
    if (result == cudaSuccess)
      result = enqueued;
  }
  return result;
}

static gboolean
instantiate (Mt3CudaGraph *self, const gchar *what, GError **error)
{
  g_autofree gchar *capturing = g_strconcat ("capture ", what, NULL);
  g_autofree gchar *instantiating = g_strconcat ("instantiate ", what, NULL);
  cudaGraph_t graph = NULL;
  gboolean ok;

  ok = mt3_cuda_check (capture (self, &graph), capturing, error) &&
       mt3_cuda_check (cudaGraphInstantiate (&self->executable, graph, 0),
           instantiating, error) &&
       mt3_cuda_check (cudaGraphUpload (self->executable, self->stream),
           instantiating, error);
  if (graph != NULL)
    cudaGraphDestroy (graph);
  return ok;
}

Mt3CudaGraph *
mt3_cuda_graph_new (cudaStream_t stream, Mt3CudaEnqueue enqueue,
    gconstpointer self, guint size, const gchar *what, GError **error)
{
  const gchar *wish = g_getenv ("GST_MT3_CUDA_GRAPHS");
  Mt3CudaGraph *graph = g_new0 (Mt3CudaGraph, 1);

  *graph = (Mt3CudaGraph){stream, enqueue, self, size, NULL};
  if (g_strcmp0 (wish, "0") == 0 || instantiate (graph, what, error))
    return graph;
  mt3_cuda_graph_free (graph);
  return NULL;
}

cudaError_t
mt3_cuda_graph_launch (const Mt3CudaGraph *self)
{
  if (self->executable == NULL)
    return self->enqueue (self->enqueued, self->size);
  return cudaGraphLaunch (self->executable, self->stream);
}

void
mt3_cuda_graph_free (gpointer self)
{
  Mt3CudaGraph *graph = self;

  if (graph->executable != NULL)
    cudaGraphExecDestroy (graph->executable);
  g_free (graph);
}
