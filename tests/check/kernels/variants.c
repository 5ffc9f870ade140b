/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "variants.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const Mt3CpuKernels *
scalar_kernels (void)
{
  return mt3_cpu_kernels ("scalar");
}

const Mt3CpuKernels *const *
vector_kernels (void)
{
  static const gchar *const names[] = {"avx2", "avx512", "avx512bf16"};
  static const Mt3CpuKernels *found[G_N_ELEMENTS (names) + 1];
  gsize n = 0;

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if (mt3_cpu_kernels (names[i]) != NULL)
      found[n++] = mt3_cpu_kernels (names[i]);
  found[n] = NULL;
  return found;
}

gfloat *
floats_new (gsize n)
{
  gfloat *floats = aligned_alloc (64, mt3_round_up (n * 4 + 4, 64));

  g_assert_nonnull (floats);
  memset (floats, 0, mt3_round_up (n * 4 + 4, 64));
  return floats;
}

void
fill_random (gfloat *out, gsize n, guint32 seed, gdouble scale)
{
  GRand *random = g_rand_new_with_seed (seed);

  for (gsize i = 0; i < n; i++) {
    gdouble sum = 0.0;

    for (guint j = 0; j < 4; j++)
      sum += g_rand_double_range (random, -1.0, 1.0);
    out[i] = scale * sum;
  }
  g_rand_free (random);
}

void
check_same_bits (const gfloat *a, const gfloat *b, gsize n, const gchar *what)
{
  for (gsize i = 0; i < n; i++)
    ck_assert_msg (memcmp (&a[i], &b[i], sizeof *a) == 0,
        "%s: element %zu is %.9g and %.9g", what, i, a[i], b[i]);
}

void
check_near (const gfloat *a, const gfloat *b, gsize n, gdouble tolerance,
    const gchar *what)
{
  for (gsize i = 0; i < n; i++)
    ck_assert_msg (fabs ((gdouble) a[i] - b[i]) <= tolerance,
        "%s: element %zu is %.9g, not %.9g", what, i, a[i], b[i]);
}
