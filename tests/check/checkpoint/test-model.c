/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From tensors to a model: the configuration, and every way a file can differ
 * from MT3.
 */
#include "fixtures.h"
#include "checkpoint/config-json.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static RandomModel *model;

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

static void
set_config (const gchar *json)
{
  g_hash_table_insert (
      model->metadata, g_strdup (MT3_CONFIG_KEY), g_strdup (json));
}

static void
write_and_fail (const gchar *message)
{
  g_autofree gchar *path = fixture_write (model);

  fixture_must_fail (path, MT3_ERROR_MODEL, message);
}

static void
must_have_config (const Mt3Model *model, const Mt3Config *config)
{
  g_autofree gchar *expected = mt3_config_to_json (config);
  g_autofree gchar *found = mt3_config_to_json (mt3_model_config (model));

  ck_assert_str_eq (found, expected);
}

START_TEST (tensors_are_found_by_name)
{
  g_autofree gchar *path = fixture_write (model);
  g_autoptr (Mt3Model) opened = fixture_must_open (path);
  const Mt3Tensor *tensor =
      mt3_model_tensor (opened, "encoder/layers_%u/mlp/wi_0/kernel", 1);
  guint n;

  ck_assert_ptr_nonnull (tensor);
  ck_assert_str_eq (tensor->name, "encoder/layers_1/mlp/wi_0/kernel");
  ck_assert_uint_eq (tensor->shape[0], 8);
  ck_assert_uint_eq (tensor->shape[1], 16);
  ck_assert_ptr_null (mt3_model_tensor (opened, "encoder/layers_9"));
  ck_assert_str_eq (mt3_model_tensors (opened, &n)[0].name,
      "encoder/continuous_inputs_projection/kernel");
  ck_assert_uint_eq (n, 37);
  ck_assert_str_eq (mt3_model_path (opened), path);
  ck_assert_str_eq (
      mt3_model_metadata (opened, "name"), "random weights for tests");
  ck_assert_ptr_null (mt3_model_metadata (opened, "license"));
}
END_TEST

START_TEST (parameters_are_counted)
{
  g_autofree gchar *path = fixture_write (model);
  g_autoptr (Mt3Model) opened = fixture_must_open (path);
  const guint64 encoder = 12 * 8 + 2 * (4 * 64 + 3 * 8 * 16 + 2 * 8) + 8;
  const guint64 decoder = 2 * 24 * 8 + 8 * 64 + 3 * 8 * 20 + 3 * 8 + 8;

  ck_assert_uint_eq (mt3_model_n_parameters (opened), encoder + decoder);
}
END_TEST

START_TEST (the_configuration_in_the_metadata_comes_back)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) own = NULL;
  g_autoptr (Mt3Model) opened = NULL;
  g_autofree gchar *path = NULL;

  config.sample_rate = 22050;
  config.hop_length = 256;
  config.mel_high_hz = 8000.5;
  config.window_frames = 100;
  config.max_tokens = 77;
  config.velocity_bins = 5;
  config.ties = FALSE;
  config.ordered_events = TRUE;
  config.written_programs[42] = 40 + 1;
  own = random_model_new (&config, 1, FALSE);
  path = fixture_write (own);
  opened = fixture_must_open (path);
  must_have_config (opened, &config);
}
END_TEST

START_TEST (without_a_configuration_shapes_and_defaults_decide)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) own = NULL;
  g_autoptr (Mt3Model) opened = NULL;
  g_autofree gchar *path = NULL;

  config.head_dim = 64;
  own = random_model_new (&config, 1, FALSE);
  g_hash_table_remove (own->metadata, MT3_CONFIG_KEY);
  path = fixture_write (own);
  opened = fixture_must_open (path);
  must_have_config (opened, &config);
}
END_TEST

