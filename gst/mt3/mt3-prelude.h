/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-prelude.h: which symbols libgstmt3-1.0 exports.
 */
#pragma once

#include <gst/gst.h>

#ifndef GST_MT3_API
#ifdef BUILDING_GST_MT3
#define GST_MT3_API GST_API_EXPORT
#else
#define GST_MT3_API GST_API_IMPORT
#endif
#endif
