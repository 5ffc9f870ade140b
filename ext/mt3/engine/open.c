/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * open.c: which engine a request means, and how it is opened when nobody has
 * it open. Models and engines are shared in the process (shared.h).
 */
#include "engine/engine-private.h"

#include <fenv.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/cuda-module.h"
#include "engine/draft-search.h"
#include "engine/model-search.h"
#include "error.h"

/* A request for one engine: the key it is shared under and what loads it. An
 * engine that may go on on the CPU when CUDA fails is another than one that
 * may not, so AUTO is a device of its own here. */
typedef struct {
  const gchar *path; /* of the model */
  const gchar *identity; /* of its content */
  Mt3Device device;
  Mt3Precision precision; /* as asked for */
  Mt3BackendOptions options;
} Request;

/* A path's canonical name, and the file's time and size: a model that was
 * replaced is another model. What cannot be read is left to its reader to
 * complain about. */
static gchar *
identify_model (const gchar *path)
{
  g_autofree gchar *inner = g_build_filename (path, "checkpoint", NULL);
  const gchar *file = g_file_test (inner, G_FILE_TEST_EXISTS) ? inner : path;
  gchar *canonical = realpath (file, NULL);
  gchar *identity;
  struct stat st;

  if (canonical == NULL || stat (canonical, &st) < 0)
    identity = g_strdup (file);
  else
    identity = g_strdup_printf (
        "%s %" G_GINT64_FORMAT ".%09ld %" G_GINT64_FORMAT, canonical,
        (gint64) st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (gint64) st.st_size);
  free (canonical);
  return identity;
}

static Mt3Precision
resolve_precision (Mt3Precision precision, Mt3Device device)
{
  if (precision != MT3_PRECISION_AUTO)
    return precision;
  return device == MT3_DEVICE_CPU ? MT3_PRECISION_EXACT : MT3_PRECISION_FAST;
}

static gpointer
load_model (Mt3Shared *shared, gpointer path, GError **error)
{
  return mt3_model_open (path, error);
}

static Mt3Shared *
share_model (const Request *request, GError **error)
{
  g_autofree gchar *key = g_strdup_printf ("model %s", request->identity);

  return mt3_shared_acquire (key, load_model, (gpointer) request->path,
      (GDestroyNotify) mt3_model_unref, error);
}

static Mt3Backend *
open_cuda_backend (Mt3Model *model, Mt3BackendOptions *options, GError **error)
{
  const Mt3BackendModule *module =
      mt3_cuda_module_load (options->device_id, error);
  g_autoptr (Mt3Draft) draft = NULL;
  GError *wrong = NULL;

  if (module == NULL)
    return NULL;
  draft = mt3_draft_search (model, &wrong);
  if (wrong != NULL) {
    g_propagate_error (error, wrong);
    return NULL;
  }
  options->draft = draft;
  return module->open (model, options, error);
}

static Mt3Backend *
open_backend (const Request *request, Mt3Model *model, GError **error)
{
  Mt3BackendOptions options = request->options;

  options.precision = resolve_precision (request->precision, request->device);
  return request->device == MT3_DEVICE_CPU
             ? mt3_cpu_backend_open (model, &options, error)
             : open_cuda_backend (model, &options, error);
}

/* What the CPU needs to take over from CUDA in mid-run. */
typedef struct {
  Mt3Model *model;
  Mt3BackendOptions options;
} Substitute;

static Mt3Backend *
open_substitute (gpointer data, GError **error)
{
  Substitute *substitute = data;

  return mt3_cpu_backend_open (substitute->model, &substitute->options, error);
}

static void
substitute_free (gpointer data)
{
  Substitute *substitute = data;

  mt3_model_unref (substitute->model);
  g_free (substitute);
}

static void
set_cpu_substitute (Mt3Engine *engine, const Request *request, Mt3Model *model)
{
  Substitute *substitute = g_new0 (Substitute, 1);

  substitute->model = mt3_model_ref (model);
  substitute->options = request->options;
  substitute->options.precision =
      resolve_precision (request->precision, MT3_DEVICE_CPU);
  mt3_scheduler_set_substitute (mt3_engine_scheduler (engine), open_substitute,
      substitute, substitute_free);
}

/* The model is let go of afterwards: beside the backend's own copy of the
 * weights, that of a T5X directory would take as much memory again. */
