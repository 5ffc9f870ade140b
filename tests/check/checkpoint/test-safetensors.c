/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Damaged and hostile .safetensors files get an error that names what is
 * wrong.
 */
#include "fixtures.h"
#include "checkpoint/archive.h"
#include "checkpoint/json.h"
#include "checkpoint/safetensors.h"

#include <string.h>

#define A(shape, offsets)                                                      \
  "\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define B(shape, offsets)                                                      \
  "\"b\":{\"dtype\":\"F16\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
  const gchar *header;
  gsize n_bytes;
  const gchar *message;
} broken[] = {
    {"", 0, "not a safetensors file"},
    {"nonsense", 0, "the header is not a JSON object"},
    {"{" A ("[1]", "[0,4]"), 4, "the header is not a JSON object"},
    {"[]", 0, "the header is not a JSON object"},
    {"8{}", 0, "the header is not a JSON object"},
    {"{}{}", 0, "the header is not a JSON object"},
    {"{\"a\":1}", 0, "a is not an object"},
    {"{/*\"*/\"a\":1}", 0, "the header is not a JSON object"},
    {"{\"a\":{}}", 0, "tensor a: expected a dtype"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
        "tensor a: expected a dtype"},
    {"{" A ("[1,1,1,1,1]", "[0,4]") "}", 4, "tensor a: expected a dtype"},
    {"{" A ("[-1]", "[0,4]") "}", 4, "tensor a: expected a dtype"},
    {"{" A ("[1.0]", "[0,4]") "}", 4, "tensor a: expected a dtype"},
    {"{" A ("[1]", "[0]") "}", 4, "two data_offsets"},
    {"{" A ("[1]", "[4,0]") "}", 4, "tensor a: bytes 4 to 0 do not lie"},
    {"{" A ("[2]", "[0,8]") "}", 4, "the file is truncated"},
    {"{" A ("[1]", "[0,9223372036854775807]") "}", 4, "do not lie"},
    {"{" A ("[2]", "[0,4]") "}", 4, "2 of F32 does not take the 4 bytes"},
    {"{" A ("[4611686018427387905]", "[0,4]") "}", 4, "does not take"},
    {"{" A ("[4294967296,4294967296]", "[0,0]") "}", 0, "does not take"},
    {"{" A ("[2]", "[0,8]") "," B ("[2]", "[4,8]") "}", 8,
        "tensor b: starts at byte 4 but a ends at 8"},
    {"{" A ("[1]", "[0,4]") "," B ("[2]", "[6,10]") "}", 10,
        "tensor b: starts at byte 6 but a ends at 4"},
    {"{" A ("[1]", "[0,4]") "}", 8, "4 bytes behind the last array"},
};

START_TEST (a_broken_file_names_what_is_broken)
{
  g_autofree gchar *path =
      fixture_write_header (broken[_i].header, broken[_i].n_bytes);

  fixture_must_fail (path, MT3_ERROR_FORMAT, broken[_i].message);
}
END_TEST

static const guint64 lengths[] = {
    3, 1u << 24, (1u << 24) + 1, G_MAXUINT64 - 7, G_MAXUINT64};

START_TEST (a_header_longer_than_the_file_is_refused)
{
  g_autofree gchar *path = fixture_path ("model.safetensors");
  guint64 length = GUINT64_TO_LE (lengths[_i]);
  gchar file[10] = {0};

  memcpy (file, &length, sizeof length);
  ck_assert (g_file_set_contents (path, file, sizeof file, NULL));
  fixture_must_fail (path, MT3_ERROR_FORMAT, "not a safetensors file");
}
END_TEST

/* The bound itself, with nothing else wrong. */
static const struct {
  gsize n_spaces;
  Mt3Error code;
  const gchar *message;
} long_headers[] = {
    {MT3_SAFETENSORS_MAX_HEADER - 2, MT3_ERROR_MODEL, "found none"},
    {MT3_SAFETENSORS_MAX_HEADER - 1, MT3_ERROR_FORMAT,
        "not a safetensors file"},
};

START_TEST (a_header_beyond_the_bound_is_refused)
{
  g_autofree gchar *spaces = g_strnfill (long_headers[_i].n_spaces, ' ');
  g_autofree gchar *header = g_strconcat ("{}", spaces, NULL);
  g_autofree gchar *path = fixture_write_header (header, 0);

  fixture_must_fail (path, long_headers[_i].code, long_headers[_i].message);
}
END_TEST

static const struct {
  gsize n_lists; /* in an object */
  const gchar *message;
} nestings[] = {
    {MT3_JSON_MAX_DEPTH - 1, "a is not an object"},
    {MT3_JSON_MAX_DEPTH, "nested deeper than 16"},
    {1000000, "nested deeper than 16"},
};

