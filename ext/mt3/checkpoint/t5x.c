/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/t5x.h"
#include "checkpoint/msgpack-guard.h"
#include "checkpoint/zarr.h"
#include "error.h"

#include <msgpack.h>
#include <string.h>

/* flax's extension type for arrays. */
#define EXT_NDARRAY 1

/* One array of the tree, inline (@array is set while walking) or in @folder
 * (@array is set by a worker). */
typedef struct {
  gchar *name;
  gchar *folder;
  Mt3Zarr header;
  GBytes *array;
  GError *error;
} Leaf;

/* The walk over the tree. */
typedef struct {
  GBytes *tree; /* strings and inline arrays point into it */
  const gchar *folder;
  GString *name;
  GPtrArray *leaves;
} Walk;

static void
leaf_free (gpointer data)
{
  Leaf *leaf = data;

  g_free (leaf->name);
  g_free (leaf->folder);
  if (leaf->array != NULL)
    g_bytes_unref (leaf->array);
  g_clear_error (&leaf->error);
  g_free (leaf);
}

static gboolean
key_equals (const msgpack_object *key, const gchar *name)
{
  return key->type == MSGPACK_OBJECT_STR &&
         key->via.str.size == strlen (name) &&
         memcmp (key->via.str.ptr, name, key->via.str.size) == 0;
}

static gboolean
lookup (
    const msgpack_object *map, const gchar *name, const msgpack_object **value)
{
  if (map->type != MSGPACK_OBJECT_MAP)
    return FALSE;
  for (guint32 i = 0; i < map->via.map.size; i++) {
    if (key_equals (&map->via.map.ptr[i].key, name)) {
      *value = &map->via.map.ptr[i].val;
      return TRUE;
    }
  }
  return FALSE;
}

static gchar *
lookup_string (const msgpack_object *map, const gchar *name)
{
  const msgpack_object *value;

  if (!lookup (map, name, &value) || value->type != MSGPACK_OBJECT_STR)
    return NULL;
  return g_strndup (value->via.str.ptr, value->via.str.size);
}

static Leaf *
add_leaf (Walk *walk)
{
  Leaf *leaf = g_new0 (Leaf, 1);

  leaf->name = g_strdup (walk->name->str);
  g_ptr_array_add (walk->leaves, leaf);
  return leaf;
}

static gboolean
damaged (const Walk *walk, const gchar *why, GError **error)
{
  g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT, "%s/checkpoint: %s: %s",
      walk->folder, walk->name->len > 0 ? walk->name->str : "the tree", why);
  return FALSE;
}

/* Not g_strlcpy(): that reads on to a terminator, which a string of msgpack
 * does not have. One that is too long is cut, and then is no dtype of ours. */
static void
copy_dtype (Mt3Zarr *header, const msgpack_object_str *text)
{
  gsize length = MIN (sizeof header->dtype - 1, text->size);

  memcpy (header->dtype, text->ptr, length);
  header->dtype[length] = '\0';
}

/* [shape, dtype, bytes] into @header and, when its dtype is one of ours, the
 * span of its bytes. */
static gboolean
parse_ndarray (const msgpack_object *object, Mt3Zarr *header,
    const msgpack_object_bin **bytes)
{
  const msgpack_object *items = object->via.array.ptr;
  gsize size;
  Mt3DType dtype;

  if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 3 ||
      items[0].type != MSGPACK_OBJECT_ARRAY ||
      items[0].via.array.size > MT3_TENSOR_MAX_DIMS ||
      items[1].type != MSGPACK_OBJECT_STR ||
      items[2].type != MSGPACK_OBJECT_BIN)
    return FALSE;
  header->n_dims = items[0].via.array.size;
  for (guint i = 0; i < header->n_dims; i++) {
    const msgpack_object *extent = &items[0].via.array.ptr[i];

    if (extent->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
      return FALSE;
    header->shape[i] = extent->via.u64;
  }
  copy_dtype (header, &items[1].via.str);
  *bytes = &items[2].via.bin;
  return !mt3_dtype_from_name (header->dtype, &dtype) ||
         (mt3_array_bytes (
              header->n_dims, header->shape, mt3_dtype_size (dtype), &size) &&
             size == (*bytes)->size);
}

