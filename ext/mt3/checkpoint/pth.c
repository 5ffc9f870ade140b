/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/pth.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip.h"
#include "error.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Wrappers around a state dict, {"state_dict": {"model": ...}} at most. */
#define MAX_WRAPPERS 2

/* What a state dict may name. Dtypes are never needed, but harmless. */
enum { ORDERED_DICT, REBUILD_TENSOR, FIRST_STORAGE };

static const Mt3PickleGlobal globals[] = {
    [ORDERED_DICT] = {"collections.OrderedDict", MT3_PICKLE_DICT_CLASS},
    [REBUILD_TENSOR] = {"torch._utils._rebuild_tensor_v2", MT3_PICKLE_FUNCTION},
    [FIRST_STORAGE] = {"torch.FloatStorage"},
    {"torch.HalfStorage"},
    {"torch.BFloat16Storage"},
    {"torch.DoubleStorage"},
    {"torch.LongStorage"},
    {"torch.IntStorage"},
    {"torch.ShortStorage"},
    {"torch.CharStorage"},
    {"torch.ByteStorage"},
    {"torch.BoolStorage"},
    {"torch.float32"},
    {"torch.float16"},
    {"torch.bfloat16"},
    {NULL},
};

/* In the order of the globals. Types that no tensor of MT3 has are there to be
 * reported by name. */
static const struct {
  const gchar *dtype_name;
  gsize size;
} storages[] = {
    {"float32", 4},
    {"float16", 2},
    {"bfloat16", 2},
    {"float64", 8},
    {"int64", 8},
    {"int32", 4},
    {"int16", 2},
    {"int8", 1},
    {"uint8", 1},
    {"bool", 1},
};

typedef struct {
  GHashTable *files; /* name in the zip -> GBytes */
  const gchar *pickle_name; /* "archive/data.pkl" */
  const gchar *path;
  Mt3Archive *archive;
} Reader;

/* A file beside data.pkl, in the folder of any name that torch.save gave it. */
static GBytes *
find_file (const Reader *reader, const gchar *name)
{
  gsize prefix = strlen (reader->pickle_name) - strlen ("data.pkl");
  g_autofree gchar *full =
      g_strdup_printf ("%.*s%s", (int) prefix, reader->pickle_name, name);

  return g_hash_table_lookup (reader->files, full);
}

static gboolean
find_pickle (Reader *reader, GError **error)
{
  GHashTableIter iter;
  gpointer name;
  guint n = 0;

  g_hash_table_iter_init (&iter, reader->files);
  while (g_hash_table_iter_next (&iter, &name, NULL)) {
    if (g_str_equal (name, "data.pkl") ||
        g_str_has_suffix (name, "/data.pkl")) {
      reader->pickle_name = name;
      n++;
    }
  }
  if (n == 1)
    return TRUE;
  mt3_format_error (error, reader->path,
      "a zip file with %u entries data.pkl; expected the one of torch.save", n);
  return FALSE;
}

/* Storages are saved in the byte order of the machine that wrote them. */
static gboolean
check_byte_order (const Reader *reader, GError **error)
{
  GBytes *order = find_file (reader, "byteorder");
  g_autoptr (GBytes) little = g_bytes_new_static ("little", 6);

  if (order != NULL && !g_bytes_equal (order, little))
    return mt3_format_error (
        error, reader->path, "its numbers are not little-endian");
  return TRUE;
}

/* ("storage", torch.FloatStorage, "0", "cpu", 512): its bytes, and the index of
 * its type. */
