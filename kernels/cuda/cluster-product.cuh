/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cluster-product.cuh: the matrix products of a cluster, see cluster.cuh.
 */
#pragma once

#include "cluster.cuh"

#if __CUDA_ARCH__ >= 900

/* A product of a phase and this warp's share: part `part` of the terms of units
 * `unit`, `unit` + `step` ... of the block. */
struct Product {
  const Shape &shape;
  const uint4 *w;
  int n_units, part, unit;
};

static __device__ __forceinline__ Product
make_product (const Group &g, const void *w, const Shape &shape, int n)
{
  const int warp = g.thread / 32;
  const int n_units = (n / 16 - g.cta + CTAS - 1) / CTAS;
  const int unit = warp / shape.parts;

  return Product{shape, static_cast<const uint4 *> (w), n_units,
      warp % shape.parts, unit < shape.step ? unit : n_units};
}

struct Weights {
  uint4 v[TASKS][2][2];
};

/* One task's, or zeros: without them the compiler would keep, for a warp that
 * has nothing to load, what was in the registers in the round before.
 * Volatile, so that it stays before a wait. */
static __device__ __forceinline__ void
load_task (uint4 (&v)[2][2], const uint4 *w, bool wanted)
{
#pragma unroll
  for (int i = 0; i < 4; i++)
    v[i / 2][i % 2] = make_uint4 (0, 0, 0, 0);
  if (!wanted)
    return;
  asm volatile(
      "ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%16];\n"
      "ld.global.nc.L1::no_allocate.v4.u32 {%4, %5, %6, %7}, [%16 + 512];\n"
      "ld.global.nc.L1::no_allocate.v4.u32 {%8, %9, %10, %11}, [%16 + 1024];\n"
      "ld.global.nc.L1::no_allocate.v4.u32 {%12, %13, %14, %15}, "
      "[%16 + 1536];\n"
      : "=r"(v[0][0].x), "=r"(v[0][0].y), "=r"(v[0][0].z), "=r"(v[0][0].w),
      "=r"(v[0][1].x), "=r"(v[0][1].y), "=r"(v[0][1].z), "=r"(v[0][1].w),
      "=r"(v[1][0].x), "=r"(v[1][0].y), "=r"(v[1][0].z), "=r"(v[1][0].w),
      "=r"(v[1][1].x), "=r"(v[1][1].y), "=r"(v[1][1].z), "=r"(v[1][1].w)
      : "l"(w));
}

/* All of this warp's tasks of a product. */
template <int SLICES>
static __device__ __forceinline__ void
load_weights (const Group &g, const Product &p, Weights &weights)
{
  const int lane = g.thread % 32;

#pragma unroll
  for (int t = 0; t < TASKS; t++) {
    const int unit = p.unit + t / SLICES * p.shape.step;
    load_task (weights.v[t],
        p.w + panel_chunk (p.shape.k, unit * CTAS + g.cta,
                  (p.part + t % SLICES * p.shape.parts) * 2, 0, lane),
        unit < p.n_units);
  }
}

template <int TILES> struct Operand {
  uint4 v[TILES][2];

  __device__ __forceinline__ void
  load (const Group &g, const __half *rows, int stride, int k0)
  {
    const int lane = g.thread % 32;
#pragma unroll
    for (int r = 0; r < TILES; r++)
#pragma unroll
      for (int s = 0; s < 2; s++)
        v[r][s] = *reinterpret_cast<const uint4 *> (
            rows + (r * 8 + lane / 4) * stride + k0 + s * 32 + lane % 4 * 8);
  }
};

static __device__ __forceinline__ void
multiply_task (float (&sum)[4], const uint4 (&w)[2][2], const uint4 (&x)[2])
{
#pragma unroll
  for (int s = 0; s < 2; s++) {
    mma (sum, w[s][0].x, w[s][1].x, w[s][0].y, w[s][1].y, x[s].x, x[s].y);
    mma (sum, w[s][0].z, w[s][1].z, w[s][0].w, w[s][1].w, x[s].z, x[s].w);
  }
}

