/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a tensor is called in the files of different tools.
 */
#include "fixtures.h"
#include "checkpoint/names.h"
#include "checkpoint/schema.h"

static const struct {
  const gchar *file, *canonical;
  gboolean transposed;
} cases[] = {
    {"encoder/layers_0/mlp/wo/kernel", "encoder/layers_0/mlp/wo/kernel", FALSE},
    {"target/decoder/logits_dense/kernel", "decoder/logits_dense/kernel",
        FALSE},
    {"target.encoder.layers_7.mlp.wi_0.kernel",
        "encoder/layers_7/mlp/wi_0/kernel", FALSE},
    {"proj.weight", "encoder/continuous_inputs_projection/kernel", TRUE},
    {"lm_head.weight", "decoder/logits_dense/kernel", TRUE},
    {"decoder_embed_tokens.weight", "decoder/token_embedder/embedding", FALSE},
    {"decoder.embed_tokens.weight", "decoder/token_embedder/embedding", FALSE},
    {"encoder.block.0.layer.0.SelfAttention.q.weight",
        "encoder/layers_0/attention/query/kernel", TRUE},
    {"encoder.block.12.layer.1.DenseReluDense.wi_0.weight",
        "encoder/layers_12/mlp/wi_0/kernel", TRUE},
    {"decoder.block.3.layer.1.EncDecAttention.o.weight",
        "decoder/layers_3/encoder_decoder_attention/out/kernel", TRUE},
    {"decoder.block.3.layer.1.layer_norm.weight",
        "decoder/layers_3/pre_cross_attention_layer_norm/scale", FALSE},
    {"decoder.block.3.layer.2.DenseReluDense.wo.weight",
        "decoder/layers_3/mlp/wo/kernel", TRUE},
    {"encoder.final_layer_norm.weight", "encoder/encoder_norm/scale", FALSE},
    {"encoder.block.x.layer.0.layer_norm.weight",
        "encoder/block/x/layer/0/layer_norm/weight", FALSE},
};

START_TEST (file_names_resolve_to_canonical_ones)
{
  Mt3Name name;

  mt3_name_resolve (cases[_i].file, &name);
  ck_assert_str_eq (name.canonical, cases[_i].canonical);
  ck_assert_int_eq (name.transposed, cases[_i].transposed);
  mt3_name_clear (&name);
}
END_TEST

START_TEST (every_tensor_has_a_hugging_face_name_that_leads_back)
{
  Mt3Config config = fixture_config ();
  g_autoptr (GArray) schema = mt3_schema_new (&config);

  for (guint i = 0; i < schema->len; i++) {
    const gchar *canonical = g_array_index (schema, Mt3SchemaTensor, i).name;
    gboolean transposed = FALSE;
    g_autofree gchar *other = mt3_name_to_hugging_face (canonical, &transposed);
    Mt3Name name;

    ck_assert_msg (other != NULL, "%s", canonical);
    mt3_name_resolve (other, &name);
    ck_assert_str_eq (name.canonical, canonical);
    ck_assert_int_eq (name.transposed, transposed);
    mt3_name_clear (&name);
  }
}
END_TEST

START_TEST (the_published_model_has_189_tensors)
{
  g_autoptr (GArray) schema = NULL;
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  schema = mt3_schema_new (&config);
  ck_assert_uint_eq (schema->len, 189);
}
END_TEST

START_TEST (hugging_face_files_equal_t5x_files)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) t5x = random_model_new (&config, 1, FALSE);
  g_autoptr (RandomModel) torch = random_model_new (&config, 1, TRUE);
  g_autofree gchar *path = fixture_write (t5x);
  g_autoptr (Mt3Model) a = fixture_must_open (path);
  g_autofree gchar *other = fixture_write (torch);
  g_autoptr (Mt3Model) b = fixture_must_open (other);

  fixture_must_equal (a, b);
}
END_TEST

static void
add_copy (RandomModel *model, const gchar *of, const gchar *name)
{
  Mt3Tensor copy = *fixture_find (model, of);

  copy.name = name;
  g_array_append_val (model->tensors, copy);
}

/* What state_dict() of the PyTorch port gives: shared modules twice, and the
 * table of position frequencies. */
START_TEST (a_second_name_of_a_shared_tensor_is_no_difference)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) model = random_model_new (&config, 1, TRUE);
  g_autofree gchar *path = NULL;
  g_autoptr (Mt3Model) opened = NULL;

  add_copy (model, "proj.weight", "encoder.embed_tokens.weight");
  add_copy (
      model, "decoder_embed_tokens.weight", "decoder.embed_tokens.weight");
  add_copy (
      model, "encoder.final_layer_norm.weight", "encoder.pos_emb.inv_freq");
  path = fixture_write (model);
  opened = fixture_must_open (path);
}
END_TEST

START_TEST (a_shared_tensor_under_its_second_name_alone_is_found)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) model = random_model_new (&config, 1, TRUE);
  g_autofree gchar *path = NULL;
  g_autoptr (Mt3Model) opened = NULL;

  fixture_find (model, "decoder_embed_tokens.weight")->name =
      "decoder.embed_tokens.weight";
  path = fixture_write (model);
  opened = fixture_must_open (path);
}
END_TEST

START_TEST (the_same_tensor_in_both_namings_is_refused)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) model = random_model_new (&config, 1, FALSE);
  g_autofree gchar *path = NULL;

  add_copy (
      model, "encoder/encoder_norm/scale", "encoder.final_layer_norm.weight");
  path = fixture_write (model);
  fixture_must_fail (path, MT3_ERROR_MODEL,
      "tensor encoder.final_layer_norm.weight: expected once");
}
END_TEST

Suite *
names_suite (void)
{
  Suite *suite = suite_create ("names");
  TCase *tcase = tcase_create ("names");

  tcase_add_checked_fixture (tcase, fixture_set_up, fixture_tear_down);
  tcase_add_loop_test (
      tcase, file_names_resolve_to_canonical_ones, 0, G_N_ELEMENTS (cases));
  tcase_add_test (tcase, every_tensor_has_a_hugging_face_name_that_leads_back);
  tcase_add_test (tcase, the_published_model_has_189_tensors);
  tcase_add_test (tcase, hugging_face_files_equal_t5x_files);
  tcase_add_test (tcase, a_second_name_of_a_shared_tensor_is_no_difference);
  tcase_add_test (tcase, a_shared_tensor_under_its_second_name_alone_is_found);
  tcase_add_test (tcase, the_same_tensor_in_both_namings_is_refused);
  suite_add_tcase (suite, tcase);
  return suite;
}
