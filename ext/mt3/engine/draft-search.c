/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define G_LOG_DOMAIN "gst-mt3"
#include "engine/draft-search.h"

#include "engine/model-search.h"
#include "error.h"

#define DRAFT_NAME "draft.safetensors"

/* G_MESSAGES_DEBUG=gst-mt3 shows why a file is not used. */
static Mt3Draft *
try_place (const gchar *path, const Mt3Model *model)
{
  g_autoptr (GError) reason = NULL;
  Mt3Draft *draft;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return NULL;
  draft = mt3_draft_open (path, model, &reason);
  if (draft == NULL)
    g_debug ("not the draft network: %s", reason->message);
  else
    g_debug ("the draft network: %s", path);
  return draft;
}

static Mt3Draft *
open_named (const gchar *path, const Mt3Model *model, GError **error)
{
  g_autoptr (GError) reason = NULL;
  Mt3Draft *draft = mt3_draft_open (path, model, &reason);

  if (draft == NULL)
    g_set_error (error, MT3_ERROR, MT3_ERROR_DRAFT,
        "GST_MT3_DRAFT names a draft network that cannot be used; correct or "
        "unset it: %s",
        reason->message);
  return draft;
}

Mt3Draft *
mt3_draft_search (const Mt3Model *model, GError **error)
{
  const gchar *variable = g_getenv ("GST_MT3_DRAFT");
  g_autoptr (GPtrArray) places = NULL;
  Mt3Draft *draft = NULL;

  if (g_strcmp0 (variable, "none") == 0)
    return NULL;
  if (variable != NULL && variable[0] != '\0')
    return open_named (variable, model, error);
  places = mt3_model_places (DRAFT_NAME);
  for (guint i = 0; draft == NULL && i < places->len; i++)
    draft = try_place (g_ptr_array_index (places, i), model);
  return draft;
}
