/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixtures.h"
#include "checkpoint/safetensors-writer.h"

#include <glib/gstdio.h>
#include <string.h>

gchar *fixture_folder;

void
fixture_set_up (void)
{
  fixture_folder = g_dir_make_tmp ("mt3-check-XXXXXX", NULL);
  ck_assert_ptr_nonnull (fixture_folder);
}

static void
remove_all (const gchar *path)
{
  g_autoptr (GDir) folder = g_dir_open (path, 0, NULL);
  const gchar *name;

  while (folder != NULL && (name = g_dir_read_name (folder)) != NULL) {
    g_autofree gchar *entry = g_build_filename (path, name, NULL);

    remove_all (entry);
  }
  g_remove (path);
}

void
fixture_tear_down (void)
{
  remove_all (fixture_folder);
  g_clear_pointer (&fixture_folder, g_free);
}

gchar *
fixture_path (const gchar *name)
{
  return g_build_filename (fixture_folder, name, NULL);
}

Mt3Config
fixture_config (void)
{
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.n_mels = 12;
  config.d_model = 8;
  config.n_heads = 2;
  config.head_dim = 4;
  config.encoder_layers = 2;
  config.decoder_layers = 1;
  config.encoder_d_ff = 16;
  config.decoder_d_ff = 20;
  config.vocab_size = 24;
  return config;
}

static guint
find_index (RandomModel *model, const gchar *name)
{
  for (guint i = 0; i < model->tensors->len; i++)
    if (g_str_equal (g_array_index (model->tensors, Mt3Tensor, i).name, name))
      return i;
  ck_abort_msg ("no tensor %s", name);
  return 0;
}

Mt3Tensor *
fixture_find (RandomModel *model, const gchar *name)
{
  return &g_array_index (model->tensors, Mt3Tensor, find_index (model, name));
}

void
fixture_remove (RandomModel *model, const gchar *name)
{
  g_array_remove_index (model->tensors, find_index (model, name));
}

gchar *
fixture_write_as (const RandomModel *model, Mt3DType dtype)
{
  gchar *path = fixture_path ("model.safetensors");
  g_autoptr (GError) error = NULL;

  ck_assert_msg (random_model_write (model, path, dtype, &error), "%s",
      error != NULL ? error->message : "");
  return path;
}

gchar *
fixture_write (const RandomModel *model)
{
  return fixture_write_as (model, MT3_DTYPE_F32);
}

gchar *
fixture_write_header (const gchar *header, gsize n_bytes)
{
  guint64 length = GUINT64_TO_LE (strlen (header));
  g_autoptr (GString) file = g_string_new (NULL);
  gchar *path = fixture_path ("model.safetensors");

  g_string_append_len (file, (const gchar *) &length, sizeof length);
  g_string_append (file, header);
  g_string_set_size (file, file->len + n_bytes);
  memset (file->str + file->len - n_bytes, 0, n_bytes);
  ck_assert (g_file_set_contents (path, file->str, (gssize) file->len, NULL));
  return path;
}

void
fixture_must_fail (const gchar *path, Mt3Error code, const gchar *part)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Mt3Model) model = mt3_model_open (path, &error);

  ck_assert_ptr_null (model);
  ck_assert_ptr_nonnull (error);
  ck_assert_msg (strstr (error->message, part) != NULL, "no \"%s\" in: %s",
      part, error->message);
  ck_assert_msg (error->domain == MT3_ERROR && error->code == (gint) code,
      "code %d: %s", error->code, error->message);
}

Mt3Model *
fixture_must_open (const gchar *path)
{
  g_autoptr (GError) error = NULL;
  Mt3Model *model = mt3_model_open (path, &error);

  ck_assert_msg (model != NULL, "%s", error != NULL ? error->message : "");
  return model;
}

static void
tensors_must_equal (const Mt3Tensor *a, const Mt3Tensor *b)
{
  gsize n = mt3_tensor_n_elements (a);
  gsize rows = a->n_dims == 2 ? a->shape[0] : 1;
  g_autofree gfloat *x = g_new (gfloat, n), *y = g_new (gfloat, n);

  ck_assert_str_eq (a->name, b->name);
  ck_assert_uint_eq (a->n_dims, b->n_dims);
  for (guint i = 0; i < a->n_dims; i++)
    ck_assert_uint_eq (a->shape[i], b->shape[i]);
  mt3_tensor_read_block (a, 0, rows, 0, n / rows, x);
  mt3_tensor_read_block (b, 0, rows, 0, n / rows, y);
  ck_assert_msg (memcmp (x, y, n * sizeof *x) == 0, "%s", a->name);
}

void
fixture_must_equal (const Mt3Model *a, const Mt3Model *b)
{
  guint n_a, n_b;
  const Mt3Tensor *x = mt3_model_tensors (a, &n_a);
  const Mt3Tensor *y = mt3_model_tensors (b, &n_b);

  ck_assert_uint_eq (n_a, n_b);
  for (guint i = 0; i < n_a; i++)
    tensors_must_equal (&x[i], &y[i]);
}
