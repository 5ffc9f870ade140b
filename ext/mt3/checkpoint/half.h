/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * half.h: float16 (IEEE 754-2008 binary16) and bfloat16 against float32.
 *
 * In integer arithmetic and normal floats only, so that the result is the same
 * on every processor, with or without denormals-are-zero.
 */
#pragma once

#include <glib.h>
#include <string.h>

G_BEGIN_DECLS

static inline gfloat
mt3_float_from_bits (guint32 bits)
{
  gfloat value;

  memcpy (&value, &bits, sizeof value);
  return value;
}

static inline guint32
mt3_float_bits (gfloat value)
{
  guint32 bits;

  memcpy (&bits, &value, sizeof bits);
  return bits;
}

/* Exact. */
static inline gfloat
mt3_half_to_float (guint16 half)
{
  const guint32 smallest_normal = 113u << 23; /* 2^-14 */
  guint32 bits = (guint32) (half & 0x7fff) << 13;
  guint32 exponent = bits & (0x7c00u << 13);
  guint32 sign = (guint32) (half & 0x8000) << 16;

  bits += (127u - 15u) << 23;
  if (exponent == (0x7c00u << 13)) /* Inf, NaN */
    bits += (128u - 16u) << 23;
  if (exponent == 0) /* zero, denormal: 2^-14 * (1 + m) - 2^-14 */
    bits = mt3_float_bits (mt3_float_from_bits (bits + (1u << 23)) -
                           mt3_float_from_bits (smallest_normal));
  return mt3_float_from_bits (bits | sign);
}

/* Exact: a bfloat16 is the upper half of a float32. */
static inline gfloat
mt3_bfloat_to_float (guint16 bfloat)
{
  return mt3_float_from_bits ((guint32) bfloat << 16);
}

/* Rounds to nearest, ties to even; beyond 65519.99 becomes Inf. */
static inline guint16
mt3_float_to_half (gfloat value)
{
  guint32 bits = mt3_float_bits (value) & 0x7fffffff;
  guint16 sign = (guint16) ((mt3_float_bits (value) >> 16) & 0x8000);

  if (bits > 0x7f800000) /* NaN */
    return sign | 0x7e00;
  if (bits >= 0x477ff000) /* 65520 and more */
    return sign | 0x7c00;
  if (bits < 113u << 23) /* below 2^-14: let an addition round to 2^-24 */
    return sign |
           (guint16) (mt3_float_bits (mt3_float_from_bits (bits) + 0.5f) -
                      mt3_float_bits (0.5f));
  bits += 0xfff + ((bits >> 13) & 1);
  return sign | (guint16) ((bits - (112u << 23)) >> 13);
}

G_END_DECLS
