/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-make-model: writes an MT3 model of any dimensions with random weights,
 * so that tests can run all code on any machine. The same options give the
 * same bytes on every machine.
 */
#include "checkpoint/config-json.h"
#include "random-model.h"

typedef struct {
  gint layers, d_model, heads, head_dim, d_ff, decoder_d_ff, vocab, mels, hop;
  gint window_frames, velocity_bins, max_tokens, seed;
  gboolean no_ties, hugging_face, f16;
  gchar *output, *draft;
} Options;

static void
fill_config (const Options *options, Mt3Config *config)
{
  mt3_config_init_multitrack (config);
  config->n_mels = (guint) options->mels;
  config->hop_length = (guint) options->hop;
  config->window_frames = (guint) options->window_frames;
  config->d_model = (guint) options->d_model;
  config->n_heads = (guint) options->heads;
  config->head_dim = (guint) options->head_dim;
  config->encoder_layers = (guint) options->layers;
  config->decoder_layers = (guint) options->layers;
  config->encoder_d_ff = (guint) options->d_ff;
  config->decoder_d_ff =
      (guint) (options->decoder_d_ff > 0 ? options->decoder_d_ff
                                         : options->d_ff);
  config->vocab_size = (guint) options->vocab;
  config->max_tokens = (guint) options->max_tokens;
  config->velocity_bins = (guint) options->velocity_bins;
  config->ties = !options->no_ties;
}

static gboolean
make_model (const Options *options, GError **error)
{
  g_autoptr (RandomModel) model = NULL;
  Mt3Config config;

  fill_config (options, &config);
  if (!mt3_config_check (&config, error))
    return FALSE;
  model = random_model_new (
      &config, (guint64) options->seed, options->hugging_face);
  return random_model_write (model, options->output,
      options->f16 ? MT3_DTYPE_F16 : MT3_DTYPE_F32, error);
}

/* Which drafts for the model that was written. */
static gboolean
make_draft (const Options *options, GError **error)
{
  g_autoptr (Mt3Model) model = NULL;

  if (options->draft == NULL)
    return TRUE;
  model = mt3_model_open (options->output, error);
  return model != NULL && random_draft_write (model, options->draft,
                              (guint64) options->seed + 1, error);
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
      .hop = 128,
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
      {"decoder-d-ff", 0, 0, G_OPTION_ARG_INT, &o.decoder_d_ff,
          "Of the decoder, when it differs", "N"},
      {"vocab", 0, 0, G_OPTION_ARG_INT, &o.vocab, "Vocabulary size", "N"},
      {"mels", 0, 0, G_OPTION_ARG_INT, &o.mels, "Mel bins", "N"},
      {"hop", 0, 0, G_OPTION_ARG_INT, &o.hop, "Samples a frame", "N"},
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
      {"draft", 0, 0, G_OPTION_ARG_FILENAME, &o.draft,
          "And a draft network for it", "FILE"},
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
  made = make_model (&o, &error) && make_draft (&o, &error);
  if (!made)
    g_printerr ("mt3-make-model: %s\n", error->message);
  g_free (o.output);
  g_free (o.draft);
  return made ? 0 : 1;
}
