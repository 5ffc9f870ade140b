/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "t5x-writer.h"
#include "checkpoint/half.h"

#include <check.h>
#include <glib/gstdio.h>
#include <msgpack.h>
#include <string.h>
#include <zlib.h>

typedef struct {
  const RandomModel *model;
  const gchar *folder;
  const T5xOptions *options;
  msgpack_packer *packer;
} Writer;

static void
pack_string (msgpack_packer *packer, const gchar *text, gsize length)
{
  msgpack_pack_str_with_body (packer, text, length);
}

static void
pack_key (msgpack_packer *packer, const gchar *text)
{
  pack_string (packer, text, strlen (text));
}

void
t5x_write_gzip (const gchar *path, gconstpointer data, gsize length)
{
  gzFile file = gzopen (path, "wb1");

  ck_assert_ptr_nonnull (file);
  ck_assert_int_eq (gzwrite (file, data, (unsigned) length), (int) length);
  ck_assert_int_eq (gzclose (file), Z_OK);
}

/* flax's array: extension type 1 holding [shape, dtype, bytes]. */
static void
pack_inline (msgpack_packer *packer, const Mt3Tensor *tensor)
{
  msgpack_sbuffer buffer;
  msgpack_packer inner;

  msgpack_sbuffer_init (&buffer);
  msgpack_packer_init (&inner, &buffer, msgpack_sbuffer_write);
  msgpack_pack_array (&inner, 3);
  msgpack_pack_array (&inner, 1);
  msgpack_pack_uint64 (&inner, tensor->shape[0]);
  pack_key (&inner, "float32");
  msgpack_pack_bin_with_body (
      &inner, tensor->data, tensor->shape[0] * sizeof (gfloat));
  msgpack_pack_ext_with_body (packer, buffer.data, buffer.size, 1);
  msgpack_sbuffer_destroy (&buffer);
}

static void
write_chunk (const Mt3Tensor *tensor, const gchar *path, const gchar *dtype)
{
  gsize n = mt3_tensor_n_elements (tensor);
  const gfloat *values = tensor->data;
  g_autofree guint16 *halves = g_new (guint16, n);

  for (gsize i = 0; i < n; i++)
    halves[i] = mt3_float_to_half (values[i]);
  if (g_str_equal (dtype, "<f2"))
    t5x_write_gzip (path, halves, 2 * n);
  else
    t5x_write_gzip (path, values, 4 * n);
}

/* {"kvstore": {"path": FOLDER}}, and the folder. */
static void
pack_zarr (const Writer *writer, const Mt3Tensor *tensor)
{
  const gchar *dtype =
      writer->options->dtype != NULL ? writer->options->dtype : "<f4";
  g_autofree gchar *dotted = g_strdelimit (g_strdup (tensor->name), "/", '.');
  g_autofree gchar *name = g_strdup_printf ("target.%s", dotted);
  g_autofree gchar *folder = g_build_filename (writer->folder, name, NULL);
  g_autofree gchar *header = g_build_filename (folder, ".zarray", NULL);
  g_autofree gchar *chunk = g_build_filename (folder, "0.0", NULL);
  g_autofree gchar *text = g_strdup_printf (
      "{\"chunks\":[%zu,%zu],\"compressor\":{\"id\":\"gzip\",\"level\":1},"
      "\"dtype\":\"%s\",\"fill_value\":null,\"filters\":null,\"order\":\"C\","
      "\"shape\":[%zu,%zu],\"zarr_format\":2}",
      tensor->shape[0], tensor->shape[1], dtype, tensor->shape[0],
      tensor->shape[1]);

  ck_assert_int_eq (g_mkdir (folder, 0700), 0);
  ck_assert (g_file_set_contents (header, text, -1, NULL));
  write_chunk (tensor, chunk, dtype);
  msgpack_pack_map (writer->packer, 2);
  pack_key (writer->packer, "driver");
  pack_key (writer->packer, "zarr");
  pack_key (writer->packer, "kvstore");
  msgpack_pack_map (writer->packer, 1);
  pack_key (writer->packer, "path");
  pack_key (writer->packer, name);
}

static void pack_node (const Writer *writer, const gchar *prefix);

/* The distinct next components of the names that start with @prefix. */
static GPtrArray *
list_children (const Writer *writer, const gchar *prefix)
{
  GPtrArray *children = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < writer->model->tensors->len; i++) {
    const gchar *name =
        g_array_index (writer->model->tensors, Mt3Tensor, i).name;
    g_autofree gchar *child = NULL;

    if (!g_str_has_prefix (name, prefix))
      continue;
    name += strlen (prefix);
    child = g_strndup (name, strcspn (name, "/"));
    if (!g_ptr_array_find_with_equal_func (children, child, g_str_equal, NULL))
      g_ptr_array_add (children, g_steal_pointer (&child));
  }
  return children;
}

static const Mt3Tensor *
find_tensor (const RandomModel *model, const gchar *name)
{
  for (guint i = 0; i < model->tensors->len; i++) {
    const Mt3Tensor *tensor = &g_array_index (model->tensors, Mt3Tensor, i);

    if (g_str_equal (tensor->name, name))
      return tensor;
  }
  return NULL;
}

static void
pack_child (const Writer *writer, const gchar *prefix, const gchar *child)
{
  g_autofree gchar *name = g_strconcat (prefix, child, NULL);
  g_autofree gchar *deeper = g_strconcat (name, "/", NULL);
  const Mt3Tensor *tensor = find_tensor (writer->model, name);

  pack_key (writer->packer, child);
  if (tensor == NULL)
    pack_node (writer, deeper);
  else if (tensor->n_dims == 1)
    pack_inline (writer->packer, tensor);
  else
    pack_zarr (writer, tensor);
}

static void
pack_node (const Writer *writer, const gchar *prefix)
{
  g_autoptr (GPtrArray) children = list_children (writer, prefix);

  msgpack_pack_map (writer->packer, children->len);
  for (guint i = 0; i < children->len; i++)
    pack_child (writer, prefix, children->pdata[i]);
}

/* {"version": 3, "optimizer": {"state": {...}, "target": PARAMETERS}} */
static void
pack_optimizer (const Writer *writer)
{
  const gfloat zero = 0.0f;
  const Mt3Tensor state = {.n_dims = 1, .shape = {1}, .data = &zero};

  msgpack_pack_map (writer->packer, 2);
  pack_key (writer->packer, "version");
  msgpack_pack_int (writer->packer, 3);
  pack_key (writer->packer, "optimizer");
  msgpack_pack_map (writer->packer, 2);
  pack_key (writer->packer, "state");
  msgpack_pack_map (writer->packer, 1);
  pack_key (writer->packer, "param_states");
  pack_inline (writer->packer, &state);
  pack_key (writer->packer, "target");
  pack_node (writer, "");
}

void
t5x_write (
    const RandomModel *model, const gchar *folder, const T5xOptions *options)
{
  g_autofree gchar *path = g_build_filename (folder, "checkpoint", NULL);
  msgpack_sbuffer buffer;
  msgpack_packer packer;
  Writer writer = {model, folder, options, &packer};

  msgpack_sbuffer_init (&buffer);
  msgpack_packer_init (&packer, &buffer, msgpack_sbuffer_write);
  if (options->bare) {
    msgpack_pack_map (&packer, 1);
    pack_key (&packer, "target");
    pack_node (&writer, "");
  } else {
    pack_optimizer (&writer);
  }
  ck_assert (
      g_file_set_contents (path, buffer.data, (gssize) buffer.size, NULL));
  msgpack_sbuffer_destroy (&buffer);
}