START_TEST (the_piano_vocabulary_means_the_piano_model)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) own = NULL;
  g_autoptr (Mt3Model) opened = NULL;
  g_autofree gchar *path = NULL;

  config.head_dim = 64;
  config.vocab_size = 1664;
  own = random_model_new (&config, 1, FALSE);
  g_hash_table_remove (own->metadata, MT3_CONFIG_KEY);
  path = fixture_write (own);
  opened = fixture_must_open (path);
  ck_assert_uint_eq (mt3_model_config (opened)->window_frames, 512);
  ck_assert_uint_eq (mt3_model_config (opened)->velocity_bins, 127);
  ck_assert (!mt3_model_config (opened)->ties);
  ck_assert_uint_eq (mt3_model_config (opened)->vocab_size, 1664);
}
END_TEST

static const gchar *const beside[] = {
    "{\"model_type\":\"t5\",\"d_kv\":4,\"num_heads\":2,\"d_ff\":null}",
    "{\"model_type\":\"t5\",\"num_heads\":2,\"num_decoder_layers\":1}",
    "{\"model_type\":\"mt3\",\"head_dim\":4}",
};

START_TEST (a_config_json_beside_the_file_gives_what_shapes_cannot)
{
  g_autofree gchar *path = NULL, *json = fixture_path ("config.json");
  g_autoptr (Mt3Model) opened = NULL;

  g_hash_table_remove (model->metadata, MT3_CONFIG_KEY);
  path = fixture_write (model);
  ck_assert (g_file_set_contents (json, beside[_i], -1, NULL));
  opened = fixture_must_open (path);
  ck_assert_uint_eq (mt3_model_config (opened)->head_dim, 4);
  ck_assert_uint_eq (mt3_model_config (opened)->n_heads, 2);
}
END_TEST

static const gchar *const unrelated[] = {
    "not JSON",
    "{\"sample_rate\":44100}",
    "{\"model_type\":\"wav2vec2\",\"sample_rate\":44100}",
};

START_TEST (a_config_json_of_something_else_is_left_alone)
{
  Mt3Config config = fixture_config ();
  g_autofree gchar *path = NULL, *json = fixture_path ("config.json");
  g_autoptr (RandomModel) own = NULL;
  g_autoptr (Mt3Model) opened = NULL;

  config.head_dim = 64;
  own = random_model_new (&config, 1, FALSE);
  g_hash_table_remove (own->metadata, MT3_CONFIG_KEY);
  path = fixture_write (own);
  ck_assert (g_file_set_contents (json, unrelated[_i], -1, NULL));
  opened = fixture_must_open (path);
  ck_assert_uint_eq (mt3_model_config (opened)->sample_rate, 16000);
}
END_TEST

static const struct {
  const gchar *json, *message;
} configs[] = {
    {"nonsense", "the metadata mt3.config is not a JSON object"},
    {"{\"head_dim\":0}", "head_dim is 0; expected"},
    {"{\"head_dim\":\"4\"}", "head_dim is \"4\"; expected"},
    {"{\"n_heads\":2.5}", "n_heads is 2.5; expected"},
    {"{\"velocity_bins\":128}", "velocity_bins is 128; expected"},
    {"{\"ties\":1}", "ties is 1; expected"},
    {"{\"written_programs\":[0,1]}", "written_programs is no list of 128"},
    {"{\"encoder_layers\":1000000000}", "encoder_layers is 1000000000"},
    {"{\"mel_high_hz\":9000}", "half its sample rate"},
    {"{\"ordered_events\":true,\"window_frames\":1251}",
        "windows last more than 10 s"},
    {"{\"head_dim\":4,\"encoder_layers\":3}",
        "tensor encoder/layers_2/pre_attention_layer_norm/scale: expected 8, "
        "found none"},
    {"{\"head_dim\":5}", "expected 8 x 5, found 8 x 8"},
};

START_TEST (a_configuration_that_cannot_be_says_why)
{
  set_config (configs[_i].json);
  write_and_fail (configs[_i].message);
}
END_TEST

START_TEST (a_missing_tensor_is_named)
{
  fixture_remove (model, "decoder/layers_0/mlp/wo/kernel");
  write_and_fail (
      "tensor decoder/layers_0/mlp/wo/kernel: expected 20 x 8, found none");
}
END_TEST

