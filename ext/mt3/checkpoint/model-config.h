/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model-config.h: the numbers that define one MT3 network and its front end.
 *
 * All of them come from the checkpoint (tensor shapes) and its configuration
 * (safetensors metadata, or the defaults of the published models); nothing
 * downstream compiles a dimension in.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define MT3_CONFIG_PROGRAMS 128 /* of General MIDI */

/**
 * Mt3Config:
 *
 * Front end (samples, frames, Hz) and network dimensions. The defaults in
 * brackets are those of the published multitrack model.
 */
typedef struct {
  /* Front end */
  guint sample_rate; /* [16000] Hz, mono */
  guint hop_length; /* [128] samples a frame */
  guint fft_length; /* [2048] samples, periodic Hann of the same length */
  guint n_mels; /* [512] */
  gdouble mel_low_hz; /* [20] */
  gdouble mel_high_hz; /* [7600] */
  guint window_frames; /* [256] frames a window; 512 for the piano model */

  /* Network */
  guint d_model; /* [512] */
  guint n_heads; /* [6] */
  guint head_dim; /* [64] */
  guint encoder_layers; /* [8] */
  guint decoder_layers; /* [8] */
  guint encoder_d_ff; /* [1024] */
  guint decoder_d_ff; /* [1024] */
  guint vocab_size; /* [1536] rows of the token embedding and logits */
  guint max_tokens; /* [1024] tokens a window, at most */

  /* Vocabulary */
  guint velocity_bins; /* [1], 1 to 127 */
  gboolean ties; /* [TRUE] windows open with a tie section */
  gboolean ordered_events; /* [FALSE] texts have the order of
                              kernels/token-order.h; the reference has no
                              such rule */
  guint8 written_programs[MT3_CONFIG_PROGRAMS]; /* [0] what is written for a
                               program, plus 1; 0: the program itself */
} Mt3Config;

/* The published multitrack model ("mt3"). */
void mt3_config_init_multitrack (Mt3Config *config);

/* Samples that one full window spans: window_frames * hop_length. */
static inline gsize
mt3_config_window_samples (const Mt3Config *config)
{
  return (gsize) config->window_frames * config->hop_length;
}

/* The program that the model writes for @program: its own, or that of a group
 * of programs that it does not tell apart. */
static inline guint
mt3_config_written_program (const Mt3Config *config, guint program)
{
  guint written = config->written_programs[program];

  return written == 0 ? program : written - 1;
}

/* Inner width of attention: n_heads * head_dim. */
static inline guint
mt3_config_inner (const Mt3Config *config)
{
  return config->n_heads * config->head_dim;
}

G_END_DECLS
