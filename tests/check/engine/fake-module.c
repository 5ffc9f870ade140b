/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fake-module.c: stands for libmt3cuda.so in the tests. FAKE_MODULE_ABI and
 * FAKE_MODULE_REASON make modules that cannot be used; the environment
 * variable FAKE_FAIL_DECODE names the decode call that fails. The description
 * tells of a draft network.
 */
#include <gmodule.h>
#include <stdlib.h>

#include "fake-backend.h"

#ifndef FAKE_MODULE_ABI
#define FAKE_MODULE_ABI MT3_BACKEND_ABI
#endif
#ifndef FAKE_MODULE_REASON
#define FAKE_MODULE_REASON NULL
#endif

static gchar *
probe (guint device_id)
{
  return g_strdup (FAKE_MODULE_REASON);
}

static Mt3Backend *
open_fake (Mt3Model *model, const Mt3BackendOptions *options, GError **error)
{
  const gchar *fail_decode = g_getenv ("FAKE_FAIL_DECODE");
  FakeOptions fake = {
      .name = "cuda",
      .n_slots = options->n_slots,
      .prefill_batch = 2,
      .fail_decode = fail_decode ? (guint) atoi (fail_decode) : 0,
  };
  Mt3Backend *backend = fake_backend_new (&fake, NULL);

  backend->precision = options->precision;
  if (options->draft != NULL) {
    g_free (backend->description);
    backend->description = g_strdup ("fake, with a draft network");
  }
  return backend;
}

G_MODULE_EXPORT const Mt3BackendModule mt3_backend_module = {
    FAKE_MODULE_ABI,
    probe,
    open_fake,
};