static GBytes *
find_storage (const Reader *reader, const gchar *name,
    const Mt3PickleValue *value, gsize *type, GError **error)
{
  const Mt3PickleValue *id = value->argument, *class, *key;
  g_autofree gchar *file = NULL;
  GBytes *bytes;

  if (value->type != MT3_PICKLE_PERSISTENT || mt3_pickle_n_items (id) != 5 ||
      !mt3_pickle_is_string (mt3_pickle_item (id, 0), "storage")) {
    mt3_format_error (
        error, reader->path, "tensor %s: expected a storage", name);
    return NULL;
  }
  class = mt3_pickle_item (id, 1);
  key = mt3_pickle_item (id, 2);
  *type = (gsize) class->number - FIRST_STORAGE;
  if (class->type != MT3_PICKLE_GLOBAL || *type >= G_N_ELEMENTS (storages) ||
      key->type != MT3_PICKLE_STRING ||
      !g_utf8_validate (key->text, (gssize) key->length, NULL)) {
    mt3_format_error (
        error, reader->path, "tensor %s: a storage without type or key", name);
    return NULL;
  }
  file = g_strdup_printf ("data/%.*s", (int) key->length, key->text);
  bytes = find_file (reader, file);
  if (bytes == NULL)
    mt3_format_error (
        error, reader->path, "tensor %s: there is no storage %s", name, file);
  return bytes;
}

/* Reads a tuple of non-negative integers. */
static gboolean
read_sizes (const Mt3PickleValue *tuple, guint *n, gsize *sizes)
{
  *n = mt3_pickle_n_items (tuple);
  if (tuple->type != MT3_PICKLE_TUPLE || *n > MT3_TENSOR_MAX_DIMS)
    return FALSE;
  for (guint i = 0; i < *n; i++) {
    const Mt3PickleValue *size = mt3_pickle_item (tuple, i);

    if (size->type != MT3_PICKLE_INT || size->number < 0)
      return FALSE;
    sizes[i] = (gsize) size->number;
  }
  return TRUE;
}

/* Whether @strides walk all elements without gap or overlap, row by row or (of
 * a matrix) column by column. The stride of an extent of 1 means nothing. */
static gboolean
is_dense (guint n_dims, const gsize *shape, const gsize *strides,
    gboolean column_major)
{
  gsize expected = 1;

  for (guint i = 0; i < n_dims; i++) {
    guint axis = column_major ? i : n_dims - 1 - i;

    if (shape[axis] != 1 && strides[axis] != expected)
      return FALSE;
    expected *= shape[axis];
  }
  return TRUE;
}

typedef struct {
  const gchar *dtype_name;
  gsize element; /* bytes */
  gsize offset; /* in elements */
  guint n_dims;
  gsize shape[MT3_TENSOR_MAX_DIMS], strides[MT3_TENSOR_MAX_DIMS];
  gboolean column_major;
} View;

/* (storage, offset, shape, strides, ...) */
static gboolean
read_view (const Reader *reader, const gchar *name,
    const Mt3PickleValue *arguments, View *view, GError **error)
{
  const Mt3PickleValue *offset;
  guint n_strides;
  gsize bytes;

  if (mt3_pickle_n_items (arguments) < 4)
    return mt3_format_error (
        error, reader->path, "tensor %s: expected four arguments", name);
  offset = mt3_pickle_item (arguments, 1);
  if (offset->type != MT3_PICKLE_INT || offset->number < 0 ||
      !read_sizes (
          mt3_pickle_item (arguments, 2), &view->n_dims, view->shape) ||
      !read_sizes (mt3_pickle_item (arguments, 3), &n_strides, view->strides) ||
      n_strides != view->n_dims ||
      !mt3_array_bytes (view->n_dims, view->shape, view->element, &bytes))
    return mt3_format_error (error, reader->path,
        "tensor %s: expected an offset, a shape and strides of at most %d "
        "sizes, and no more than 2 GiB",
        name, MT3_TENSOR_MAX_DIMS);
  view->offset = (gsize) offset->number;
  view->column_major = view->n_dims == 2 &&
                       is_dense (2, view->shape, view->strides, TRUE) &&
                       !is_dense (2, view->shape, view->strides, FALSE);
  if (!view->column_major &&
      !is_dense (view->n_dims, view->shape, view->strides, FALSE))
    return mt3_format_error (error, reader->path,
        "tensor %s: its strides leave gaps or overlap; save it after "
        ".contiguous ()",
        name);
  return TRUE;
}

