/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * device-arrays.h: numbers for the tests of kernels, on the host and on the
 * device, and how long a kernel takes. Whatever fails ends the program; device
 * memory is never freed.
 */
#pragma once

#include <glib.h>

#include "mt3-cuda-kernels.h"

G_BEGIN_DECLS

void check_cuda (cudaError_t result);

/* @n numbers from -@scale to @scale, others at every call; g_free(). */
gfloat *random_floats (gsize n, gfloat scale);

/* A copy on the device. */
gpointer to_device (gconstpointer values, gsize bytes);

/* What is not written there is not a number. */
gpointer device_bytes (gsize bytes);

/* Waits for the device; a copy, g_free(). */
gpointer to_host (gconstpointer device, gsize bytes);

/* Activations as decode kernels take them, see Mt3CudaPlanes. What is lost in
 * that is rounded off @values, too. */
Mt3CudaPlanes activations (gfloat *values, gsize n, gboolean exact);

/* Room for @n of them, and as floats; g_free(). */
Mt3CudaPlanes empty_activations (gsize n, gboolean exact);
gfloat *read_activations (Mt3CudaPlanes planes, gsize n);

/* The columns of w [k, n], or of a [k, n], as rows of the split form. */
Mt3CudaPlanes weight_rows (const gfloat *w, gsize k, gsize n);
Mt3CudaPlanes activation_rows (const gfloat *a, gsize k, gsize n);

/* The columns of w [k, n] for a decode step; likewise rounds @w. */
Mt3CudaPlanes decode_weights (
    gfloat *w, gsize k, gsize n, gboolean exact, Mt3CudaLayout layout);

/* @n floats as a cache holds them; likewise rounds @values. */
gpointer cache_values (gfloat *values, gsize n, gboolean exact);
gfloat *read_cache (gconstpointer cache, gsize n, gboolean exact);

/* The same in two planes, which are not times 1/64. */
Mt3CudaPlanes cache_planes (const gfloat *values, gsize n);
gfloat *read_cache_planes (Mt3CudaPlanes planes, gsize n);

/* Microseconds of one launch, the fastest of three times twenty. 0, and no
 * launch, where MT3_TEST_UNTIMED is set: under a tool that watches every
 * access. */
gdouble time_launch (
    cudaError_t (*launch) (gconstpointer data), gconstpointer data);

G_END_DECLS
