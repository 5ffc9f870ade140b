/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-block.cuh: what the attention kernels of a decode step have in common,
 * of one place a row as of several. A block has one row and head at a time.
 */
#pragma once

#include "device.cuh"

#define ATTENTION_THREADS 256 /* that compute */
#define ATTENTION_WARPS (ATTENTION_THREADS / 32)
#define DIM MT3_CUDA_HEAD_DIM
/* Numbers of partial squares that the kernels of many rows have room for. */
#define ATTENTION_SQUARES 64
#define MINUS_INFINITY -1e30f /* finite: no NaN from who has no keys */

/* As __expf(), but what is no normal number becomes 0. */
static __device__ __forceinline__ float
fast_exp (float x)
{
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;"
      : "=f"(y)
      : "f"(__fmul_rn (x, 1.4426950408889634f)));
  return y;
}

/* The threads that compute. */
static __device__ __forceinline__ void
attention_sync ()
{
  asm volatile("bar.sync 1, %0;" ::"n"(ATTENTION_THREADS) : "memory");
}
