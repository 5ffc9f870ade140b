/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * planes.h: what the tests on a GPU share: matrices of random numbers, in split
 * form and read back.
 */
#pragma once

#include "mt3-cuda-kernels.h"

#include <glib.h>

#define ACTIVATION_SCALE (1.0f / 64) /* see Mt3CudaPlanes */

/* Ends the program on an error. */
void check_cuda (cudaError_t result);

/* @n split activations as float32; free with g_free(). */
gfloat *read_planes (const Mt3CudaPlanes *planes, gsize n);

/* Memory of the device, full of what is not a number; free with cudaFree(). */
gpointer device_block (gsize bytes);
Mt3CudaPlanes device_planes (gsize n);
gpointer to_device (const gfloat *values, gsize n);

/* @in [k, n] times @scale as planes [n, k]. */
Mt3CudaPlanes pack_planes (const gfloat *in, gint k, gint n, gfloat scale);

/* @n numbers in -scale .. scale, others in each call; free with g_free(). */
gfloat *random_floats (gsize n, gfloat scale);
