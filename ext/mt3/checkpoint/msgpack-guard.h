/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * msgpack-guard.h: is it safe to hand these bytes to msgpack-c?
 *
 * msgpack-c allocates for as many elements as an array or map claims to have,
 * before it has seen one: five bytes can ask for 100 GB. This check walks the
 * structure first and allocates nothing.
 * https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The published checkpoint has 5,700 objects, ten deep; msgpack-c itself stops
 * at a depth of 32. */
#define MT3_MSGPACK_MAX_OBJECTS (1u << 20)
#define MT3_MSGPACK_MAX_DEPTH 31

/* TRUE when @data is exactly one complete msgpack object within the bounds. */
gboolean mt3_msgpack_is_bounded (const guint8 *data, gsize length);

G_END_DECLS
