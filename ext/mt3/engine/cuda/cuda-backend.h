/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cuda-backend.h: the engine on a CUDA device, as the scheduler sees it.
 */
#pragma once

#include "engine/backend.h"

G_BEGIN_DECLS

/**
 * mt3_cuda_probe:
 *
 * Returns: (transfer full): why nothing can run on @device_id, or %NULL when
 * it can. Takes no device memory.
 */
gchar *mt3_cuda_probe (guint device_id);

/* See Mt3BackendModule. A reference to @model is kept: a window that leaves
 * the range of float16 is computed again, step by step in the split form, whose
 * weights are loaded then. */
Mt3Backend *mt3_cuda_backend_open (
    Mt3Model *model, const Mt3BackendOptions *options, GError **error);

G_END_DECLS
