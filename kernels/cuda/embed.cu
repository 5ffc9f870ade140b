/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * embed.cu: the tokens of whole texts to what the decoder's first layer takes.
 * One warp a row.
 */
#include "device.cuh"

#define WARPS 8

static __global__ void
__launch_bounds__ (WARPS * 32) embed_kernel (const Mt3CudaEmbed a)
{
  const int row = blockIdx.x * WARPS + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;

  if (row >= a.n_rows)
    return;
  const float *embedding = a.embedding + (size_t) a.rows[row].token * a.d_model;
  const float *place = a.positions + (size_t) a.rows[row].position * a.d_model;

  for (int column = 2 * lane; column < a.d_model; column += 64) {
    const size_t i = (size_t) row * a.d_model + column;
    const float v0 = embedding[column] + place[column];
    const float v1 = embedding[column + 1] + place[column + 1];
    float squares = sum_of_squares (v0, v1);

    *reinterpret_cast<float2 *> (a.x + i) = make_float2 (v0, v1);
    store2<true> (a.out, i, v0, v1);
    for (int step = 8; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    if (lane % 16 == 0)
      a.out_squares[i / MT3_CUDA_PREFILL_SQUARES] = squares;
  }
}

cudaError_t
mt3_cuda_embed (const Mt3CudaEmbed *args, Mt3CudaLaunch launch)
{
  return launch_kernel (embed_kernel, dim3 ((args->n_rows + WARPS - 1) / WARPS),
      dim3 (WARPS * 32), 0, launch, *args);
}
