/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * PyTorch state dicts load like the same model in other formats; files that are
 * none get an error that says why.
 */
#define _GNU_SOURCE /* memmem */
#include "fixtures.h"
#include "checkpoint/pth.h"
#include "pth-writer.h"

#include <string.h>

static RandomModel *model;

static void
set_up (void)
{
  Mt3Config config = fixture_config ();
  g_autofree gchar *config_json = NULL;

  fixture_set_up ();
  model = random_model_new (&config, 1, TRUE);
  config_json = fixture_path ("config.json");
  ck_assert (g_file_set_contents (
      config_json, "{\"model_type\":\"t5\",\"d_kv\":4}", -1, NULL));
}

static void
tear_down (void)
{
  random_model_free (model);
  fixture_tear_down ();
}

static gchar *
write_bytes (const gchar *name, gconstpointer data, gsize length)
{
  gchar *path = fixture_path (name);

  ck_assert (g_file_set_contents (path, data, (gssize) length, NULL));
  return path;
}

static gchar *
write_pth (const gchar *name, const PthOptions *options)
{
  g_autoptr (GBytes) bytes = pth_write (model, options);
  gsize length;
  gconstpointer data = g_bytes_get_data (bytes, &length);

  return write_bytes (name, data, length);
}

static const struct {
  const gchar *name;
  PthOptions options;
} forms[] = {
    {"model.pth", {.dtype = MT3_DTYPE_F32}},
    {"model.pt", {.dtype = MT3_DTYPE_F16}},
    {"model.bin", {.dtype = MT3_DTYPE_BF16}},
    {"model.pth", {.transposed = TRUE}},
    {"model.pth", {.shared = TRUE}},
    {"model.pth", {.wrapper = "state_dict"}},
    {"model.pth", {.wrapper = "model"}},
    {"model.pth", {.wrapper = "model_state_dict"}},
    {"model.pth", {.prefix = "model."}},
    {"model.pth", {.prefix = "module._orig_mod."}},
    {"model.ckpt", {.wrapper = "state_dict", .prefix = "model."}},
};

/* Weights of random models are exact in every dtype. */
START_TEST (a_state_dict_equals_the_same_model_in_safetensors)
{
  g_autofree gchar *other = fixture_write (model);
  g_autofree gchar *path = write_pth (forms[_i].name, &forms[_i].options);
  g_autoptr (Mt3Model) expected = fixture_must_open (other);
  g_autoptr (Mt3Model) found = fixture_must_open (path);

  fixture_must_equal (found, expected);
}
END_TEST

START_TEST (t5x_names_load_too)
{
  Mt3Config config = fixture_config ();
  g_autofree gchar *path = NULL, *other = fixture_write (model);
  g_autoptr (Mt3Model) found = NULL, expected = fixture_must_open (other);

  random_model_free (model);
  model = random_model_new (&config, 1, FALSE);
  path = write_pth ("t5x.pth", &(PthOptions){0});
  found = fixture_must_open (path);
  fixture_must_equal (found, expected);
}
END_TEST

START_TEST (tensors_are_views_of_the_mapped_file)
{
  g_autoptr (GBytes) bytes = pth_write (model, &(PthOptions){0});
  g_autoptr (Mt3Archive) archive = mt3_pth_read_bytes (bytes, "x", NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);

  ck_assert_ptr_nonnull (archive);
  ck_assert_uint_eq (archive->entries->len, model->tensors->len);
  for (guint i = 0; i < archive->entries->len; i++) {
    const guint8 *tensor =
        g_array_index (archive->entries, Mt3ArchiveEntry, i).tensor.data;

    ck_assert (tensor > data && tensor < data + length);
  }
}
END_TEST

START_TEST (a_prefix_of_some_names_only_stays)
{
  g_autofree gchar *path = NULL;

  fixture_find (model, "lm_head.weight")->name = "model.lm_head.weight";
  path = write_pth ("model.pth", &(PthOptions){0});
  fixture_must_fail (path, MT3_ERROR_MODEL,
      "decoder/logits_dense/kernel (in the file: lm_head.weight): expected "
      "8 x 24, found none");
}
END_TEST

