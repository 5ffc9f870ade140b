/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cluster-product.cuh: the matrix products of a cluster, see cluster.cuh.
 *
 * A unit of 16 columns is made by two warps. Each has half of the chains of
 * sums that decode-gemm.cu has in as many warps; the first one leaves the sum
 * of its own to the second, which adds its own in order and finishes the unit.
 */
#pragma once

#include "cluster-weights.cuh"

#if __CUDA_ARCH__ >= 900

/* ---------------------------------------------------------------- sums */

/* Adds 64 terms of a unit. @w: of this lane */
template <class S>
static __device__ __forceinline__ void
multiply_slice (
    float (&sum)[S::tiles][4], const uint4 *w, const __half *x, int stride)
{
#pragma unroll
  for (int s = 0; s < 2; s++) {
    const uint4 low = w[s * 64], high = w[s * 64 + 32];
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      const uint4 v =
          *reinterpret_cast<const uint4 *> (x + r * 8 * stride + s * 32);
      mma (sum[r], low.x, high.x, low.y, high.y, v.x, v.y);
      mma (sum[r], low.z, high.z, low.w, high.w, v.z, v.w);
    }
  }
}

/* The sums of a unit in the registers of its second warp, for the first. */
template <class S>
static __device__ __forceinline__ float4 *
unit_sums (const Group &g, int unit)
{
  return g.shared<float4> (S::sums) + unit * (S::rows * SUM_STRIDE / 4) +
         g.thread % 32;
}

