/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * npz.h: float32 arrays of a NumPy .npz file (a zip of .npy files).
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * npz_read:
 * @n: number of elements
 *
 * Returns: (transfer full): the array @name of @path; aborts when the file is
 * not what it should be (a test's own data).
 */
gfloat *npz_read (const gchar *path, const gchar *name, gsize *n);

G_END_DECLS
