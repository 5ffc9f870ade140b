/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "clip.h"

#include <sndfile.h>
#include <string.h>

#include "error.h"

#define BLOCK 4096

static void
take_windows (GPtrArray *windows, Mt3Windower *windower, SNDFILE *file)
{
  gfloat block[BLOCK];
  sf_count_t n;

  while ((n = sf_read_float (file, block, BLOCK)) > 0)
    for (gsize done = 0; done < (gsize) n;) {
      Mt3Window *window;

      done += mt3_windower_push (windower, block + done, n - done);
      window = mt3_windower_take (windower);
      if (window != NULL)
        g_ptr_array_add (windows, window);
    }
  if (mt3_windower_n_samples (windower) > 0)
    g_ptr_array_add (windows, mt3_windower_finish (windower));
}

GPtrArray *
clip_read (const gchar *path, const Mt3Config *config, GError **error)
{
  SF_INFO info = {0};
  SNDFILE *file = sf_open (path, SFM_READ, &info);
  g_autoptr (Mt3Windower) windower = mt3_windower_new (config, NULL);
  g_autoptr (GPtrArray) windows = g_ptr_array_new_with_free_func (g_free);

  if (file == NULL) {
    g_set_error (
        error, MT3_ERROR, MT3_ERROR_IO, "%s: %s", path, sf_strerror (NULL));
    return NULL;
  }
  if (info.channels != 1 || info.samplerate != (int) config->sample_rate) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "%s: %d channels at %d Hz; this benchmark reads mono at %u Hz", path,
        info.channels, info.samplerate, config->sample_rate);
    sf_close (file);
    return NULL;
  }
  take_windows (windows, windower, file);
  sf_close (file);
  if (windows->len > 0)
    return g_steal_pointer (&windows);
  g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
      "%s: not one sample can be decoded", path);
  return NULL;
}

gboolean
clip_write_wav (const GPtrArray *windows, const Mt3Config *config,
    const gchar *path, GError **error)
{
  SF_INFO info = {.samplerate = (int) config->sample_rate,
      .channels = 1,
      .format = SF_FORMAT_WAV | SF_FORMAT_PCM_16};
  SNDFILE *file = sf_open (path, SFM_WRITE, &info);
  gboolean written = file != NULL;

  for (guint i = 0; written && i < windows->len; i++) {
    const Mt3Window *window = g_ptr_array_index (windows, i);
    sf_count_t n = (sf_count_t) window->n_frames * config->hop_length;

    written = sf_write_float (file, window->samples, n) == n;
  }
  if (!written)
    g_set_error (
        error, MT3_ERROR, MT3_ERROR_IO, "%s: %s", path, sf_strerror (file));
  if (file != NULL)
    sf_close (file);
  return written;
}

Mt3Window *
clip_copy_window (const Mt3Window *window, const Mt3Config *config,
    guint64 index, gboolean last)
{
  gsize bytes = mt3_config_window_samples (config) * sizeof (gfloat);
  Mt3Window *copy = g_memdup2 (window, sizeof *window + bytes);

  copy->index = index;
  copy->last = last;
  return copy;
}

static GArray *
read_tokens (JsonArray *ids)
{
  guint n = json_array_get_length (ids);
  GArray *tokens = g_array_sized_new (FALSE, FALSE, sizeof (guint16), n);

  for (guint i = 0; i < n; i++) {
    guint16 token = json_array_get_int_element (ids, i);

    g_array_append_val (tokens, token);
  }
  return tokens;
}

JsonArray *
golden_read_array (const gchar *path, const gchar *name, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonNode *root, *member = NULL;

  if (!json_parser_load_from_file (parser, path, error))
    return NULL;
  root = json_parser_get_root (parser);
  if (root != NULL && JSON_NODE_HOLDS_OBJECT (root))
    member = json_object_get_member (json_node_get_object (root), name);
  if (member != NULL && JSON_NODE_HOLDS_ARRAY (member))
    return json_node_dup_array (member);
  g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
      "%s: expected a JSON object with an array \"%s\"", path, name);
  return NULL;
}

GPtrArray *
golden_read (const gchar *path, GError **error)
{
  g_autoptr (JsonArray) segments = golden_read_array (path, "segments", error);
  GPtrArray *golden;

  if (segments == NULL)
    return NULL;
  golden = g_ptr_array_new_with_free_func ((GDestroyNotify) g_array_unref);
  for (guint i = 0; i < json_array_get_length (segments); i++) {
    JsonArray *segment = json_array_get_array_element (segments, i);

    g_ptr_array_add (
        golden, read_tokens (json_array_get_array_element (segment, 1)));
  }
  return golden;
}

gboolean
golden_matches (
    const GPtrArray *golden, guint i, const guint16 *tokens, guint n_tokens)
{
  const GArray *expected;

  if (i >= golden->len)
    return FALSE;
  expected = g_ptr_array_index (golden, i);
  return expected->len == n_tokens &&
         (n_tokens == 0 ||
             memcmp (expected->data, tokens, n_tokens * sizeof (guint16)) == 0);
}
