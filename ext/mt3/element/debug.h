/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * debug.h: one debug category for each file that logs.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN (gst_mt3_transcribe_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_sink_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_src_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_model_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_audio_input_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_midi_file_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_midi_event_debug);
GST_DEBUG_CATEGORY_EXTERN (gst_mt3_live_debug);

/* Before anything logs; any number of times. */
void gst_mt3_debug_init (void);

G_END_DECLS
