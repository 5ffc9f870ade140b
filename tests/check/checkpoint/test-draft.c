/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Draft networks: they are read for the model that they were made for, in
 * whatever format it comes, and every other file is refused with the reason.
 */
#include "fixtures.h"
#include "checkpoint/draft.h"
#include "checkpoint/schema.h"
#include "pth-writer.h"

#include <string.h>

static RandomModel *random_model;
static RandomModel *random_draft;
static Mt3Model *model;

/* No float16 and no bfloat16, as the scales of the published model. */
static void
lengthen_scale (void)
{
  const Mt3Tensor *scale =
      fixture_find (random_model, "decoder/decoder_norm/scale");

  ((gfloat *) scale->data)[3] = 1.0101f;
}

static void
set_up (void)
{
  Mt3Config config = fixture_config ();
  g_autofree gchar *path = NULL;

  fixture_set_up ();
  config.head_dim = 64;
  random_model = random_model_new (&config, 1, FALSE);
  lengthen_scale ();
  path = fixture_write (random_model);
  model = fixture_must_open (path);
  random_draft = random_draft_new (model, 2);
}

static void
tear_down (void)
{
  random_model_free (random_draft);
  mt3_model_unref (model);
  random_model_free (random_model);
  fixture_tear_down ();
}

static gchar *
write_draft (Mt3DType dtype)
{
  gchar *path = fixture_path ("draft.safetensors");

  ck_assert (random_model_write (random_draft, path, dtype, NULL));
  return path;
}

static Mt3Draft *
must_open (const gchar *path, const Mt3Model *whose)
{
  g_autoptr (GError) error = NULL;
  Mt3Draft *draft = mt3_draft_open (path, whose, &error);

  ck_assert_msg (draft != NULL, "%s", error != NULL ? error->message : "");
  return draft;
}

/* Every message names the file. */
static void
must_fail (
    const gchar *path, const Mt3Model *whose, Mt3Error code, const gchar *part)
{
  g_autoptr (GError) error = NULL;

  ck_assert_ptr_null (mt3_draft_open (path, whose, &error));
  ck_assert_ptr_nonnull (strstr (error->message, path));
  ck_assert_msg (strstr (error->message, part) != NULL, "no \"%s\" in: %s",
      part, error->message);
  ck_assert (g_error_matches (error, MT3_ERROR, (gint) code));
}

static const Mt3DType dtypes[] = {MT3_DTYPE_F32, MT3_DTYPE_F16};

/* As ext/mt3/training/draft_model.py has it: sixteen bits a number, the lower
 * eight first. */
START_TEST (a_model_is_known_by_its_last_norm_in_float16)
{
  gfloat *scale =
      (gfloat *) fixture_find (random_model, "decoder/decoder_norm/scale")
          ->data;
  g_autoptr (Mt3Model) opened = NULL;
  g_autofree gchar *path = NULL, *digest = NULL;

  for (guint i = 0; i < 8; i++)
    scale[i] = 1.0001f; /* 0x3c00 */
  path = fixture_write (random_model);
  opened = fixture_must_open (path);
  digest = mt3_draft_model_digest (opened);
  ck_assert_str_eq (digest,
      "32a0018763d9bbf7f5f4aafba8880dd02752d4c469168777dc6fbf7863e5a64a");
}
END_TEST

START_TEST (its_tensors_are_found_by_name)
{
  g_autofree gchar *path = write_draft (dtypes[_i]);
  g_autoptr (Mt3Draft) draft = must_open (path, model);
  const Mt3Tensor *state = mt3_draft_tensor (draft, "state/kernel");
  const Mt3Tensor *value =
      mt3_draft_tensor (draft, "self_attention/value/kernel");

  ck_assert_str_eq (mt3_draft_path (draft), path);
  ck_assert_str_eq (state->name, "state/kernel");
  ck_assert_int_eq (state->dtype, dtypes[_i]);
  ck_assert_uint_eq (state->shape[0], 8);
  ck_assert_uint_eq (state->shape[1], 8);
  ck_assert_uint_eq (value->shape[0], 8);
  ck_assert_uint_eq (value->shape[1], 128);
  ck_assert_ptr_null (mt3_draft_tensor (draft, "no/such/kernel"));
}
END_TEST

