/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * T5X checkpoints: they equal the same model in safetensors, and damaged ones
 * get an error that names the file and the tensor.
 */
#include "checkpoint/t5x.h"
#include "fixtures.h"
#include "t5x-writer.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WO "target.encoder.layers_0.mlp.wo.kernel"

static RandomModel *model;
static const T5xOptions published = {FALSE, NULL};

static void
set_up (void)
{
  Mt3Config config = fixture_config ();

  fixture_set_up ();
  model = random_model_new (&config, 1, FALSE);
}

static void
tear_down (void)
{
  random_model_free (model);
  fixture_tear_down ();
}

/* T5X says nothing of heads: 8 wide would be one head of 64. */
static void
write_t5x (const T5xOptions *options)
{
  g_autofree gchar *path = fixture_path ("config.json");

  t5x_write (model, fixture_folder, options);
  ck_assert (g_file_set_contents (
      path, "{\"model_type\":\"mt3\",\"d_kv\":4}", -1, NULL));
}

static void
replace_file (const gchar *name, const gchar *text, gsize length)
{
  g_autofree gchar *path = fixture_path (name);

  g_unlink (path); /* a file that is new need not be synced to disk */
  ck_assert (g_file_set_contents (path, text, (gssize) length, NULL));
}

static void
must_equal_safetensors (const gchar *t5x)
{
  g_autofree gchar *path = fixture_write (model);
  g_autoptr (Mt3Model) a = fixture_must_open (t5x);
  g_autoptr (Mt3Model) b = fixture_must_open (path);

  fixture_must_equal (a, b);
  ck_assert_uint_eq (mt3_model_config (a)->n_heads, 2);
}

static const T5xOptions variants[] = {
    {FALSE, "<f4"}, {TRUE, "<f4"}, {TRUE, "<f2"}};

START_TEST (a_t5x_directory_equals_its_safetensors)
{
  write_t5x (&variants[_i]);
  must_equal_safetensors (fixture_folder);
}
END_TEST

START_TEST (the_checkpoint_file_stands_for_its_directory)
{
  g_autofree gchar *path = fixture_path ("checkpoint");

  write_t5x (&published);
  must_equal_safetensors (path);
}
END_TEST

START_TEST (a_directory_without_checkpoint_is_no_model)
{
  fixture_must_fail (
      fixture_folder, MT3_ERROR_FORMAT, "is not a T5X checkpoint");
}
END_TEST

START_TEST (a_missing_array_is_named)
{
  g_autofree gchar *chunk = fixture_path (WO "/0.0");

  write_t5x (&published);
  g_unlink (chunk);
  fixture_must_fail (fixture_folder, MT3_ERROR_NOT_FOUND,
      WO "/0.0 cannot be opened: No such file");
}
END_TEST

START_TEST (a_truncated_array_is_named)
{
  g_autofree gchar *chunk = fixture_path (WO "/0.0"), *data = NULL;
  gsize length;

  write_t5x (&published);
  ck_assert (g_file_get_contents (chunk, &data, &length, NULL));
  replace_file (WO "/0.0", data, length - 9);
  fixture_must_fail (
      fixture_folder, MT3_ERROR_FORMAT, "encoder/layers_0/mlp/wo/kernel: ");
}
END_TEST

START_TEST (a_damaged_array_is_named)
{
  g_autofree gchar *chunk = fixture_path (WO "/0.0"), *data = NULL;
  gsize length;

  write_t5x (&published);
  ck_assert (g_file_get_contents (chunk, &data, &length, NULL));
  data[length / 2] ^= 4;
  replace_file (WO "/0.0", data, length);
  fixture_must_fail (fixture_folder, MT3_ERROR_FORMAT,
      WO "/0.0: does not inflate to the 512 bytes");
}
END_TEST

START_TEST (a_chunk_that_inflates_beyond_its_shape_is_refused)
{
  g_autofree gchar *chunk = fixture_path (WO "/0.0");
  g_autofree gchar *zeros = g_malloc0 (50000000);

  write_t5x (&published);
  t5x_write_gzip (chunk, zeros, 50000000);
  fixture_must_fail (
      fixture_folder, MT3_ERROR_FORMAT, "does not inflate to the 512 bytes");
}
END_TEST