START_TEST (a_file_cut_short_anywhere_is_refused)
{
  g_autoptr (GBytes) bytes = pth_write (model, &(PthOptions){0});
  gsize length;
  const gchar *data = g_bytes_get_data (bytes, &length);

  for (gsize i = 0; i < length; i += i < 8 ? 1 : 7) {
    g_autoptr (GError) error = NULL;
    /* A copy, so that memory checkers see a byte too many. */
    g_autoptr (GBytes) cut = g_bytes_new (data, i);

    ck_assert_ptr_null (mt3_pth_read_bytes (cut, "x.pth", &error));
    ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_FORMAT));
  }
}
END_TEST

/* Replaces the first occurrence of @from in a sound file by @to. */
static gchar *
write_changed (const gchar *from, const gchar *to, gsize n)
{
  g_autoptr (GBytes) bytes = pth_write (model, &(PthOptions){0});
  gsize length;
  g_autofree gchar *data =
      g_memdup2 (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  gchar *at;

  length = g_bytes_get_size (bytes);
  at = memmem (data, length, from, n);
  ck_assert_ptr_nonnull (at);
  memcpy (at, to, n);
  return write_bytes ("changed.pth", data, length);
}

static const struct {
  const gchar *from, *to;
  gsize n;
  const gchar *message;
} changed[] = {
    {"PK\1\2\0\0\0\0\0\0\0\0", "PK\1\2\0\0\0\0\1\0\0\0", 12, "is encrypted"},
    {"PK\1\2\0\0\0\0\0\0\0\0", "PK\1\2\0\0\0\0\0\0\10\0", 12,
        "entry archive/data.pkl is compressed"},
    {"PK\1\2", "PK\3\3", 4, "no zip entry at byte"},
    {"PK\5\6", "PK\5\7", 4, "no zip directory at its end"},
    {"little", "bigend", 6, "not little-endian"},
    {"FloatStorage", "DoublStorage", 12, "names torch.DoublStorage"},
    {"PK\3\4", "PK\3\5", 4, "not a file of torch.save"},
};

START_TEST (a_damaged_zip_says_where)
{
  g_autofree gchar *path =
      write_changed (changed[_i].from, changed[_i].to, changed[_i].n);

  fixture_must_fail (path, MT3_ERROR_FORMAT, changed[_i].message);
}
END_TEST

#define OLD_MAGIC "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

START_TEST (the_format_before_1_6_is_recognised_by_any_name)
{
  g_autofree gchar *path =
      write_bytes ("old.bin", OLD_MAGIC, sizeof OLD_MAGIC - 1);

  fixture_must_fail (path, MT3_ERROR_FORMAT,
      "in the format of PyTorch before 1.6; save it anew");
}
END_TEST

START_TEST (a_pth_that_is_something_else_is_refused)
{
  g_autofree gchar *path = write_bytes ("text.pth", "hello", 5);

  fixture_must_fail (path, MT3_ERROR_FORMAT, "not a file of torch.save");
}
END_TEST

/* One tensor "a" in a storage of four floats. */
#define STORAGE(class, key)                                                    \
  "(X\7\0\0\0storagectorch\n" class "\nX\1\0\0\0" key "X\3\0\0\0cpuK\4tQ"
#define TENSOR(storage, offset, shape, strides)                                \
  "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset shape strides "\x89}"  \
  "tR"
#define FLOATS STORAGE ("FloatStorage", "0")
#define DICT(value) "\x80\2}X\1\0\0\0a" value "s."
#define CASE(pickle, message)                                                  \
  {                                                                            \
    pickle, sizeof (pickle) - 1, message                                       \
  }

