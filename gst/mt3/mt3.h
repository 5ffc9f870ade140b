/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3.h: what an application includes to read transcribed notes.
 */
#pragma once

#include <gst/mt3/mt3-prelude.h>
#include <gst/mt3/gstmt3note.h>
#include <gst/mt3/gstmt3notemeta.h>
#include <gst/mt3/gstmt3messages.h>
