/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * variants.h: the instruction sets that this machine can test, and numbers to
 * test them on.
 */
#pragma once

#include <glib.h>

#include "kernels/cpu/cpu-kernels.h"

G_BEGIN_DECLS

/* The kernels in plain C: what the others have to agree with. */
const Mt3CpuKernels *scalar_kernels (void);

/* Those of avx2, avx512 and avx512bf16 that run here, then NULL. A test that
 * loops over none of them still ran the plain C. */
const Mt3CpuKernels *const *vector_kernels (void);

/* Zeroed floats, aligned for any vector; free with free(). */
gfloat *floats_new (gsize n);

/* The same numbers for the same seed, about normal. */
void fill_random (gfloat *out, gsize n, guint32 seed, gdouble scale);

/* Fails the test unless all bits agree. */
void check_same_bits (
    const gfloat *a, const gfloat *b, gsize n, const gchar *what);

/* Fails the test unless |a - b| <= tolerance everywhere. */
void check_near (const gfloat *a, const gfloat *b, gsize n, gdouble tolerance,
    const gchar *what);

G_END_DECLS