static gboolean
add_inline (Walk *walk, const msgpack_object_ext *ext, GError **error)
{
  const gchar *start = g_bytes_get_data (walk->tree, NULL);
  const msgpack_object_bin *bytes = NULL;
  msgpack_unpacked unpacked;
  Mt3Zarr header = {0};
  size_t offset = 0;
  gboolean sound;

  if (ext->type != EXT_NDARRAY ||
      !mt3_msgpack_is_bounded ((const guint8 *) ext->ptr, ext->size))
    return damaged (walk, "expected an array", error);
  msgpack_unpacked_init (&unpacked);
  sound = msgpack_unpack_next (&unpacked, ext->ptr, ext->size, &offset) ==
              MSGPACK_UNPACK_SUCCESS &&
          parse_ndarray (&unpacked.data, &header, &bytes);
  if (sound) {
    Leaf *leaf = add_leaf (walk);

    leaf->header = header;
    leaf->array = g_bytes_new_from_bytes (
        walk->tree, (gsize) (bytes->ptr - start), bytes->size);
  }
  msgpack_unpacked_destroy (&unpacked);
  return sound ||
         damaged (
             walk, "its shape, dtype and bytes do not belong together", error);
}

/* The path in a reference may be absolute, of the machine that trained; the
 * zarr folder lies beside `checkpoint` under its last component. */
static gboolean
add_reference (Walk *walk, const msgpack_object *kvstore, GError **error)
{
  g_autofree gchar *path = lookup_string (kvstore, "path");
  g_autofree gchar *base = NULL;

  if (path == NULL || path[0] == '\0')
    return damaged (walk, "a reference without a path", error);
  base = g_path_get_basename (path);
  if (g_str_equal (base, ".") || g_str_equal (base, "..") ||
      g_str_equal (base, G_DIR_SEPARATOR_S))
    return damaged (walk, "a reference that is not a folder", error);
  add_leaf (walk)->folder = g_build_filename (walk->folder, base, NULL);
  return TRUE;
}

static gboolean walk_node (
    Walk *walk, const msgpack_object *node, GError **error);

static gboolean
walk_map (Walk *walk, const msgpack_object_map *map, GError **error)
{
  gsize length = walk->name->len;

  for (guint32 i = 0; i < map->size; i++) {
    const msgpack_object_kv *pair = map->ptr + i;

    if (pair->key.type != MSGPACK_OBJECT_STR)
      return damaged (walk, "a key that is not a string", error);
    if (length > 0)
      g_string_append_c (walk->name, '/');
    g_string_append_len (
        walk->name, pair->key.via.str.ptr, pair->key.via.str.size);
    if (!walk_node (walk, &pair->val, error))
      return FALSE;
    g_string_truncate (walk->name, length);
  }
  return TRUE;
}

static gboolean
walk_node (Walk *walk, const msgpack_object *node, GError **error)
{
  const msgpack_object *kvstore;

  if (lookup (node, "kvstore", &kvstore))
    return add_reference (walk, kvstore, error);
  if (node->type == MSGPACK_OBJECT_MAP)
    return walk_map (walk, &node->via.map, error);
  if (node->type == MSGPACK_OBJECT_EXT)
    return add_inline (walk, &node->via.ext, error);
  return damaged (walk, "expected an array or a reference to one", error);
}

static gboolean
walk_target (Walk *walk, const msgpack_object *tree, GError **error)
{
  const msgpack_object *optimizer, *target;

  if (lookup (tree, "optimizer", &optimizer))
    tree = optimizer;
  if (!lookup (tree, "target", &target))
    return damaged (walk, "no target: expected a T5X checkpoint", error);
  return walk_node (walk, target, error);
}

