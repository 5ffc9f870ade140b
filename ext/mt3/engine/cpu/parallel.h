/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * parallel.h: the kernels, spread over the threads of a forward pass.
 */
#pragma once

#include "engine/cpu/forward.h"

G_BEGIN_DECLS

/* out (epilogue) in x matrix */
void mt3_cpu_multiply (Mt3CpuForward *forward, const Mt3Matrix *matrix,
    const Mt3Rows *in, const Mt3Rows *out, guint n_rows, Mt3Epilogue epilogue);

/* normed = rms_norm (x) */
void mt3_cpu_norm (Mt3CpuForward *forward, const gfloat *scale, guint n_rows);

/* The scratch memory of a thread. */
static inline gpointer
mt3_cpu_scratch (const Mt3CpuForward *forward, gsize thread)
{
  return forward->scratch + thread * forward->scratch_bytes;
}

G_END_DECLS