/* A warp's chains of a unit, N of them. */
template <class S> struct Chains {
  static constexpr int most = 4;
  float part[most][S::tiles][4];

  /* @at: of the unit in the ring; @x: of this lane */
  template <int N>
  __device__ __forceinline__ void
  multiply (const Group &g, int product, int at, int first, const __half *x)
  {
    const int parts = S::parts (product), stride = row_stride (S::k (product));

#pragma unroll 1
    for (int slice = first; slice < S::k (product) / SLICE; slice += parts)
#pragma unroll
      for (int p = 0; p < N; p++) {
        int place = at + (slice + p) * SLICE_BYTES;
        place -= place >= S::ring_bytes ? S::ring_bytes : 0;
        multiply_slice<S> (part[p],
            g.shared<uint4> (S::ring + place) + g.thread % 32,
            x + (slice + p) * SLICE, stride);
      }
  }

  __device__ __forceinline__ void
  multiply (const Group &g, int product, int at, bool is_first)
  {
    const int parts = S::parts (product);
    const uint32_t lane = g.thread % 32;
    const int first = is_first ? 0 : parts / 2;
    const int n = is_first ? parts / 2 : parts - parts / 2;
    const __half *x = g.shared<__half> (S::input (product)) +
                      lane / 4 * row_stride (S::k (product)) + lane % 4 * 8;

#pragma unroll
    for (int p = 0; p < most; p++)
#pragma unroll
      for (int r = 0; r < S::tiles; r++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          part[p][r][i] = 0.0f;
    if (n == 4)
      multiply<4> (g, product, at, first, x);
    else if (n == 3)
      multiply<3> (g, product, at, first, x);
    else
      multiply<2> (g, product, at, first, x);
  }

  /* Chains that do not exist are zeros, which change nothing. */
  __device__ __forceinline__ void
  add_to (float (&total)[S::tiles][4]) const
  {
#pragma unroll
    for (int p = 0; p < most; p++)
#pragma unroll
      for (int r = 0; r < S::tiles; r++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          total[r][i] += part[p][r][i];
  }

  /* The first warp's. */
  __device__ __forceinline__ void
  leave (const Group &g, int unit) const
  {
    float total[S::tiles][4] = {};

    add_to (total);
#pragma unroll
    for (int r = 0; r < S::tiles; r++)
      unit_sums<S> (g, unit)[r * 32] =
          make_float4 (total[r][0], total[r][1], total[r][2], total[r][3]);
  }

  /* The second warp's: leaves the unit as [row][SUM_STRIDE]. */
  __device__ __forceinline__ void
  complete (const Group &g, int unit) const
  {
    const uint32_t lane = g.thread % 32;
    float total[S::tiles][4];

#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      const float4 v = unit_sums<S> (g, unit)[r * 32];
      total[r][0] = v.x;
      total[r][1] = v.y;
      total[r][2] = v.z;
      total[r][3] = v.w;
    }
    add_to (total);
    __syncwarp ();
    float *sums =
        g.shared<float> (S::sums) + unit * (S::rows * SUM_STRIDE) + lane / 4;
#pragma unroll
    for (int r = 0; r < S::tiles; r++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        sums[(r * 8 + lane % 4 * 2 + i % 2) * SUM_STRIDE + i / 2 * 8] =
            total[r][i];
    __syncwarp ();
  }
};

/* ------------------------------------------------------------- results */

/* The factor of RMSNorm of a row, for the eight lanes that ask for it. */
template <class S>
static __device__ __forceinline__ float
row_factor (const Group &g, int row)
{
  constexpr int n = S::d / MT3_CUDA_DECODE_SQUARES;
  const float2 *squares = g.shared<float2> (S::squares) + row * n / 2;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < (n / 2 + 7) / 8; i++) {
    const int at = g.thread % 8 + i * 8;
    if (n / 2 % 8 == 0 || at < n / 2)
      sum += squares[at].x + squares[at].y;
  }
  return norm_factor (sum, S::d);
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

/* Queries, keys and values, to the block that attends. */
template <class S>
static __device__ __forceinline__ void
finish_qkv (const Group &g, int row, int first, float v0, float v1)
{
  const int kind = first / S::inner;
  const int column = first - kind * S::inner + g.thread % 8 * 2;
  const int pair = row * S::heads + column / DIM;
  const int at = pair / CTAS * DIM + column % DIM, cta = pair % CTAS;

  if (kind == 0)
    send8 (g, g.shared<float> (S::query) + at, cta, make_float2 (v0, v1));
  else if (kind == 3)
    send8 (g, g.shared<float> (S::cross_query) + at, cta, make_float2 (v0, v1));
  else {
    raise_overflow (g, row, v0, v1);
    send4 (g, g.shared<__half> (kind == 1 ? S::key : S::value) + at, cta,
        pack2 (v0, v1));
  }
}

template <class S>
static __device__ __forceinline__ void
finish_gated (
    const Group &g, int row, int first, float v0, float v1, bool valid)
{
  const float own = __fmul_rn (gelu (v0), v1);
  const float beside = __shfl_xor_sync (0xffffffffu, own, 1);

  if (valid && g.thread % 2 == 0)
    raise_overflow (g, row, own, beside);
  send_all16 (g,
      g.shared<__half> (S::gated) + row * row_stride (S::ff) + first / 2,
      pack2 (own, beside), valid);
}

/* x += v, and what the next product needs of it. */
template <class S>
static __device__ __forceinline__ void
finish_add (const Group &g, int row, int unit, int first, float v0, float v1,
    bool valid)
{
  float2 *x =
      g.shared<float2> (S::x) + (row * S::x_units + unit) * 8 + g.thread % 8;

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
    send_all4 (g, g.shared<float> (S::squares) + (row * S::d + first) / 16,
        __float_as_uint (squares));
  send_all32 (g, g.shared<__half> (S::planes) + row * row_stride (S::d) + first,
      pack2 (v0, v1), valid);
}

/* What self-attention adds to the query of cross-attention. */
template <class S>
static __device__ __forceinline__ void
send_second_query (
    const Group &g, int row, int first, float v0, float v1, bool valid)
{
  const int column = first - S::d + g.thread % 8 * 2;
  const int pair = row * S::heads + column / DIM;

  if (valid)
    send8 (g,
        g.shared<float> (S::cross_query) + (S::pairs + pair / CTAS) * DIM +
            column % DIM,
        pair % CTAS, make_float2 (v0, v1));
}

/* Two neighbouring results of a row; eight lanes have a unit's 16, from column
 * `first` on. */
template <class S>
static __device__ __forceinline__ void
finish_pair (const Group &g, int product, int row, int unit, int first,
    float v0, float v1, bool valid)
{
  if (product == QKV) {
    if (valid)
      finish_qkv<S> (g, row, first, v0, v1);
  } else if (product == UP)
    finish_gated<S> (g, row, first, v0, v1, valid);
  else if (product == LOGITS) {
    if (valid)
      send8 (g, g.shared<float> (S::logits) + first + g.thread % 8 * 2, row,
          make_float2 (v0, v1));
  } else if (product == SELF_OUT && first >= S::d)
    send_second_query<S> (g, row, first, v0, v1, valid);
  else
    finish_add<S> (g, row, unit, first, v0, v1, valid);
}

/* All rows of a unit by its second warp, four at a time. */
template <class S>
static __device__ __forceinline__ void
finish_unit (const Group &g, int product, int unit)
{
  const int first = column_of<S> (g, product, unit);
  /* Columns of the cross query are not normalised here. */
  const bool factored =
      is_normed (product) && (product != QKV || first < 3 * S::inner);

#pragma unroll 1
  for (int row0 = 0; row0 < g.fixed.n_rows; row0 += 4) {
    const int row = row0 + g.thread % 32 / 8;
    const float2 v = *reinterpret_cast<const float2 *> (
        g.shared<float> (S::sums) + unit * (S::rows * SUM_STRIDE) +
        row * SUM_STRIDE + g.thread % 8 * 2);
    const float factor = factored ? g.fixed.factor[row] : 1.0f;

    finish_pair<S> (g, product, row, unit, first, __fmul_rn (v.x, factor),
        __fmul_rn (v.y, factor), g.is_live (row));
  }
}

/* A product and what follows it. */
template <class S>
static __device__ __forceinline__ void
multiply (Group &g, int product)
{
  const uint32_t warp = g.thread / 32;
  const int unit = warp % MAX_UNITS;
  const bool works = unit < count_units<S> (g, product);
  const bool is_first = warp < MAX_UNITS;

  if (is_normed (product) && warp < S::rows / 4) {
    const float factor = row_factor<S> (g, g.thread / 8);
    if (g.thread % 8 == 0)
      g.fixed.factor[g.thread / 8] = factor;
  }
  int at = wait_for_weights<S> (g, product) + unit * unit_bytes<S> (product);
  at -= at >= S::ring_bytes ? S::ring_bytes : 0;
  /* Each branch has the barrier of its own, so that no register outlives it. */
  if (works) {
    Chains<S> chains;
    chains.multiply (g, product, at, is_first);
    if (is_first)
      chains.leave (g, unit);
    __syncthreads ();
    if (!is_first) {
      chains.complete (g, unit);
      finish_unit<S> (g, product, unit);
    }
  } else
    __syncthreads ();
  if (g.thread == 0)
    reuse_weights<S> (g, product);
}

#endif