START_TEST (a_file_and_its_bytes_are_the_same)
{
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (Mt3Draft) draft = NULL;
  gchar *data;
  gsize length;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  bytes = g_bytes_new_take (data, length);
  draft = mt3_draft_open_bytes (bytes, "bytes", model, NULL);
  ck_assert_ptr_nonnull (draft);
  ck_assert_str_eq (mt3_draft_path (draft), "bytes");
  ck_assert_ptr_nonnull (mt3_draft_tensor (draft, "state/kernel"));
}
END_TEST

START_TEST (what_is_written_at_random_is_read)
{
  g_autofree gchar *path = fixture_path ("random.safetensors");
  g_autoptr (Mt3Draft) draft = NULL;

  ck_assert (random_draft_write (model, path, 5, NULL));
  draft = must_open (path, model);
  ck_assert_int_eq (
      mt3_draft_tensor (draft, "state/kernel")->dtype, MT3_DTYPE_F16);
}
END_TEST

static gchar *
write_f32 (void)
{
  return fixture_write_as (random_model, MT3_DTYPE_F32);
}

static gchar *
write_f16 (void)
{
  return fixture_write_as (random_model, MT3_DTYPE_F16);
}

static gchar *
write_pth (Mt3DType dtype)
{
  const PthOptions options = {.dtype = dtype};
  g_autoptr (GBytes) bytes = pth_write (random_model, &options);
  gchar *path = fixture_path ("model.pth");
  gsize length;
  gconstpointer data = g_bytes_get_data (bytes, &length);

  ck_assert (g_file_set_contents (path, data, (gssize) length, NULL));
  return path;
}

static gchar *
write_torch (void)
{
  return write_pth (MT3_DTYPE_F32);
}

/* The same model, in the formats that it comes in. */
static gchar *(*const formats[]) (void) = {write_f32, write_f16, write_torch};

START_TEST (it_suits_its_model_in_any_format)
{
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16);
  g_autofree gchar *file = formats[_i]();
  g_autoptr (Mt3Model) same = fixture_must_open (file);
  g_autoptr (Mt3Draft) draft = must_open (path, same);
}
END_TEST

/* bfloat16 has fewer bits: what it rounds is another model. */
START_TEST (it_does_not_suit_its_model_rounded_to_bfloat16)
{
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16);
  g_autofree gchar *file = NULL;
  g_autoptr (Mt3Model) rounded = NULL;

  file = write_pth (MT3_DTYPE_BF16);
  rounded = fixture_must_open (file);
  must_fail (path, rounded, MT3_ERROR_MODEL, "for another model than");
}
END_TEST

/* Other weights, and other widths, which other shapes follow from. */
static const struct {
  guint64 seed;
  guint d_model;
} others[] = {{7, 8}, {1, 16}};

START_TEST (it_does_not_suit_another_model)
{
  Mt3Config config = fixture_config ();
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16);
  g_autofree gchar *file = NULL;
  g_autofree gchar *message = NULL;
  g_autoptr (RandomModel) other = NULL;
  g_autoptr (Mt3Model) opened = NULL;

  config.d_model = others[_i].d_model;
  other = random_model_new (&config, others[_i].seed, FALSE);
  file = fixture_write (other);
  opened = fixture_must_open (file);
  message = g_strdup_printf (
      "%s: a draft network for another model than %s", path, file);
  must_fail (path, opened, MT3_ERROR_MODEL, message);
}
END_TEST

static void
remove_state (void)
{
  fixture_remove (random_draft, "own_state/kernel");
}

static void
remove_model (void)
{
  g_hash_table_remove (random_draft->metadata, MT3_DRAFT_MODEL_KEY);
}

static void
add_layer (void)
{
  Mt3Tensor more = *fixture_find (random_draft, "mlp/wo/kernel");

  more.name = "mlp/wo\n/bias";
  g_array_append_val (random_draft->tensors, more);
}

static void
narrow_out (void)
{
  fixture_find (random_draft, "self_attention/out/kernel")->shape[1] = 7;
}

static void
flatten_state (void)
{
  fixture_find (random_draft, "state/kernel")->n_dims = 1;
}

static void
lose_a_number (void)
{
  gfloat *values =
      (gfloat *) fixture_find (random_draft, "own_mlp/wo/kernel")->data;

  values[100] = (gfloat) G_MAXDOUBLE; /* Inf */
}