/* @part: [row][PART_STRIDE] */
template <int TILES>
static __device__ __forceinline__ void
store_part (const Group &g, float *part, const float (&sums)[TILES][4])
{
  const int lane = g.thread % 32;
#pragma unroll
  for (int r = 0; r < TILES; r++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      part[(r * 8 + lane % 4 * 2 + i % 2) * PART_STRIDE + i / 2 * 8 +
           lane / 4] = sums[r][i];
}

/* All tasks of the warp. */
template <int TILES, int SLICES>
static __device__ __forceinline__ void
multiply_tasks (
    const Group &g, const Product &p, const Weights &weights, int input)
{
  constexpr int part_size = TILES * 8 * PART_STRIDE;
  const __half *rows = g.shared<__half> (input);
  const int stride = row_stride (p.shape.k);
  float *parts = g.shared<float> (g.at.parts) + p.part * part_size;
  Operand<TILES> x[SLICES];

#pragma unroll
  for (int s = 0; s < SLICES; s++)
    x[s].load (g, rows, stride, (p.part + s * p.shape.parts) * SLICE);
#pragma unroll
  for (int t = 0; t < TASKS; t += SLICES) {
    const int unit = p.unit + t / SLICES * p.shape.step;
    float sums[TILES][4] = {};
    if (unit >= p.n_units)
      break;
#pragma unroll
    for (int s = 0; s < SLICES; s++)
#pragma unroll
      for (int r = 0; r < TILES; r++)
        multiply_task (sums[r], weights.v[t + s], x[s].v[r]);
    store_part<TILES> (g, parts + unit * p.shape.parts * part_size, sums);
  }
}

/* The factors of RMSNorm of all rows; thread 0 .. 8 * rows - 1. */
template <int TILES>
static __device__ __forceinline__ float
row_factor (const Group &g, int row)
{
  const int n = g.a.d_model / MT3_CUDA_DECODE_SQUARES;
  const float2 *squares = g.shared<float2> (g.at.squares) + row * n / 2;
  float sum = 0.0f;
#pragma unroll 2
  for (int i = g.thread % 8; i < n / 2; i += 8)
    sum += squares[i].x + squares[i].y;
  return norm_factor (sum, g.a.d_model);
}

static __device__ __forceinline__ void
raise_overflow (const Group &g, int row, float v0, float v1)
{
  if (!(fabsf (v0) <= 65504.0f && fabsf (v1) <= 65504.0f)) {
    g.a.rows[g.fixed.row0 + row].overflow = 1;
    __threadfence ();
  }
}

static __device__ __forceinline__ uint32_t
pack2 (float v0, float v1)
{
  return half2_bits (__floats2half2_rn (v0, v1));
}

/* Two neighbouring results of a row; eight lanes have a unit's 16. */
template <int TILES, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
finish_pair (const Group &g, int row, int unit, float v0, float v1, bool valid)
{
  const int column = (unit * CTAS + g.cta) * 16 + g.thread % 8 * 2;
  const int first = column - g.thread % 8 * 2;
  const int of_head = column % g.plan.inner % DIM;
  const int pair = row * g.a.n_heads + column % g.plan.inner / DIM;
  const int cta = pair % CTAS, local = pair / CTAS;

  if constexpr (EPILOGUE == MT3_CUDA_DECODE_STORE) {
    if (valid)
      send8 (
          g, g.shared<float> (g.at.logits) + column, row, make_float2 (v0, v1));
  } else if constexpr (EPILOGUE == MT3_CUDA_DECODE_GATED) {
    const float own = __fmul_rn (gelu (v0), v1);
    const float beside = __shfl_xor_sync (0xffffffffu, own, 1);
    if (valid && g.thread % 2 == 0)
      raise_overflow (g, row, own, beside);
    send_all16 (g,
        g.shared<__half> (g.at.gated) + row * row_stride (g.a.d_ff) + first / 2,
        pack2 (own, beside), valid);
  } else if constexpr (EPILOGUE == MT3_CUDA_DECODE_QKV) {
    if (!valid)
      return;
    const float2 v = make_float2 (v0, v1);
    const int at = local * DIM + of_head;
    if (column < g.plan.inner)
      send8 (g, g.shared<float> (g.at.query) + at, cta, v);
    else if (column >= 3 * g.plan.inner)
      send8 (g, g.shared<float> (g.at.cross_query) + at, cta, v);
    else {
      raise_overflow (g, row, v0, v1);
      send4 (g,
          g.shared<__half> (column < 2 * g.plan.inner ? g.at.key : g.at.value) +
              at,
          cta, pack2 (v0, v1));
    }
  } else {
    const int width = g.a.d_model;
    const bool added = first >= width;
    if (added && valid) {
      const int head = (column - width) / DIM;
      const int p = row * g.a.n_heads + head;
      send8 (g,
          g.shared<float> (g.at.cross_query) + (g.plan.pairs + p / CTAS) * DIM +
              (column - width) % DIM,
          p % CTAS, make_float2 (v0, v1));
    }
    valid &= !added;
    float2 *x = g.shared<float2> (g.at.x) + (row * g.plan.x_units + unit) * 8 +
                g.thread % 8;
    if (valid) {
      v0 = __fadd_rn (v0, x->x);
      v1 = __fadd_rn (v1, x->y);
      *x = make_float2 (v0, v1);
      raise_overflow (g, row, v0, v1);
    }
    float squares = sum_of_squares (v0, v1);
    for (int step = 4; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    if (valid)
      send_all4 (g, g.shared<float> (g.at.squares) + (row * width + first) / 16,
          __float_as_uint (squares));
    send_all32 (g,
        g.shared<__half> (g.at.planes) + row * row_stride (width) + first,
        pack2 (v0, v1), valid);
  }
}

/* A product whose weights are in @weights, and what follows it. */
template <int TILES, Mt3CudaDecodeEpilogue EPILOGUE, int SLICES = 1>
static __device__ __forceinline__ void
multiply (const Group &g, const Product &p, const Weights &weights, int input)
{
  constexpr int rows = TILES * 8;
  constexpr int part_size = rows * PART_STRIDE;
  constexpr bool normed = EPILOGUE != MT3_CUDA_DECODE_ADD;
  const int warp = g.thread / 32, lane = g.thread % 32;

  if (normed && warp < rows / 4) {
    const float factor = row_factor<TILES> (g, g.thread / 8);
    if (g.thread % 8 == 0)
      g.fixed.factor[g.thread / 8] = factor;
  }
  multiply_tasks<TILES, SLICES> (g, p, weights, input);
  __syncthreads ();

  const float *parts = g.shared<float> (g.at.parts);
#pragma unroll 1
  for (int base = warp * 4; base < p.n_units * rows; base += WARPS * 4) {
    const int item = base + lane / 8;
    const int row = item % rows, unit = item / rows;
    const bool valid = unit < p.n_units && g.is_live (row);
    float v0 = 0.0f, v1 = 0.0f;
    if (valid) {
      const float *part = parts + unit * p.shape.parts * part_size +
                          row * PART_STRIDE + lane % 8 * 2;
      for (int i = 0; i < p.shape.parts; i++) {
        const float2 v =
            *reinterpret_cast<const float2 *> (part + i * part_size);
        v0 += v.x;
        v1 += v.y;
      }
    }
    /* Columns of the cross query are not normalised here. */
    const bool factored =
        normed && (EPILOGUE != MT3_CUDA_DECODE_QKV ||
                      (unit * CTAS + g.cta) * 16 < 3 * g.plan.inner);
    const float factor = factored ? g.fixed.factor[row] : 1.0f;
    finish_pair<TILES, EPILOGUE> (
        g, row, unit, __fmul_rn (v0, factor), __fmul_rn (v1, factor), valid);
  }
}

#endif
