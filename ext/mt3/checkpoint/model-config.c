/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/model-config.h"

void
mt3_config_init_multitrack (Mt3Config *config)
{
  *config = (Mt3Config){
      .sample_rate = 16000,
      .hop_length = 128,
      .fft_length = 2048,
      .n_mels = 512,
      .mel_low_hz = 20.0,
      .mel_high_hz = 7600.0,
      .window_frames = 256,
      .d_model = 512,
      .n_heads = 6,
      .head_dim = 64,
      .encoder_layers = 8,
      .decoder_layers = 8,
      .encoder_d_ff = 1024,
      .decoder_d_ff = 1024,
      .vocab_size = 1536,
      .max_tokens = 1024,
      .velocity_bins = 1,
      .ties = TRUE,
      .ordered_events = FALSE,
  };
}
