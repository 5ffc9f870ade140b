/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3transcribe.h: the element.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_MT3_TRANSCRIBE (gst_mt3_transcribe_get_type ())
G_DECLARE_FINAL_TYPE (
    GstMt3Transcribe, gst_mt3_transcribe, GST, MT3_TRANSCRIBE, GstElement)

GST_ELEMENT_REGISTER_DECLARE (mt3transcribe);

G_END_DECLS