static Mt3Engine *
new_engine (Mt3Shared *shared, const Request *request, GError **error)
{
  g_autoptr (Mt3Shared) use = share_model (request, error);
  Mt3Backend *backend;
  Mt3Engine *engine;
  Mt3Model *model;

  if (use == NULL)
    return NULL;
  model = mt3_shared_value (use);
  backend = open_backend (request, model, error);
  if (backend == NULL)
    return NULL;
  mt3_model_release_pages (model);
  engine = mt3_engine_new (
      shared, mt3_model_path (model), backend, mt3_model_config (model), error);
  if (engine != NULL && request->device == MT3_DEVICE_AUTO)
    set_cpu_substitute (engine, request, model);
  return engine;
}

/* An application may round differently or flush denormals (libraries built with
 * -ffast-math do so to the whole process). The engine's threads inherit what
 * is set while they start, and their results must not depend on it. */
static gpointer
load_engine (Mt3Shared *shared, gpointer request, GError **error)
{
  Mt3Engine *engine;
  fenv_t theirs;

  fegetenv (&theirs);
  fesetenv (FE_DFL_ENV);
  engine = new_engine (shared, request, error);
  fesetenv (&theirs);
  return engine;
}

static Mt3Engine *
share_engine (Request *request, GError **error)
{
  g_autofree gchar *key =
      g_strdup_printf ("engine %d %u %d %s", request->device,
          request->device == MT3_DEVICE_CPU ? 0 : request->options.device_id,
          request->precision, request->identity);

  for (;;) {
    Mt3Shared *use =
        mt3_shared_acquire (key, load_engine, request, mt3_engine_free, error);
    Mt3Engine *engine;

    if (use == NULL)
      return NULL;
    engine = mt3_shared_value (use);
    if (!mt3_engine_is_dead (engine))
      return engine;
    mt3_shared_evict (use);
    mt3_shared_unref (use);
  }
}

/* NULL, with the reason. For whom it is no use the model is not even read: this
 * happens for every element of a process that has an engine on the CPU. */
static Mt3Engine *
open_cuda (Request *request, const Mt3EngineOptions *options, GError **error)
{
  if (options->beam_size > 1) {
    g_set_error_literal (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "The CUDA engine has no beam search: use device=cpu, or beam-size=1");
    return NULL;
  }
  if (mt3_cuda_module_load (options->cuda_device_id, error) == NULL)
    return NULL;
  return share_engine (request, error);
}

static Mt3Engine *
open_cpu (Request *request, const Mt3EngineOptions *options, GError **error)
{
  Mt3Engine *engine = share_engine (request, error);
  Mt3EngineStats stats;

  if (engine == NULL)
    return NULL;
  mt3_engine_get_stats (engine, &stats);
  if (options->beam_size <= stats.max_beams)
    return engine;
  g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
      "beam-size=%u: the engine that others opened for this model searches "
      "with %u at most: let them have a batch-size of %u or more",
      options->beam_size, stats.max_beams, options->beam_size);
  mt3_engine_unref (engine);
  return NULL;
}

Mt3Engine *
mt3_engine_open (const Mt3EngineOptions *options, GError **error)
{
  g_autofree gchar *path = mt3_model_search (options->model_file, error);
  g_autofree gchar *identity = NULL;
  g_autoptr (GError) cuda_error = NULL;
  Request request = {0};
  Mt3Engine *engine = NULL;

  if (path == NULL)
    return NULL;
  identity = identify_model (path);
  request.path = path;
  request.identity = identity;
  request.device = options->device;
  request.precision = options->precision;
  if (options->device != MT3_DEVICE_AUTO)
    request.precision = resolve_precision (options->precision, options->device);
  request.options.n_slots = options->batch_size;
  if (options->batch_size > 0)
    request.options.n_slots = MAX (options->batch_size, options->beam_size);
  request.options.n_threads = options->n_threads;
  request.options.device_id = options->cuda_device_id;
  if (options->device == MT3_DEVICE_CPU)
    return open_cpu (&request, options, error);
  if (options->device == MT3_DEVICE_CUDA)
    return open_cuda (&request, options, error);

  engine = open_cuda (&request, options, &cuda_error);
  if (engine != NULL)
    return engine;
  /* Who named a draft network wants speed, and on the CPU would not learn why
   * there is none. */
  if (g_error_matches (cuda_error, MT3_ERROR, MT3_ERROR_DRAFT)) {
    g_propagate_error (error, g_steal_pointer (&cuda_error));
    return NULL;
  }
  request.device = MT3_DEVICE_CPU;
  request.precision = resolve_precision (options->precision, MT3_DEVICE_CPU);
  engine = open_cpu (&request, options, error);
  if (engine != NULL)
    mt3_engine_set_fallback (engine, cuda_error->message);
  return engine;
}
