/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cuda-module.h: finds the CUDA backend at run time. Nothing links CUDA, so
 * that the plugin loads on every machine and can say what is missing.
 */
#pragma once

#include "engine/backend.h"

G_BEGIN_DECLS

/**
 * mt3_cuda_module_load:
 *
 * Opens libmt3cuda.so from the directory in the environment variable
 * GST_MT3_MODULE_DIR, else from the one it is installed in, and asks it
 * whether it can run on @device_id. It stays loaded for the process's life
 * (the CUDA runtime does not survive unloading). Thread safe.
 *
 * Returns: (transfer none): the module, or %NULL with MT3_ERROR_DEVICE that
 * says what is missing (the module, a library by name, a driver, a device) and
 * what to do.
 */
const Mt3BackendModule *mt3_cuda_module_load (guint device_id, GError **error);

G_END_DECLS
