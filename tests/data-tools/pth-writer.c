/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pth-writer.h"
#include "checkpoint/half.h"

#include <string.h>

/* torch.save aligns storages to this. */
#define ALIGNMENT 64

#define LOCAL_SIZE 30

typedef struct {
  GByteArray *file;
  GByteArray *directory;
  guint n_entries;
} Zip;

static void
put_number (GByteArray *out, guint64 number, guint n_bytes)
{
  guint64 little = GUINT64_TO_LE (number);

  g_byte_array_append (out, (const guint8 *) &little, n_bytes);
}

static void
put_text (GByteArray *out, const gchar *text)
{
  g_byte_array_append (out, (const guint8 *) text, (guint) strlen (text));
}

/* The fields that the local and the central header share, from the version to
 * the length of the extra field; checksums are left out. */
static void
put_header (GByteArray *out, gsize name_length, gsize size, gsize padding)
{
  put_number (out, 0, 2); /* version */
  put_number (out, 0, 2); /* flags */
  put_number (out, 0, 2); /* stored */
  put_number (out, 0, 8); /* time, checksum */
  put_number (out, size, 4);
  put_number (out, size, 4);
  put_number (out, name_length, 2);
  put_number (out, padding, 2);
}

static void
zip_add (Zip *zip, const gchar *name, gconstpointer data, gsize size)
{
  gsize offset = zip->file->len, length = strlen (name);
  gsize padding =
      (ALIGNMENT - (offset + LOCAL_SIZE + length) % ALIGNMENT) % ALIGNMENT;

  put_number (zip->file, 0x04034b50, 4);
  put_header (zip->file, length, size, padding);
  put_text (zip->file, name);
  for (gsize i = 0; i < padding; i++)
    put_number (zip->file, 'Z', 1);
  g_byte_array_append (zip->file, data, (guint) size);

  put_number (zip->directory, 0x02014b50, 4);
  put_number (zip->directory, 0, 2);
  put_header (zip->directory, length, size, 0);
  put_number (zip->directory, 0, 4); /* comment, disk */
  put_number (zip->directory, 0, 6); /* attributes */
  put_number (zip->directory, offset, 4);
  put_text (zip->directory, name);
  zip->n_entries++;
}

static GBytes *
zip_finish (Zip *zip)
{
  gsize offset = zip->file->len;

  g_byte_array_append (zip->file, zip->directory->data, zip->directory->len);
  put_number (zip->file, 0x06054b50, 4);
  put_number (zip->file, 0, 4);
  put_number (zip->file, zip->n_entries, 2);
  put_number (zip->file, zip->n_entries, 2);
  put_number (zip->file, zip->directory->len, 4);
  put_number (zip->file, offset, 4);
  put_number (zip->file, 0, 2);
  g_byte_array_unref (zip->directory);
  return g_byte_array_free_to_bytes (zip->file);
}

static void
put_string (GByteArray *out, const gchar *text)
{
  put_text (out, "X");
  put_number (out, strlen (text), 4);
  put_text (out, text);
}

static void
put_int (GByteArray *out, gsize number)
{
  put_text (out, "J");
  put_number (out, number, 4);
}

/* _rebuild_tensor_v2 (storage, offset, shape, strides, False, OrderedDict ()),
 * where storage is the persistent ("storage", TYPE, key, "cpu", size). */
static void
put_tensor (GByteArray *out, const Mt3Tensor *tensor, const PthOptions *options,
    const gchar *key, gsize offset, gsize size)
{
  static const gchar *const classes[] = {
      "FloatStorage", "HalfStorage", "BFloat16Storage"};

  put_text (out, "ctorch._utils\n_rebuild_tensor_v2\n((");
  put_string (out, "storage");
  put_text (out, "ctorch\n");
  put_text (out, classes[options->dtype]);
  put_text (out, "\n");
  put_string (out, key);
  put_string (out, "cpu");
  put_int (out, size);
  put_text (out, "tQ");
  put_int (out, offset);
  put_text (out, "(");
  for (guint i = 0; i < tensor->n_dims; i++)
    put_int (out, tensor->shape[i]);
  put_text (out, "t(");
  for (guint i = 0; i < tensor->n_dims; i++)
    put_int (out, tensor->n_dims == 1       ? 1
                  : options->transposed     ? (i == 0 ? 1 : tensor->shape[0])
                  : i == tensor->n_dims - 1 ? 1
                                            : tensor->shape[1]);
  put_text (out, "t\x89"
                 "ccollections\nOrderedDict\n)RtR");
}

