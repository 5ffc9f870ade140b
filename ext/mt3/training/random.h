/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * random.h: a small generator of random numbers, the same on every machine
 * (SplitMix64; Steele, Lea, Flood, OOPSLA 2014).
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint64 state;
} Mt3Random;

static inline guint64
mt3_random_next (Mt3Random *random)
{
  guint64 z = random->state += 0x9E3779B97F4A7C15u;

  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* From @low to below @high. */
static inline gfloat
mt3_random_range (Mt3Random *random, gfloat low, gfloat high)
{
  return low + (high - low) * (mt3_random_next (random) >> 40) * 0x1p-24f;
}

static inline gboolean
mt3_random_chance (Mt3Random *random, gfloat probability)
{
  return mt3_random_range (random, 0, 1) < probability;
}

/* 0 to @n - 1. */
static inline guint
mt3_random_below (Mt3Random *random, guint n)
{
  return (mt3_random_next (random) >> 32) * n >> 32;
}

G_END_DECLS