static void
add_tensor (const Reader *reader, const gchar *name, const View *view,
    const guint8 *data)
{
  mt3_archive_add (reader->archive, name, view->dtype_name, view->n_dims,
      view->shape, data + view->offset * view->element);
  if (view->column_major) {
    GArray *entries = reader->archive->entries;
    Mt3Tensor *tensor =
        &g_array_index (entries, Mt3ArchiveEntry, entries->len - 1).tensor;

    tensor->stride[0] = 1;
    tensor->stride[1] = view->shape[0];
  }
}

static gboolean
read_tensor (const Reader *reader, const gchar *name,
    const Mt3PickleValue *call, GError **error)
{
  const Mt3PickleValue *arguments = call->argument;
  gsize n = 1, type, length;
  View view;
  GBytes *storage;

  if (mt3_pickle_n_items (arguments) == 0)
    return mt3_format_error (
        error, reader->path, "tensor %s: no storage", name);
  storage =
      find_storage (reader, name, mt3_pickle_item (arguments, 0), &type, error);
  if (storage == NULL)
    return FALSE;
  view.dtype_name = storages[type].dtype_name;
  view.element = storages[type].size;
  if (!read_view (reader, name, arguments, &view, error))
    return FALSE;
  for (guint i = 0; i < view.n_dims; i++)
    n *= view.shape[i];
  length = g_bytes_get_size (storage) / view.element;
  if (view.offset > length || n > length - view.offset) {
    g_autofree gchar *shape = mt3_shape_to_string (view.n_dims, view.shape);

    return mt3_format_error (error, reader->path,
        "tensor %s: %s from element %" G_GSIZE_FORMAT
        " do not lie in its storage of %" G_GSIZE_FORMAT,
        name, shape, view.offset, length);
  }
  add_tensor (reader, name, &view, g_bytes_get_data (storage, NULL));
  return TRUE;
}

static gboolean
is_tensor (const Mt3PickleValue *value)
{
  return value->type == MT3_PICKLE_CALL && value->number == REBUILD_TENSOR;
}

static gboolean
has_tensors (const Mt3PickleValue *dict)
{
  for (guint i = 0; i + 1 < mt3_pickle_n_items (dict); i += 2)
    if (is_tensor (mt3_pickle_item (dict, i + 1)))
      return TRUE;
  return FALSE;
}

/* What training tools wrap a state dict in also holds its progress. */
static const Mt3PickleValue *
unwrap (const Mt3PickleValue *dict)
{
  static const gchar *const wrappers[] = {
      "state_dict", "model_state_dict", "model"};

  for (gsize w = 0; w < G_N_ELEMENTS (wrappers); w++)
    for (guint i = 0; i + 1 < mt3_pickle_n_items (dict); i += 2)
      if (mt3_pickle_is_string (mt3_pickle_item (dict, i), wrappers[w]) &&
          mt3_pickle_item (dict, i + 1)->type == MT3_PICKLE_DICT)
        return mt3_pickle_item (dict, i + 1);
  return NULL;
}

static const Mt3PickleValue *
find_state_dict (const Mt3PickleValue *root)
{
  const Mt3PickleValue *dict = root->type == MT3_PICKLE_DICT ? root : NULL;

  for (guint i = 0; i < MAX_WRAPPERS && dict != NULL && !has_tensors (dict);
       i++)
    dict = unwrap (dict);
  return dict != NULL && has_tensors (dict) ? dict : NULL;
}

/* What wrappers of modules (DataParallel, Lightning, torch.compile) put before
 * every name: the bytes to leave out. */
static gsize
shared_prefix (const GPtrArray *names)
{
  static const gchar *const prefixes[] = {"module.", "model.", "_orig_mod."};
  gsize length = 0;
  gboolean found;

  do {
    found = FALSE;
    for (gsize p = 0; p < G_N_ELEMENTS (prefixes) && !found; p++) {
      found = TRUE;
      for (guint i = 0; i < names->len && found; i++)
        found = g_str_has_prefix (
            (const gchar *) names->pdata[i] + length, prefixes[p]);
      if (found)
        length += strlen (prefixes[p]);
    }
  } while (found);
  return length;
}