static const struct {
  const gchar *header;
  Mt3Error code;
  const gchar *message;
} headers[] = {
    {"{", MT3_ERROR_FORMAT, "is not a JSON object"},
    {"{\"dtype\":\"<f4\",\"order\":\"F\",\"shape\":[16,8],\"chunks\":[16,8],"
     "\"compressor\":null}",
        MT3_ERROR_UNSUPPORTED, "expected a simple dtype, order C"},
    {"{\"dtype\":\"<f4\",\"order\":\"C\",\"shape\":[16,8],\"chunks\":[8,8],"
     "\"compressor\":null}",
        MT3_ERROR_UNSUPPORTED, "chunks of 8 x 8; expected one chunk"},
    {"{\"dtype\":\"<f4\",\"order\":\"C\",\"shape\":[16,8],\"chunks\":[16,8],"
     "\"compressor\":{\"id\":\"blosc\"}}",
        MT3_ERROR_UNSUPPORTED, "compressor blosc"},
    {"{\"dtype\":\"<f4\",\"order\":\"C\",\"shape\":[16,8],\"chunks\":[16,8],"
     "\"compressor\":{\"id\":\"\\u001b[2J\"}}",
        MT3_ERROR_UNSUPPORTED, "compressor \\x1b[2J;"},
    {"{\"dtype\":\"<f4\",\"order\":\"C\",\"shape\":[16,8],\"chunks\":[16,8],"
     "\"compressor\":null}",
        MT3_ERROR_FORMAT, "expected 512 bytes"},
    {"{\"dtype\":\"<f4\",\"order\":\"C\",\"shape\":[16000,8000],"
     "\"chunks\":[16000,8000],\"compressor\":{\"id\":\"gzip\"}}",
        MT3_ERROR_FORMAT, "the file is truncated"},
    {"{\"dtype\":\"<f4\",\"order\":\"C\",\"shape\":[4294967296,4294967296],"
     "\"chunks\":[4294967296,4294967296],\"compressor\":{\"id\":\"gzip\"}}",
        MT3_ERROR_FORMAT, "bearable size"},
    {"{\"dtype\":\">f4\",\"order\":\"C\",\"shape\":[16,8],\"chunks\":[16,8],"
     "\"compressor\":{\"id\":\"gzip\"}}",
        MT3_ERROR_MODEL, "expected F32, F16 or BF16, found >f4"},
};

START_TEST (a_zarray_that_cannot_be_read_says_why)
{
  write_t5x (&published);
  replace_file (WO "/.zarray", headers[_i].header, strlen (headers[_i].header));
  fixture_must_fail (
      fixture_folder, headers[_i].code, "encoder/layers_0/mlp/wo/kernel");
  fixture_must_fail (fixture_folder, headers[_i].code, headers[_i].message);
}
END_TEST

/* Msgpack: 0x81 is a map of one, 0xa6 a string of six, 0xc7 an extension. */
#define TARGET "\x81\xa6target"
#define BYTES(text) text, sizeof text - 1

static const struct {
  const gchar *bytes;
  gsize length;
  const gchar *message;
} trees[] = {
    {BYTES (""), "damaged or truncated"},
    {BYTES ("not msgpack"), "damaged or truncated"},
    {BYTES ("\xdd\xff\xff\xff\xff"), "damaged or truncated"},
    {BYTES ("\xdf\x7f\xff\xff\xff\x01\x01"), "damaged or truncated"},
    {BYTES ("\x81\xa5other\x01"), "no target"},
    {BYTES (TARGET "\x01"), "expected an array"},
    {BYTES (TARGET "\x81\x01\x01"), "a key that is not a string"},
    {BYTES (TARGET "\x81\xa1w\x81\xa7kvstore\x80"), "w: a reference without"},
    {BYTES (TARGET "\x81\xa1w\x81\xa7kvstore\x81\xa4path\xa2.."),
        "w: a reference that is not a folder"},
    {BYTES (TARGET "\x81\xa1w\xc7\x01\x02\x01"), "w: expected an array"},
    {BYTES (TARGET "\x81\xa1w\xc7\x0e\x01\x93\x91\x02\xa7"
                   "float32\xc4\x01z"),
        "w: its shape, dtype and bytes"},
};

