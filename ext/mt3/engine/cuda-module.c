/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda-module.h"

#include <gmodule.h>

#include "config.h"
#include "error.h"

#define MODULE_FILE "libmt3cuda.so"
#define MODULE_SYMBOL "mt3_backend_module"

static gchar *
find_file (GError **error)
{
  const gchar *named = g_getenv ("GST_MT3_MODULE_DIR");
  const gchar *dir = named && named[0] ? named : MT3_MODULEDIR;
  g_autofree gchar *path = g_build_filename (dir, MODULE_FILE, NULL);

  if (g_file_test (path, G_FILE_TEST_EXISTS))
    return g_steal_pointer (&path);
  g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
      "the CUDA engine is not installed: there is no %s; install it (build "
      "with -Dcuda=enabled), name its directory with GST_MT3_MODULE_DIR, or "
      "use the CPU",
      path);
  return NULL;
}

/* Checked before anything of the module is called: a module of another version
 * may lay out its table differently. */
static const Mt3BackendModule *
find_table (GModule *file, GError **error)
{
  gpointer symbol = NULL;
  const Mt3BackendModule *module;

  if (!g_module_symbol (file, MODULE_SYMBOL, &symbol) || symbol == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
        "%s is not a module of this program (it has no %s): install the one "
        "that was built with this version, " PACKAGE_VERSION,
        g_module_name (file), MODULE_SYMBOL);
    return NULL;
  }
  module = symbol;
  if (module->abi != MT3_BACKEND_ABI) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
        "%s speaks version %u of the backend interface, this program version "
        "%u: install the one that was built with this "
        "version, " PACKAGE_VERSION,
        g_module_name (file), module->abi, MT3_BACKEND_ABI);
    return NULL;
  }
  return module;
}

const Mt3BackendModule *
mt3_cuda_module_load (guint device_id, GError **error)
{
  g_autofree gchar *path = find_file (error);
  g_autofree gchar *reason = NULL;
  const Mt3BackendModule *module;
  GModule *file;

  if (path == NULL)
    return NULL;
  /* Not lazily: a missing function should show here, not mid-run. */
  file = g_module_open (path, G_MODULE_BIND_LOCAL);
  if (file == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
        "the CUDA engine cannot be loaded: %s; install what is missing or use "
        "the CPU",
        g_module_error ());
    return NULL;
  }
  module = find_table (file, error);
  if (module == NULL) {
    g_module_close (file);
    return NULL;
  }
  g_module_make_resident (file);
  reason = module->probe (device_id);
  if (reason != NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_DEVICE,
        "CUDA device %u cannot be used: %s", device_id, reason);
    return NULL;
  }
  return module;
}