/* The tensors and their names; what else stands in the dict is left out. */
static gboolean
list_tensors (const Reader *reader, const Mt3PickleValue *dict,
    GPtrArray *names, GPtrArray *tensors, GError **error)
{
  for (guint i = 0; i + 1 < mt3_pickle_n_items (dict); i += 2) {
    const Mt3PickleValue *key = mt3_pickle_item (dict, i);

    if (!is_tensor (mt3_pickle_item (dict, i + 1)))
      continue;
    if (key->type != MT3_PICKLE_STRING ||
        !g_utf8_validate (key->text, (gssize) key->length, NULL))
      return mt3_format_error (
          error, reader->path, "a tensor whose name is no text");
    g_ptr_array_add (names, g_strndup (key->text, key->length));
    g_ptr_array_add (tensors, (gpointer) mt3_pickle_item (dict, i + 1));
  }
  return TRUE;
}

static gboolean
read_state_dict (
    const Reader *reader, const Mt3PickleValue *root, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) tensors = g_ptr_array_new ();
  const Mt3PickleValue *dict = find_state_dict (root);
  gsize prefix;

  if (dict == NULL)
    return mt3_format_error (error, reader->path,
        "no state dict in it; save one: torch.save (model.state_dict (), "
        "FILE)");
  if (!list_tensors (reader, dict, names, tensors, error))
    return FALSE;
  prefix = shared_prefix (names);
  for (guint i = 0; i < names->len; i++)
    if (!read_tensor (reader, (const gchar *) names->pdata[i] + prefix,
            tensors->pdata[i], error))
      return FALSE;
  return TRUE;
}

/* Old files begin with a pickled magic number. */
static gboolean
is_old_format (const guint8 *data, gsize length)
{
  static const guint8 magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
      0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

  return length >= sizeof magic && memcmp (data, magic, sizeof magic) == 0;
}

static gboolean
is_zip (const guint8 *data, gsize length)
{
  return length >= 4 && memcmp (data, "PK\3\4", 4) == 0;
}

static gboolean
read_all (Reader *reader, GBytes *bytes, GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);
  g_autofree gchar *what = g_strdup_printf ("%s: data.pkl", reader->path);
  g_autoptr (Mt3Pickle) pickle = NULL;

  if (is_old_format (data, length))
    return mt3_format_error (error, reader->path,
        "in the format of PyTorch before 1.6; save it anew with a later one: "
        "torch.save (torch.load (OLD), NEW)");
  if (!is_zip (data, length))
    return mt3_format_error (error, reader->path,
        "not a file of torch.save (which is a zip file), or damaged");
  reader->files = mt3_zip_read (bytes, reader->path, error);
  if (reader->files == NULL || !find_pickle (reader, error) ||
      !check_byte_order (reader, error))
    return FALSE;
  pickle =
      mt3_pickle_read (find_file (reader, "data.pkl"), what, globals, error);
  return pickle != NULL && read_state_dict (reader, pickle->root, error);
}

Mt3Archive *
mt3_pth_read_bytes (GBytes *bytes, const gchar *path, GError **error)
{
  g_autoptr (Mt3Archive) archive = mt3_archive_new (path);
  Reader reader = {.path = path, .archive = archive};
  gboolean read = read_all (&reader, bytes, error);

  g_clear_pointer (&reader.files, g_hash_table_unref);
  if (!read)
    return NULL;
  mt3_archive_keep (archive, g_bytes_ref (bytes));
  return g_steal_pointer (&archive);
}

Mt3Archive *
mt3_pth_read (const gchar *path, GError **error)
{
  g_autoptr (GBytes) bytes = mt3_archive_map_file (path, error);
  Mt3Archive *archive;

  if (bytes == NULL)
    return NULL;
  archive = mt3_pth_read_bytes (bytes, path, error);
  if (archive != NULL)
    archive->mapping = bytes;
  return archive;
}

gboolean
mt3_pth_is_likely (const gchar *path)
{
  guint8 start[16];
  gssize length;
  int fd;

  if (g_str_has_suffix (path, ".pth") || g_str_has_suffix (path, ".pt"))
    return TRUE;
  fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return FALSE;
  length = read (fd, start, sizeof start);
  (void) close (fd);
  return length > 0 && (is_zip (start, (gsize) length) ||
                           is_old_format (start, (gsize) length));
}