START_TEST (a_tree_that_cannot_be_read_says_why)
{
  replace_file ("checkpoint", trees[_i].bytes, trees[_i].length);
  fixture_must_fail (fixture_folder, MT3_ERROR_FORMAT, trees[_i].message);
}
END_TEST

/* Nothing may be read behind the bytes, which here end where memory does. */
START_TEST (a_tree_without_a_zero_byte_is_read_to_its_end_and_no_further)
{
  static const gchar tree[] = TARGET "\x81\xa1w\xc7\x11\x01\x93\x91\x01\xa7"
                                     "float32\xc4\x04zzzz";
  const gsize length = sizeof tree - 1, page = (gsize) sysconf (_SC_PAGESIZE);
  gchar *pages = mmap (NULL, 2 * page, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (Mt3Archive) archive = NULL;

  ck_assert (pages != MAP_FAILED);
  ck_assert_int_eq (mprotect (pages + page, page, PROT_NONE), 0);
  memcpy (pages + page - length, tree, length);
  bytes = g_bytes_new_static (pages + page - length, length);
  archive = mt3_t5x_read_tree (bytes, fixture_folder, NULL);
  ck_assert_ptr_nonnull (archive);
  ck_assert_str_eq (
      g_array_index (archive->entries, Mt3ArchiveEntry, 0).dtype_name,
      "float32");
  munmap (pages, 2 * page);
}
END_TEST

START_TEST (a_deeply_nested_tree_is_refused)
{
  g_autofree gchar *tree = g_strnfill (1000000, '\x91');

  tree[999999] = 1;
  replace_file ("checkpoint", tree, 1000000);
  fixture_must_fail (fixture_folder, MT3_ERROR_FORMAT, "damaged or truncated");
}
END_TEST

START_TEST (a_truncated_tree_is_refused_at_any_length)
{
  g_autofree gchar *path = fixture_path ("checkpoint"), *data = NULL;
  gsize length;

  write_t5x (&published);
  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  for (gsize cut = 0; cut < length; cut += 7) {
    replace_file ("checkpoint", data, cut);
    fixture_must_fail (
        fixture_folder, MT3_ERROR_FORMAT, "damaged or truncated");
  }
}
END_TEST

Suite *
t5x_suite (void)
{
  Suite *suite = suite_create ("t5x");
  TCase *tcase = tcase_create ("t5x");

  tcase_add_checked_fixture (tcase, set_up, tear_down);
  tcase_add_loop_test (tcase, a_t5x_directory_equals_its_safetensors, 0,
      G_N_ELEMENTS (variants));
  tcase_add_test (tcase, the_checkpoint_file_stands_for_its_directory);
  tcase_add_test (tcase, a_directory_without_checkpoint_is_no_model);
  tcase_add_test (tcase, a_missing_array_is_named);
  tcase_add_test (tcase, a_truncated_array_is_named);
  tcase_add_test (tcase, a_damaged_array_is_named);
  tcase_add_test (tcase, a_chunk_that_inflates_beyond_its_shape_is_refused);
  tcase_add_loop_test (
      tcase, a_zarray_that_cannot_be_read_says_why, 0, G_N_ELEMENTS (headers));
  tcase_add_loop_test (
      tcase, a_tree_that_cannot_be_read_says_why, 0, G_N_ELEMENTS (trees));
  tcase_add_test (
      tcase, a_tree_without_a_zero_byte_is_read_to_its_end_and_no_further);
  tcase_add_test (tcase, a_deeply_nested_tree_is_refused);
  tcase_add_test (tcase, a_truncated_tree_is_refused_at_any_length);
  suite_add_tcase (suite, tcase);
  return suite;
}