START_TEST (deep_nesting_is_refused)
{
  g_autofree gchar *open = g_strnfill (nestings[_i].n_lists, '[');
  g_autofree gchar *close = g_strnfill (nestings[_i].n_lists, ']');
  g_autofree gchar *header = g_strconcat ("{\"a\":", open, close, "}", NULL);
  g_autofree gchar *path = fixture_write_header (header, 0);

  fixture_must_fail (path, MT3_ERROR_FORMAT, nestings[_i].message);
}
END_TEST

static Mt3Archive *
read_bytes (const gchar *data, gsize length, GError **error)
{
  /* An exact copy, so that reading past the end is noticed. */
  g_autoptr (GBytes) bytes = g_bytes_new (data, length);

  return mt3_safetensors_read_bytes (bytes, "file", error);
}

START_TEST (a_truncated_file_is_refused_at_any_length)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) model = random_model_new (&config, 1, FALSE);
  g_autofree gchar *path = fixture_write (model), *data = NULL;
  gsize length;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  for (gsize cut = 0; cut < length; cut += cut < 64 ? 1 : 61) {
    g_autoptr (GError) error = NULL;
    g_autoptr (Mt3Archive) archive = read_bytes (data, cut, &error);

    ck_assert_ptr_null (archive);
    ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_FORMAT));
  }
}
END_TEST

/* A flip may change a name or a metadata text, and still be a file; it may
 * never be read beyond its end. */
START_TEST (a_flipped_bit_in_the_header_is_survived)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) model = random_model_new (&config, 1, FALSE);
  g_autofree gchar *path = fixture_write (model), *data = NULL;
  gsize length, refused = 0;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  for (gsize bit = 0; bit < 8 * 1000; bit++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (Mt3Archive) archive = NULL;

    data[bit / 8] ^= (gchar) (1 << bit % 8);
    archive = read_bytes (data, length, &error);
    refused += archive == NULL;
    ck_assert ((archive == NULL) == (error != NULL));
    data[bit / 8] ^= (gchar) (1 << bit % 8);
  }
  ck_assert_uint_gt (refused, 64);
}
END_TEST

START_TEST (arrays_need_not_be_aligned)
{
  g_autofree gchar *path = fixture_write_header (
      "{" A ("[1,2]", "[0,8]") "," B ("[3]", "[8,14]") "}", 14);
  g_autoptr (GError) error = NULL;
  g_autoptr (Mt3Archive) archive = mt3_archive_read (path, &error);
  const Mt3ArchiveEntry *entry;
  gfloat row[2] = {1, 1};

  ck_assert_ptr_nonnull (archive);
  ck_assert_uint_eq (archive->entries->len, 2);
  entry = &g_array_index (archive->entries, Mt3ArchiveEntry, 0);
  mt3_tensor_read_block (&entry->tensor, 0, 1, 0, 2, row);
  ck_assert (row[0] == 0 && row[1] == 0);
}
END_TEST

START_TEST (metadata_is_kept)
{
  g_autofree gchar *path = fixture_write_header (
      "{\"__metadata__\":{\"license\":\"CC0\",\"odd\":1}}", 0);
  g_autoptr (Mt3Archive) archive = mt3_archive_read (path, NULL);

  ck_assert_ptr_nonnull (archive);
  ck_assert_str_eq (g_hash_table_lookup (archive->metadata, "license"), "CC0");
  ck_assert (!g_hash_table_contains (archive->metadata, "odd"));
}
END_TEST

Suite *
safetensors_suite (void)
{
  Suite *suite = suite_create ("safetensors");
  TCase *tcase = tcase_create ("safetensors");

  tcase_add_checked_fixture (tcase, fixture_set_up, fixture_tear_down);
  tcase_add_loop_test (
      tcase, a_broken_file_names_what_is_broken, 0, G_N_ELEMENTS (broken));
  tcase_add_loop_test (tcase, a_header_longer_than_the_file_is_refused, 0,
      G_N_ELEMENTS (lengths));
  tcase_add_loop_test (tcase, a_header_beyond_the_bound_is_refused, 0,
      G_N_ELEMENTS (long_headers));
  tcase_add_loop_test (
      tcase, deep_nesting_is_refused, 0, G_N_ELEMENTS (nestings));
  tcase_add_test (tcase, a_truncated_file_is_refused_at_any_length);
  tcase_add_test (tcase, a_flipped_bit_in_the_header_is_survived);
  tcase_add_test (tcase, arrays_need_not_be_aligned);
  tcase_add_test (tcase, metadata_is_kept);
  suite_add_tcase (suite, tcase);
  return suite;
}
