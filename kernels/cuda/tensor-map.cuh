/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tensor-map.cuh: what the copy engine is told of a matrix, on the host.
 */
#pragma once

#include <cuda.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

typedef CUresult (*EncodeTiled) (CUtensorMap *, CUtensorMapDataType, cuuint32_t,
    void *, const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
    const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
    CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* From the driver, which nothing links. */
static EncodeTiled
encode_tiled (void)
{
  void *entry = NULL;
  cudaDriverEntryPointQueryResult found;

  if (cudaGetDriverEntryPointByVersion ("cuTensorMapEncodeTiled", &entry, 12000,
          cudaEnableDefault, &found) != cudaSuccess)
    return NULL;
  return reinterpret_cast<EncodeTiled> (entry);
}

/* A matrix that is copied in boxes, whose rows are of 128 bytes and swizzled,
 * or else of 64. */
static cudaError_t
encode_boxes (CUtensorMap *map, const void *matrix, bool half, int n_rows,
    int n_columns, int box_rows, bool swizzled)
{
  static const EncodeTiled entry = encode_tiled ();
  const cuuint32_t bytes = half ? sizeof (__half) : sizeof (float);
  const cuuint64_t size[] = {(cuuint64_t) n_columns, (cuuint64_t) n_rows};
  const cuuint64_t row_bytes[] = {(cuuint64_t) n_columns * bytes};
  const cuuint32_t box[] = {
      (swizzled ? 128 : 64) / bytes, (cuuint32_t) box_rows};
  const cuuint32_t step[] = {1, 1};

  if (entry == NULL)
    return cudaErrorSymbolNotFound;
  return entry (map,
             half ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                  : CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
             2, const_cast<void *> (matrix), size, row_bytes, box, step,
             CU_TENSOR_MAP_INTERLEAVE_NONE,
             swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS
             ? cudaSuccess
             : cudaErrorInvalidValue;
}

static inline cudaError_t
encode_map (CUtensorMap *map, const void *matrix, bool half, int n_rows,
    int n_columns, int box_rows)
{
  return encode_boxes (map, matrix, half, n_rows, n_columns, box_rows, true);
}