START_TEST (a_missing_tensor_is_named_as_in_the_file)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) torch = random_model_new (&config, 1, TRUE);
  g_autofree gchar *path = NULL;

  fixture_remove (torch, "lm_head.weight");
  path = fixture_write (torch);
  fixture_must_fail (path, MT3_ERROR_MODEL,
      "decoder/logits_dense/kernel (in the file: lm_head.weight)");
}
END_TEST

START_TEST (an_unexpected_tensor_is_named)
{
  Mt3Tensor extra = *fixture_find (model, "encoder/encoder_norm/scale");

  extra.name = "encoder/relative_bias";
  g_array_append_val (model->tensors, extra);
  write_and_fail ("tensor encoder/relative_bias: expected no tensor of this "
                  "name, found 8 of F32");
}
END_TEST

START_TEST (a_wrong_shape_is_named)
{
  fixture_find (model, "encoder/layers_1/attention/out/kernel")->shape[1] = 7;
  write_and_fail ("tensor encoder/layers_1/attention/out/kernel: expected "
                  "8 x 8, found 8 x 7");
}
END_TEST

START_TEST (a_wrong_dtype_is_named)
{
  g_autofree gchar *path = fixture_write (model), *data = NULL;
  gsize length;
  gchar *at;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  at = strstr (data + 8, "\"encoder/encoder_norm/scale\"");
  ck_assert_ptr_nonnull (at);
  memcpy (strstr (at, "F32"), "I32", 3);
  ck_assert (g_file_set_contents (path, data, (gssize) length, NULL));
  fixture_must_fail (path, MT3_ERROR_MODEL,
      "tensor encoder/encoder_norm/scale: expected F32, F16 or BF16, found "
      "I32");
}
END_TEST

START_TEST (another_architecture_is_refused)
{
  g_autofree gchar *path = fixture_write_header (
      "{\"transformer.h.0.attn.weight\":{\"dtype\":\"F32\",\"shape\":[2],"
      "\"data_offsets\":[0,8]}}",
      8);

  fixture_must_fail (path, MT3_ERROR_MODEL,
      "tensor encoder/continuous_inputs_projection/kernel: expected 512 x 512, "
      "found none (and 189 more problems; mt3-model inspect lists them)");
}
END_TEST

START_TEST (a_value_that_is_no_number_is_named_with_its_index)
{
  Mt3Tensor *tensor = fixture_find (model, "decoder/token_embedder/embedding");
  g_autofree gfloat *values =
      g_memdup2 (tensor->data, 24 * 8 * sizeof (gfloat));

  values[100] = (gfloat) G_MAXDOUBLE; /* Inf */
  tensor->data = values;
  write_and_fail ("tensor decoder/token_embedder/embedding: expected finite "
                  "values, found Inf or NaN at index 100");
}
END_TEST

START_TEST (a_file_that_is_not_there_is_not_found)
{
  fixture_must_fail ("/nonexistent/x", MT3_ERROR_NOT_FOUND, "does not exist");
}
END_TEST

static void
make_pipe (const gchar *path)
{
  ck_assert_int_eq (mkfifo (path, 0600), 0);
}

static void
make_socket (const gchar *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket (AF_UNIX, SOCK_STREAM, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  ck_assert_int_eq (
      bind (fd, (const struct sockaddr *) &address, sizeof address), 0);
  close (fd);
}

static void
make_link_to_a_device (const gchar *path)
{
  ck_assert_int_eq (symlink ("/dev/zero", path), 0);
}

static void
make_folder (const gchar *path)
{
  ck_assert_int_eq (g_mkdir (path, 0700), 0);
}

/* Whoever opened the pipe would wait for ever. */
static const struct {
  void (*make) (const gchar *path);
  Mt3Error code;
  const gchar *error;
} no_files[] = {
    {make_pipe, MT3_ERROR_FORMAT, "is not a file but a pipe"},
    {make_socket, MT3_ERROR_FORMAT, "is not a file but a pipe"},
    {make_link_to_a_device, MT3_ERROR_FORMAT, "is not a file but a pipe"},
    {make_folder, MT3_ERROR_FORMAT, "is not a T5X checkpoint"},
};

START_TEST (what_is_no_file_is_no_model)
{
  static const gchar *names[] = {"x.safetensors", "x.pth", "x"};

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree gchar *path = fixture_path (names[i]);

    no_files[_i].make (path);
    fixture_must_fail (path, no_files[_i].code, no_files[_i].error);
  }
}
END_TEST