static void
put_values (GByteArray *out, const Mt3Tensor *tensor, const PthOptions *options)
{
  gsize n = mt3_tensor_n_elements (tensor);
  gboolean transposed = options->transposed && tensor->n_dims == 2;
  gsize rows = tensor->shape[0];
  const gfloat *values = tensor->data;

  for (gsize i = 0; i < n; i++) {
    gfloat value =
        values[transposed ? i % rows * tensor->shape[1] + i / rows : i];

    if (options->dtype == MT3_DTYPE_F32)
      put_number (out, mt3_float_bits (value), 4);
    else if (options->dtype == MT3_DTYPE_F16)
      put_number (out, mt3_float_to_half (value), 2);
    else
      put_number (out, mt3_float_bits (value) >> 16, 2);
  }
}

/* OrderedDict () with all tensors, and the attribute that modules put on it. */
static void
put_state_dict (GByteArray *out, const RandomModel *model,
    const PthOptions *options, gsize total)
{
  gsize offset = 0;

  put_text (out, "ccollections\nOrderedDict\n)Rq");
  put_number (out, 1, 1);
  put_text (out, "(");
  for (guint i = 0; i < model->tensors->len; i++) {
    const Mt3Tensor *tensor = &g_array_index (model->tensors, Mt3Tensor, i);
    gsize n = mt3_tensor_n_elements (tensor);
    g_autofree gchar *key = g_strdup_printf ("%u", options->shared ? 0 : i);
    g_autofree gchar *name = g_strconcat (
        options->prefix != NULL ? options->prefix : "", tensor->name, NULL);

    put_string (out, name);
    put_tensor (out, tensor, options, key, options->shared ? offset : 0,
        options->shared ? total : n);
    offset += n;
  }
  put_text (out, "u}");
  put_string (out, "_metadata");
  put_text (out, "}sb");
}

static GByteArray *
make_pickle (const RandomModel *model, const PthOptions *options, gsize total)
{
  GByteArray *out = g_byte_array_new ();

  put_text (out, "\x80\x02");
  if (options->wrapper == NULL) {
    put_state_dict (out, model, options, total);
  } else {
    put_text (out, "}(");
    put_string (out, "epoch");
    put_text (out, "K\x07");
    put_string (out, options->wrapper);
    put_state_dict (out, model, options, total);
    put_text (out, "u");
  }
  put_text (out, ".");
  return out;
}

static Zip
zip_start (const guint8 *pickle, gsize length)
{
  Zip zip = {g_byte_array_new (), g_byte_array_new (), 0};

  zip_add (&zip, "archive/data.pkl", pickle, length);
  zip_add (&zip, "archive/byteorder", "little", 6);
  return zip;
}

GBytes *
pth_write (const RandomModel *model, const PthOptions *options)
{
  g_autoptr (GByteArray) pickle = NULL, values = g_byte_array_new ();
  gsize total = 0;
  Zip zip;

  for (guint i = 0; i < model->tensors->len; i++)
    total +=
        mt3_tensor_n_elements (&g_array_index (model->tensors, Mt3Tensor, i));
  pickle = make_pickle (model, options, total);
  zip = zip_start (pickle->data, pickle->len);
  for (guint i = 0; i < model->tensors->len; i++) {
    g_autofree gchar *name = g_strdup_printf ("archive/data/%u", i);

    put_values (values, &g_array_index (model->tensors, Mt3Tensor, i), options);
    if (!options->shared) {
      zip_add (&zip, name, values->data, values->len);
      g_byte_array_set_size (values, 0);
    }
  }
  if (options->shared)
    zip_add (&zip, "archive/data/0", values->data, values->len);
  return zip_finish (&zip);
}

GBytes *
pth_write_pickle (gconstpointer pickle, gsize length, gsize storage_size)
{
  g_autoptr (GByteArray) storage = g_byte_array_new ();
  Zip zip = zip_start (pickle, length);

  g_byte_array_set_size (storage, (guint) storage_size);
  memset (storage->data, 0, storage_size);
  zip_add (&zip, "archive/data/0", storage->data, storage_size);
  return zip_finish (&zip);
}
