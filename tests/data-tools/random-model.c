/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "random-model.h"
#include "checkpoint/config-json.h"
#include "checkpoint/draft.h"
#include "checkpoint/names.h"
#include "checkpoint/safetensors-writer.h"
#include "checkpoint/schema.h"

#include <string.h>

/* The end token's column of the logits. */
#define TOKEN_EOS 1

/* splitmix64 (Steele et al. 2014): GLib's generator would do as well, but its
 * floats are not promised to stay the same. */
static guint64
next_random (guint64 *state)
{
  guint64 z = (*state += 0x9e3779b97f4a7c15u);

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Uniform in [-1, 1), a multiple of 2^-7: with a scale that is a power of two
 * every weight is exact in float16 and bfloat16, too, and a converted model
 * must give the same tokens. */
static gfloat
next_weight (guint64 *state)
{
  return (gfloat) (next_random (state) >> 56) / 128.0f - 1.0f;
}

/* A norm's scale, near one and a multiple of 2^-7, too. */
static gfloat
next_scale (guint64 *state)
{
  return 0.75f + (gfloat) (next_random (state) >> 58) / 128.0f;
}

/* The power of two that keeps the variance of a product with a matrix of
 * @rows rows near that of its input: uniform weights have a variance of 1/3. */
static gfloat
scale_for (gsize rows)
{
  gfloat scale = 1.0f;

  while (scale * scale * (gfloat) rows > 3.0f * 1.5f)
    scale *= 0.5f;
  return scale;
}

/* Queries are small, as attention is not scaled by 1/sqrt(head_dim). Embeddings
 * are large, so that each token depends on the last and greedy decoding does
 * not fall into a loop. The end token's logit varies twice as much as the
 * others': windows end after tens of tokens, each elsewhere. */
static gfloat *
make_values (const Mt3SchemaTensor *tensor, guint head_dim, guint64 *state)
{
  gsize columns = tensor->n_dims == 2 ? tensor->shape[1] : 1;
  gsize n = tensor->shape[0] * columns;
  gfloat *values = g_new (gfloat, n);
  gfloat scale = scale_for (tensor->shape[0]);
  gboolean logits = strstr (tensor->name, "logits_dense") != NULL;

  if (strstr (tensor->name, "query") != NULL)
    scale *= 2.0f * scale_for (head_dim);
  if (strstr (tensor->name, "embedding") != NULL)
    scale = 4.0f;
  for (gsize i = 0; i < n; i++) {
    values[i] =
        tensor->n_dims == 1 ? next_scale (state) : next_weight (state) * scale;
    if (logits && i % columns == TOKEN_EOS)
      values[i] *= 2.0f;
  }
  return values;
}

/* The layout that PyTorch stores: [out, in]. */
static gfloat *
transpose (const gfloat *values, const gsize *shape)
{
  gfloat *out = g_new (gfloat, shape[0] * shape[1]);

  for (gsize row = 0; row < shape[0]; row++)
    for (gsize column = 0; column < shape[1]; column++)
      out[column * shape[0] + row] = values[row * shape[1] + column];
  return out;
}

static gpointer
own (RandomModel *model, gpointer memory)
{
  g_ptr_array_add (model->owned, memory);
  return memory;
}

static void
add_tensor (RandomModel *model, const Mt3SchemaTensor *schema, guint64 *state,
    gboolean hugging_face)
{
  gfloat *values =
      own (model, make_values (schema, model->config.head_dim, state));
  gboolean transposed = FALSE;
  Mt3Tensor tensor = {.n_dims = schema->n_dims};

  tensor.name = own (
      model, hugging_face ? mt3_name_to_hugging_face (schema->name, &transposed)
                          : g_strdup (schema->name));
  if (transposed)
    values = own (model, transpose (values, schema->shape));
  for (guint i = 0; i < schema->n_dims; i++)
    tensor.shape[i] = schema->shape[transposed ? 1 - i : i];
  tensor.stride[0] = tensor.n_dims == 2 ? tensor.shape[1] : 1;
  tensor.stride[1] = 1;
  tensor.data = values;
  g_array_append_val (model->tensors, tensor);
}

static RandomModel *
new_from_schema (const Mt3Config *config, const GArray *schema, guint64 seed,
    gboolean hugging_face)
{
  RandomModel *model = g_new0 (RandomModel, 1);
  guint64 state = seed;

  model->config = *config;
  model->tensors = g_array_new (FALSE, FALSE, sizeof (Mt3Tensor));
  model->owned = g_ptr_array_new_with_free_func (g_free);
  model->metadata =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_hash_table_insert (model->metadata, g_strdup ("name"),
      g_strdup ("random weights for tests"));
  for (guint i = 0; i < schema->len; i++)
    add_tensor (model, &g_array_index (schema, Mt3SchemaTensor, i), &state,
        hugging_face);
  return model;
}

RandomModel *
random_model_new (const Mt3Config *config, guint64 seed, gboolean hugging_face)
{
  g_autoptr (GArray) schema = mt3_schema_new (config);
  RandomModel *model = new_from_schema (config, schema, seed, hugging_face);

  g_hash_table_insert (
      model->metadata, g_strdup (MT3_CONFIG_KEY), mt3_config_to_json (config));
  return model;
}

RandomModel *
random_draft_new (const Mt3Model *model, guint64 seed)
{
  const Mt3Config *config = mt3_model_config (model);
  g_autoptr (GArray) schema = mt3_draft_schema_new (config);
  RandomModel *draft = new_from_schema (config, schema, seed, FALSE);

  g_hash_table_insert (draft->metadata, g_strdup (MT3_DRAFT_MODEL_KEY),
      mt3_draft_model_digest (model));
  return draft;
}

void
random_model_free (RandomModel *model)
{
  g_array_unref (model->tensors);
  g_hash_table_unref (model->metadata);
  g_ptr_array_unref (model->owned);
  g_free (model);
}

gboolean
random_model_write (
    const RandomModel *model, const gchar *path, Mt3DType dtype, GError **error)
{
  const Mt3SafetensorsWrite what = {
      .tensors = (const Mt3Tensor *) (gpointer) model->tensors->data,
      .n_tensors = model->tensors->len,
      .dtype = dtype,
      .metadata = model->metadata,
  };

  return mt3_safetensors_write (path, &what, error);
}

gboolean
random_draft_write (
    const Mt3Model *model, const gchar *path, guint64 seed, GError **error)
{
  g_autoptr (RandomModel) draft = random_draft_new (model, seed);

  return random_model_write (draft, path, MT3_DTYPE_F16, error);
}