static const struct {
  void (*spoil) (void);
  const gchar *message;
} faults[] = {
    {remove_state, "tensor own_state/kernel: expected 8 x 8, found none"},
    {remove_model, "not a draft network: metadata mt3.model: "
                   "expected a digest, found none"},
    {add_layer, "tensor mlp/wo\\x0a/bias: expected no tensor of this name, "
                "found 20 x 8 of F32"},
    {narrow_out,
        "tensor self_attention/out/kernel: expected 128 x 8, found 128 x 7"},
    {flatten_state, "tensor state/kernel: expected 8 x 8, found 8"},
    {lose_a_number, "tensor own_mlp/wo/kernel: expected finite values, found "
                    "Inf or NaN at index 100"},
};

START_TEST (a_fault_is_named)
{
  g_autofree gchar *path = NULL;

  faults[_i].spoil ();
  path = write_draft (MT3_DTYPE_F32);
  must_fail (path, model, MT3_ERROR_MODEL, faults[_i].message);
}
END_TEST

START_TEST (a_wrong_dtype_is_named)
{
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16), *data = NULL;
  gsize length;
  gchar *at;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  at = strstr (data + 8, "\"pre_mlp_layer_norm/scale\"");
  ck_assert_ptr_nonnull (at);
  memcpy (strstr (at, "F16"), "I16", 3);
  ck_assert (g_file_set_contents (path, data, (gssize) length, NULL));
  must_fail (path, model, MT3_ERROR_MODEL,
      "tensor pre_mlp_layer_norm/scale: expected F32, F16 or BF16, found I16");
}
END_TEST

START_TEST (a_model_is_no_draft_network)
{
  must_fail (mt3_model_path (model), model, MT3_ERROR_MODEL,
      "not a draft network: metadata mt3.model: expected a digest");
}
END_TEST

START_TEST (nor_is_it_a_model)
{
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16);

  fixture_must_fail (path, MT3_ERROR_MODEL,
      "a draft network, not a model: name the model that it was made for");
}
END_TEST

START_TEST (a_truncated_file_is_refused)
{
  g_autofree gchar *path = write_draft (MT3_DTYPE_F16), *data = NULL;
  gsize length;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  ck_assert (g_file_set_contents (path, data, (gssize) length - 1, NULL));
  must_fail (path, model, MT3_ERROR_FORMAT, "truncated or damaged");
}
END_TEST

START_TEST (what_is_no_file_is_refused)
{
  g_autofree gchar *missing = fixture_path ("missing.safetensors");

  must_fail (missing, model, MT3_ERROR_NOT_FOUND, "No such file");
  must_fail (fixture_folder, model, MT3_ERROR_FORMAT, "is not a file");
}
END_TEST

Suite *
draft_suite (void)
{
  Suite *suite = suite_create ("draft");
  TCase *tcase = tcase_create ("draft");

  tcase_add_checked_fixture (tcase, set_up, tear_down);
  tcase_add_test (tcase, a_model_is_known_by_its_last_norm_in_float16);
  tcase_add_loop_test (
      tcase, its_tensors_are_found_by_name, 0, G_N_ELEMENTS (dtypes));
  tcase_add_test (tcase, a_file_and_its_bytes_are_the_same);
  tcase_add_test (tcase, what_is_written_at_random_is_read);
  tcase_add_loop_test (
      tcase, it_suits_its_model_in_any_format, 0, G_N_ELEMENTS (formats));
  tcase_add_test (tcase, it_does_not_suit_its_model_rounded_to_bfloat16);
  tcase_add_loop_test (
      tcase, it_does_not_suit_another_model, 0, G_N_ELEMENTS (others));
  tcase_add_loop_test (tcase, a_fault_is_named, 0, G_N_ELEMENTS (faults));
  tcase_add_test (tcase, a_wrong_dtype_is_named);
  tcase_add_test (tcase, a_model_is_no_draft_network);
  tcase_add_test (tcase, nor_is_it_a_model);
  tcase_add_test (tcase, a_truncated_file_is_refused);
  tcase_add_test (tcase, what_is_no_file_is_refused);
  suite_add_tcase (suite, tcase);
  return suite;
}
