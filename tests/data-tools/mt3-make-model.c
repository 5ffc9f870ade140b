/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-make-model: writes an MT3 model of any dimensions with random weights,
 * so that tests can run all code on any machine. The same options give the
 * same bytes on every machine.
 */
#include "checkpoint/config-json.h"
#include "checkpoint/names.h"
#include "checkpoint/safetensors-writer.h"
#include "checkpoint/schema.h"

#include <string.h>

/* The end token's column of the logits. */
#define TOKEN_EOS 1

typedef struct {
  gint layers, d_model, heads, head_dim, d_ff, vocab, mels;
  gint window_frames, velocity_bins, max_tokens, seed;
  gboolean no_ties, hugging_face, f16;
  gchar *output;
} Options;

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

/* Norms are near one. Queries are small, as attention is not scaled by
 * 1/sqrt(head_dim). Embeddings are large enough for tokens to vary from
 * position to position, and the end token's logit varies twice as much as the
 * others', so that windows end after tens of tokens, each elsewhere. */
static gfloat *
make_values (const Mt3SchemaTensor *tensor, guint head_dim, guint64 *state)
{
  gsize columns = tensor->n_dims == 2 ? tensor->shape[1] : 1;
  gsize n = tensor->shape[0] * columns;
  gfloat *values = g_new (gfloat, n);
  gfloat scale = scale_for (tensor->shape[0]);

  if (strstr (tensor->name, "query") != NULL)
    scale *= 2.0f * scale_for (head_dim);
  if (strstr (tensor->name, "embedding") != NULL)
    scale = 1.0f;
  for (gsize i = 0; i < n; i++)
    values[i] = tensor->n_dims == 1 ? 1.0f + next_weight (state) / 4.0f
                                    : next_weight (state) * scale;
  if (strstr (tensor->name, "logits_dense") != NULL)
    for (gsize row = 0; row < tensor->shape[0]; row++)
      values[row * columns + TOKEN_EOS] *= 2.0f;
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

/* Owns what the returned tensor points to. */
static Mt3Tensor
make_tensor (const Mt3SchemaTensor *schema, const Options *options,
    guint64 *state, GPtrArray *owned)
{
  gfloat *values = make_values (schema, (guint) options->head_dim, state);
  gboolean transposed = FALSE;
  Mt3Tensor tensor = {.name = schema->name, .n_dims = schema->n_dims};
  gchar *name;

  g_ptr_array_add (owned, values);
  if (options->hugging_face) {
    name = mt3_name_to_hugging_face (schema->name, &transposed);
    g_ptr_array_add (owned, name);
    tensor.name = name;
  }
  if (transposed) {
    values = transpose (values, schema->shape);
    g_ptr_array_add (owned, values);
  }
  for (guint i = 0; i < schema->n_dims; i++)
    tensor.shape[i] = schema->shape[transposed ? 1 - i : i];
  tensor.stride[0] = tensor.n_dims == 2 ? tensor.shape[1] : 1;
  tensor.stride[1] = 1;
  tensor.data = values;
  return tensor;
}

static void
fill_config (const Options *options, Mt3Config *config)
{
  mt3_config_init_multitrack (config);
  config->n_mels = (guint) options->mels;
  config->window_frames = (guint) options->window_frames;
  config->d_model = (guint) options->d_model;
  config->n_heads = (guint) options->heads;
  config->head_dim = (guint) options->head_dim;
  config->encoder_layers = (guint) options->layers;
  config->decoder_layers = (guint) options->layers;
  config->encoder_d_ff = (guint) options->d_ff;
  config->decoder_d_ff = (guint) options->d_ff;
  config->vocab_size = (guint) options->vocab;
  config->max_tokens = (guint) options->max_tokens;
  config->velocity_bins = (guint) options->velocity_bins;
  config->ties = !options->no_ties;
}

static gboolean
make_model (const Options *options, GError **error)
{
  g_autoptr (GHashTable) metadata =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);
  g_autoptr (GPtrArray) owned = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GArray) tensors = g_array_new (FALSE, FALSE, sizeof (Mt3Tensor));
  g_autoptr (GArray) schema = NULL;
  guint64 state = (guint64) options->seed;
  Mt3SafetensorsWrite what = {0};
  Mt3Config config;

  fill_config (options, &config);
  if (!mt3_config_check (&config, error))
    return FALSE;
  schema = mt3_schema_new (&config);
  for (guint i = 0; i < schema->len; i++) {
    Mt3Tensor tensor = make_tensor (
        &g_array_index (schema, Mt3SchemaTensor, i), options, &state, owned);

    g_array_append_val (tensors, tensor);
  }
  g_hash_table_insert (
      metadata, (gpointer) MT3_CONFIG_KEY, mt3_config_to_json (&config));
  g_hash_table_insert (
      metadata, (gpointer) "name", g_strdup ("random weights for tests"));
  what.tensors = (const Mt3Tensor *) (gpointer) tensors->data;
  what.n_tensors = tensors->len;
  what.dtype = options->f16 ? MT3_DTYPE_F16 : MT3_DTYPE_F32;
  what.metadata = metadata;
  return mt3_safetensors_write (options->output, &what, error);
}

int
main (int argc, char **argv)
{
  Options o = {.layers = 2,
      .d_model = 64,
      .heads = 2,
      .head_dim = 64,
      .d_ff = 128,
      .vocab = 1536,
      .mels = 512,
      .window_frames = 256,
      .velocity_bins = 1,
      .max_tokens = 1024,
      .seed = 1};
  const GOptionEntry entries[] = {
      {"layers", 0, 0, G_OPTION_ARG_INT, &o.layers, "Of each stack", "N"},
      {"d-model", 0, 0, G_OPTION_ARG_INT, &o.d_model, "Width", "N"},
      {"heads", 0, 0, G_OPTION_ARG_INT, &o.heads, "Attention heads", "N"},
      {"head-dim", 0, 0, G_OPTION_ARG_INT, &o.head_dim, "Head width", "N"},
      {"d-ff", 0, 0, G_OPTION_ARG_INT, &o.d_ff, "Feed-forward width", "N"},
      {"vocab", 0, 0, G_OPTION_ARG_INT, &o.vocab, "Vocabulary size", "N"},
      {"mels", 0, 0, G_OPTION_ARG_INT, &o.mels, "Mel bins", "N"},
      {"window-frames", 0, 0, G_OPTION_ARG_INT, &o.window_frames,
          "Frames a window", "N"},
      {"velocity-bins", 0, 0, G_OPTION_ARG_INT, &o.velocity_bins,
          "Velocity bins", "N"},
      {"max-tokens", 0, 0, G_OPTION_ARG_INT, &o.max_tokens,
          "Tokens a window at most", "N"},
      {"no-ties", 0, 0, G_OPTION_ARG_NONE, &o.no_ties,
          "Windows do not open with ties", NULL},
      {"hugging-face", 0, 0, G_OPTION_ARG_NONE, &o.hugging_face,
          "Hugging Face names and layout", NULL},
      {"f16", 0, 0, G_OPTION_ARG_NONE, &o.f16, "Store float16", NULL},
      {"seed", 0, 0, G_OPTION_ARG_INT, &o.seed, "Of the weights", "N"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &o.output, "File to write",
          "FILE"},
      {NULL},
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  gboolean made;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) ||
      o.output == NULL) {
    g_printerr ("mt3-make-model: %s\n",
        error != NULL ? error->message : "--output is missing");
    return 2;
  }
  made = make_model (&o, &error);
  if (!made)
    g_printerr ("mt3-make-model: %s\n", error->message);
  g_free (o.output);
  return made ? 0 : 1;
}
