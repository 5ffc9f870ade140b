/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/debug.h"

GST_DEBUG_CATEGORY (gst_mt3_transcribe_debug);
GST_DEBUG_CATEGORY (gst_mt3_sink_debug);
GST_DEBUG_CATEGORY (gst_mt3_src_debug);
GST_DEBUG_CATEGORY (gst_mt3_model_debug);
GST_DEBUG_CATEGORY (gst_mt3_audio_input_debug);
GST_DEBUG_CATEGORY (gst_mt3_midi_file_debug);
GST_DEBUG_CATEGORY (gst_mt3_midi_event_debug);
GST_DEBUG_CATEGORY (gst_mt3_live_debug);

void
gst_mt3_debug_init (void)
{
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_transcribe_debug, "mt3transcribe", 0, "MT3: the element");
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_sink_debug, "mt3sink", 0, "MT3: audio into the engine");
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_src_debug, "mt3src", 0, "MT3: notes out of the engine");
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_model_debug, "mt3model", 0, "MT3: opening the model");
  GST_DEBUG_CATEGORY_INIT (gst_mt3_audio_input_debug, "mt3audioinput", 0,
      "MT3: conversion of the audio");
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_midi_file_debug, "mt3midifile", 0, "MT3: Standard MIDI Files");
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_midi_event_debug, "mt3midievent", 0, "MT3: live MIDI");
  GST_DEBUG_CATEGORY_INIT (
      gst_mt3_live_debug, "mt3live", 0, "MT3: latency and overload");
}