static gboolean
walk_tree (Walk *walk, GError **error)
{
  gsize length;
  const gchar *data = g_bytes_get_data (walk->tree, &length);
  msgpack_unpacked unpacked;
  gboolean sound;
  size_t offset = 0;

  if (!mt3_msgpack_is_bounded ((const guint8 *) data, length))
    return damaged (walk, "not msgpack; damaged or truncated", error);
  msgpack_unpacked_init (&unpacked);
  if (msgpack_unpack_next (&unpacked, data, length, &offset) ==
      MSGPACK_UNPACK_SUCCESS)
    sound = walk_target (walk, &unpacked.data, error);
  else
    sound = damaged (walk, "msgpack cannot read it", error);
  msgpack_unpacked_destroy (&unpacked);
  return sound;
}

static void
read_leaf (gpointer data, gpointer user_data)
{
  Leaf *leaf = data;

  mt3_zarr_read (leaf->folder, &leaf->header, &leaf->array, &leaf->error);
}

static guint
count_references (GPtrArray *leaves)
{
  guint n = 0;

  for (guint i = 0; i < leaves->len; i++)
    n += ((const Leaf *) g_ptr_array_index (leaves, i))->folder != NULL;
  return n;
}

static void
read_references (GPtrArray *leaves)
{
  guint n_threads = MIN (g_get_num_processors (), count_references (leaves));
  GThreadPool *pool;
  gboolean alone;

  if (n_threads == 0)
    return;
  /* Of its own: GLib ends the process when there cannot be a shared one. */
  pool = g_thread_pool_new (read_leaf, NULL, (gint) n_threads, TRUE, NULL);
  alone = g_thread_pool_get_num_threads (pool) == 0;
  for (guint i = 0; i < leaves->len; i++) {
    Leaf *leaf = g_ptr_array_index (leaves, i);

    if (leaf->folder == NULL)
      continue;
    if (alone)
      read_leaf (leaf, NULL);
    else
      g_thread_pool_push (pool, leaf, NULL);
  }
  g_thread_pool_free (pool, FALSE, TRUE);
}

/* Moves the leaves, or the first error, in the tree's order: which thread was
 * first must not show. */
static gboolean
collect (GPtrArray *leaves, Mt3Archive *archive, GError **error)
{
  for (guint i = 0; i < leaves->len; i++) {
    Leaf *leaf = g_ptr_array_index (leaves, i);
    gconstpointer data = NULL;

    if (leaf->error != NULL) {
      g_propagate_prefixed_error (
          error, g_steal_pointer (&leaf->error), "%s: ", leaf->name);
      return FALSE;
    }
    if (leaf->array != NULL) {
      data = g_bytes_get_data (leaf->array, NULL);
      mt3_archive_keep (archive, g_steal_pointer (&leaf->array));
    }
    mt3_archive_add (archive, leaf->name, leaf->header.dtype,
        leaf->header.n_dims, leaf->header.shape, data);
  }
  return TRUE;
}

Mt3Archive *
mt3_t5x_read_tree (GBytes *tree, const gchar *folder, GError **error)
{
  g_autoptr (Mt3Archive) archive = mt3_archive_new (folder);
  g_autoptr (GPtrArray) leaves = g_ptr_array_new_with_free_func (leaf_free);
  g_autoptr (GString) name = g_string_new (NULL);
  Walk walk = {tree, folder, name, leaves};

  if (!walk_tree (&walk, error))
    return NULL;
  read_references (leaves);
  if (!collect (leaves, archive, error))
    return NULL;
  return g_steal_pointer (&archive);
}

Mt3Archive *
mt3_t5x_read (const gchar *folder, GError **error)
{
  g_autofree gchar *path = g_build_filename (folder, "checkpoint", NULL);
  g_autoptr (GError) failure = NULL;
  g_autoptr (GBytes) tree = mt3_archive_map_file (path, &failure);

  if (tree != NULL)
    return mt3_t5x_read_tree (tree, folder, error);
  /* The folder itself was found. */
  if (g_error_matches (failure, MT3_ERROR, MT3_ERROR_NOT_FOUND))
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s is not a T5X checkpoint, for it has no file named checkpoint: give "
        "the folder that has, a .safetensors or a .pth file",
        folder);
  else
    g_propagate_prefixed_error (error, g_steal_pointer (&failure),
        "%s is not a T5X checkpoint: ", folder);
  return NULL;
}
