/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pack.cu: a checkpoint's [in, out] float32 matrices as the transposed planes
 * that the products read.
 */
#include "device.cuh"

#define TILE 32

static __device__ __forceinline__ size_t
element (const Mt3CudaPack &a, int row, int term)
{
  if (a.layout == MT3_CUDA_ROW_MAJOR)
    return (size_t) row * a.k + term;
  return panel_chunk (a.k, row / 16, term / 32, row % 16 / 8,
             row % 8 * 4 + term % 32 / 8) *
             8 +
         term % 8;
}

/* Block (32, 8), grid (n / 32, k / 32): a tile is transposed through shared
 * memory so that both sides are coalesced. */
template <bool EXACT>
static __global__ void
pack_kernel (const Mt3CudaPack a)
{
  __shared__ float tile[TILE][TILE + 1];
  const int column = blockIdx.x * TILE + threadIdx.x;

  for (int y = threadIdx.y; y < TILE; y += blockDim.y) {
    const int row = blockIdx.y * TILE + y;
    if (row < a.k && column < a.n)
      tile[y][threadIdx.x] =
          a.in[(size_t) row * a.n + column] * (a.scale ? a.scale[row] : 1.0f);
  }
  __syncthreads ();
  for (int y = threadIdx.y; y < TILE; y += blockDim.y) {
    const int out_row = blockIdx.x * TILE + y;
    const int out_column = blockIdx.y * TILE + threadIdx.x;
    if (out_row >= a.n || out_column >= a.k)
      continue;
    const float value = tile[threadIdx.x][y];
    const size_t i = element (a, a.row0 + a.row_step * out_row, out_column);
    const __half hi = __float2half_rn (value);
    static_cast<__half *> (a.out.hi)[i] = hi;
    if (EXACT)
      static_cast<__half *> (a.out.lo)[i] =
          __float2half_rn ((value - __half2float (hi)) * SPLIT);
  }
}

cudaError_t
mt3_cuda_pack (const Mt3CudaPack *args, cudaStream_t stream)
{
  const dim3 grid ((args->n + TILE - 1) / TILE, (args->k + TILE - 1) / TILE);
  const dim3 block (TILE, 8);

  return launch_kernel (args->out.lo ? pack_kernel<true> : pack_kernel<false>,
      grid, block, 0, Mt3CudaLaunch{stream, 0}, *args);
}

static __global__ void
compose_kernel (const float *a, const float *scale, const float *b, int k,
    int m, int n, float *out)
{
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y;
  double sum = 0.0;

  if (column >= n)
    return;
  for (int i = 0; i < m; i++)
    sum += (double) a[(size_t) row * m + i] * scale[i] *
           b[(size_t) i * n + column];
  out[(size_t) row * n + column] = (float) sum;
}

cudaError_t
mt3_cuda_compose (const float *a, const float *scale, const float *b, int k,
    int m, int n, float *out, cudaStream_t stream)
{
  return launch_kernel (compose_kernel, dim3 ((n + 127) / 128, k), dim3 (128),
      0, Mt3CudaLaunch{stream, 0}, a, scale, b, k, m, n, out);
}