static const struct {
  const gchar *pickle;
  gsize length;
  const gchar *message;
} tensors[] = {
    CASE (DICT (TENSOR (FLOATS, "K\1", "(K\4t", "(K\1t")),
        "tensor a: 4 from element 1 do not lie in its storage of 4"),
    CASE (DICT (TENSOR (FLOATS, "J\377\377\377\377", "(K\1t", "(K\1t")),
        "tensor a: expected an offset"),
    CASE (DICT (TENSOR (FLOATS, "\x8a\10\377\377\377\377\377\377\377\177",
              "(K\1t", "(K\1t")),
        "do not lie in its storage"),
    CASE (DICT (TENSOR (
              FLOATS, "K\0", "(\x8a\10\1\0\0\0\0\0\0\100K\4t", "(K\4K\1t")),
        "no more than 2 GiB"),
    CASE (DICT (TENSOR (FLOATS, "K\0", "(K\2K\2t", "(K\1t")),
        "expected an offset, a shape and strides"),
    CASE (
        DICT (TENSOR (FLOATS, "K\0", "(K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1t")),
        "at most 4 sizes"),
    CASE (DICT (TENSOR (FLOATS, "K\0", "(K\2K\2t", "(K\0K\1t")),
        "tensor a: its strides leave gaps or overlap"),
    CASE (DICT (TENSOR (FLOATS, "K\0", "(K\2K\2t", "(K\1K\1t")), "overlap"),
    CASE (DICT (TENSOR (FLOATS, "K\0", "(K\2t", "(K\2t")), "leave gaps"),
    CASE (
        DICT (TENSOR (STORAGE ("FloatStorage", "7"), "K\0", "(K\1t", "(K\1t")),
        "there is no storage data/7"),
    CASE (
        DICT (TENSOR (STORAGE ("DoubleStorage", "0"), "K\0", "(K\4t", "(K\1t")),
        "do not lie in its storage of 2"),
    CASE (DICT (TENSOR (STORAGE ("float32", "0"), "K\0", "(K\4t", "(K\1t")),
        "a storage without type"),
    CASE (DICT (TENSOR ("K\1", "K\0", "(K\4t", "(K\1t")), "expected a storage"),
    CASE (DICT ("ctorch._utils\n_rebuild_tensor_v2\n)R"), "no storage"),
    CASE (DICT ("ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS "tR"),
        "expected four arguments"),
    CASE ("\x80\2}N" TENSOR (FLOATS, "K\0", "(K\4t", "(K\1t") "s.",
        "name is no text"),
    CASE (DICT ("K\1"), "no state dict in it"),
    CASE ("\x80\2].", "no state dict in it"),
    CASE ("\x80\2}q\0X\12\0\0\0state_dicth\0s.", "no state dict in it"),
};

START_TEST (a_tensor_that_cannot_be_is_named)
{
  g_autoptr (GBytes) bytes =
      pth_write_pickle (tensors[_i].pickle, tensors[_i].length, 16);
  gsize length;
  gconstpointer data = g_bytes_get_data (bytes, &length);
  g_autofree gchar *path = write_bytes ("model.pth", data, length);

  fixture_must_fail (path, MT3_ERROR_FORMAT, tensors[_i].message);
}
END_TEST

START_TEST (a_type_that_mt3_does_not_have_is_reported)
{
  const gchar pickle[] =
      DICT (TENSOR (STORAGE ("LongStorage", "0"), "K\0", "(K\2t", "(K\1t"));
  g_autoptr (GBytes) bytes = pth_write_pickle (pickle, sizeof pickle - 1, 16);
  g_autoptr (Mt3Archive) archive = mt3_pth_read_bytes (bytes, "x", NULL);
  const Mt3ArchiveEntry *entry;

  ck_assert_ptr_nonnull (archive);
  entry = &g_array_index (archive->entries, Mt3ArchiveEntry, 0);
  ck_assert_str_eq (entry->dtype_name, "int64");
  ck_assert (!entry->readable);
}
END_TEST

Suite *
pth_suite (void)
{
  Suite *suite = suite_create ("pth");
  TCase *tcase = tcase_create ("pth");

  tcase_add_checked_fixture (tcase, set_up, tear_down);
  tcase_add_loop_test (tcase, a_state_dict_equals_the_same_model_in_safetensors,
      0, G_N_ELEMENTS (forms));
  tcase_add_test (tcase, t5x_names_load_too);
  tcase_add_test (tcase, tensors_are_views_of_the_mapped_file);
  tcase_add_test (tcase, a_prefix_of_some_names_only_stays);
  tcase_add_test (tcase, a_file_cut_short_anywhere_is_refused);
  tcase_add_loop_test (
      tcase, a_damaged_zip_says_where, 0, G_N_ELEMENTS (changed));
  tcase_add_test (tcase, the_format_before_1_6_is_recognised_by_any_name);
  tcase_add_test (tcase, a_pth_that_is_something_else_is_refused);
  tcase_add_loop_test (
      tcase, a_tensor_that_cannot_be_is_named, 0, G_N_ELEMENTS (tensors));
  tcase_add_test (tcase, a_type_that_mt3_does_not_have_is_reported);
  suite_add_tcase (suite, tcase);
  return suite;
}