/* Nor is one waited for that only stands where a part of the model should. */
START_TEST (a_pipe_is_no_part_of_a_model)
{
  g_autofree gchar *checkpoint = fixture_path ("checkpoint");
  g_autofree gchar *config = fixture_path ("config.json");
  g_autofree gchar *path = NULL;
  g_autoptr (Mt3Model) opened = NULL;

  make_pipe (checkpoint);
  fixture_must_fail (fixture_folder, MT3_ERROR_FORMAT, "is not a file");
  make_pipe (config);
  path = fixture_write (model);
  opened = fixture_must_open (path);
}
END_TEST

START_TEST (an_empty_file_is_no_model)
{
  g_autofree gchar *path = fixture_path ("empty.safetensors");

  ck_assert (g_file_set_contents (path, "", 0, NULL));
  fixture_must_fail (path, MT3_ERROR_FORMAT, "not a safetensors file");
}
END_TEST

START_TEST (released_pages_come_back)
{
  g_autofree gchar *path = fixture_write (model);
  g_autoptr (Mt3Model) a = fixture_must_open (path);
  g_autoptr (Mt3Model) b = fixture_must_open (path);

  mt3_model_release_pages (a);
  fixture_must_equal (a, b);
}
END_TEST

START_TEST (a_model_outlives_its_first_owner)
{
  g_autofree gchar *path = fixture_write (model);
  Mt3Model *opened = fixture_must_open (path);
  g_autoptr (Mt3Model) other = mt3_model_ref (opened);

  mt3_model_unref (opened);
  ck_assert_str_eq (mt3_model_path (other), path);
}
END_TEST

Suite *
model_suite (void)
{
  Suite *suite = suite_create ("model");
  TCase *tcase = tcase_create ("model");

  tcase_add_checked_fixture (tcase, set_up, tear_down);
  tcase_add_test (tcase, tensors_are_found_by_name);
  tcase_add_test (tcase, parameters_are_counted);
  tcase_add_test (tcase, the_configuration_in_the_metadata_comes_back);
  tcase_add_test (tcase, without_a_configuration_shapes_and_defaults_decide);
  tcase_add_test (tcase, the_piano_vocabulary_means_the_piano_model);
  tcase_add_loop_test (tcase,
      a_config_json_beside_the_file_gives_what_shapes_cannot, 0,
      G_N_ELEMENTS (beside));
  tcase_add_loop_test (tcase, a_config_json_of_something_else_is_left_alone, 0,
      G_N_ELEMENTS (unrelated));
  tcase_add_loop_test (tcase, a_configuration_that_cannot_be_says_why, 0,
      G_N_ELEMENTS (configs));
  tcase_add_test (tcase, a_missing_tensor_is_named);
  tcase_add_test (tcase, a_missing_tensor_is_named_as_in_the_file);
  tcase_add_test (tcase, an_unexpected_tensor_is_named);
  tcase_add_test (tcase, a_wrong_shape_is_named);
  tcase_add_test (tcase, a_wrong_dtype_is_named);
  tcase_add_test (tcase, another_architecture_is_refused);
  tcase_add_test (tcase, a_value_that_is_no_number_is_named_with_its_index);
  tcase_add_test (tcase, a_file_that_is_not_there_is_not_found);
  tcase_add_loop_test (
      tcase, what_is_no_file_is_no_model, 0, G_N_ELEMENTS (no_files));
  tcase_add_test (tcase, a_pipe_is_no_part_of_a_model);
  tcase_add_test (tcase, an_empty_file_is_no_model);
  tcase_add_test (tcase, released_pages_come_back);
  tcase_add_test (tcase, a_model_outlives_its_first_owner);
  suite_add_tcase (suite, tcase);
  return suite;
}
