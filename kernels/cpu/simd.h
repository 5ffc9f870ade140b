/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * simd.h: sixteen floats at a time, with the same bits everywhere.
 *
 * Every kernel is written once in terms of v16 and compiled for each
 * instruction set. All operations round like IEEE 754 single precision, fma
 * rounds once, and sums over the lanes follow one fixed tree, so a kernel
 * gives the same bits on AVX-512, on AVX2 and in plain C. Compile with
 * -ffp-contract=off: only what says fma is one.
 */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V16_LANES 16
#define ALWAYS_INLINE static inline __attribute__ ((always_inline))

/* The vector types differ by instruction set; the conversion of one float to
 * float16 does not. */
ALWAYS_INLINE uint16_t
f16_from_float (float a)
{
  _Float16 half = a;
  uint16_t bits;

  memcpy (&bits, &half, sizeof bits);
  return bits;
}

#if defined(__AVX512F__)
#include <immintrin.h>

#if defined(__AVX512BF16__)
#define V16_NAME "AVX-512 BF16"
#else
#define V16_NAME "AVX-512"
#endif
/* Rows of two v16 accumulators that leave registers for the operands. */
#define V16_TILE_ROWS 12

typedef __m512 v16;

ALWAYS_INLINE v16
v16_load (const float *p)
{
  return _mm512_loadu_ps (p);
}

ALWAYS_INLINE v16
v16_load_f16 (const uint16_t *p)
{
  return _mm512_cvtph_ps (_mm256_loadu_si256 ((const __m256i *) p));
}

ALWAYS_INLINE void
v16_store (float *p, v16 a)
{
  _mm512_storeu_ps (p, a);
}

ALWAYS_INLINE void
v16_store_f16 (uint16_t *p, v16 a)
{
  _mm256_storeu_si256 (
      (__m256i *) p, _mm512_cvtps_ph (a, _MM_FROUND_TO_NEAREST_INT));
}

ALWAYS_INLINE v16
v16_set (float a)
{
  return _mm512_set1_ps (a);
}

ALWAYS_INLINE v16
v16_add (v16 a, v16 b)
{
  return _mm512_add_ps (a, b);
}

ALWAYS_INLINE v16
v16_sub (v16 a, v16 b)
{
  return _mm512_sub_ps (a, b);
}

ALWAYS_INLINE v16
v16_mul (v16 a, v16 b)
{
  return _mm512_mul_ps (a, b);
}

ALWAYS_INLINE v16
v16_div (v16 a, v16 b)
{
  return _mm512_div_ps (a, b);
}

/* a * b + c */
ALWAYS_INLINE v16
v16_fma (v16 a, v16 b, v16 c)
{
  return _mm512_fmadd_ps (a, b, c);
}

ALWAYS_INLINE v16
v16_max (v16 a, v16 b)
{
  return _mm512_max_ps (a, b);
}

ALWAYS_INLINE v16
v16_min (v16 a, v16 b)
{
  return _mm512_min_ps (a, b);
}

/* To the nearest whole number, ties to even. */
ALWAYS_INLINE v16
v16_round (v16 a)
{
  return _mm512_roundscale_ps (a, _MM_FROUND_TO_NEAREST_INT);
}

/* a * 2^n for whole n in -126 .. 127 */
ALWAYS_INLINE v16
v16_scale2 (v16 a, v16 n)
{
  return _mm512_scalef_ps (a, n);
}

/* y where x > limit, else 0 */
ALWAYS_INLINE v16
v16_where_above (v16 x, v16 limit, v16 y)
{
  return _mm512_maskz_mov_ps (_mm512_cmp_ps_mask (x, limit, _CMP_GT_OQ), y);
}

#elif defined(__AVX2__)
#include <immintrin.h>

#define V16_NAME "AVX2"
#define V16_TILE_ROWS 3

typedef struct {
  __m256 lo, hi;
} v16;

ALWAYS_INLINE v16
v16_load (const float *p)
{
  return (v16){_mm256_loadu_ps (p), _mm256_loadu_ps (p + 8)};
}

ALWAYS_INLINE v16
v16_load_f16 (const uint16_t *p)
{
  return (v16){_mm256_cvtph_ps (_mm_loadu_si128 ((const __m128i *) p)),
      _mm256_cvtph_ps (_mm_loadu_si128 ((const __m128i *) (p + 8)))};
}

ALWAYS_INLINE void
v16_store (float *p, v16 a)
{
  _mm256_storeu_ps (p, a.lo);
  _mm256_storeu_ps (p + 8, a.hi);
}

ALWAYS_INLINE void
v16_store_f16 (uint16_t *p, v16 a)
{
  _mm_storeu_si128 (
      (__m128i *) p, _mm256_cvtps_ph (a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128 (
      (__m128i *) (p + 8), _mm256_cvtps_ph (a.hi, _MM_FROUND_TO_NEAREST_INT));
}

ALWAYS_INLINE v16
v16_set (float a)
{
  return (v16){_mm256_set1_ps (a), _mm256_set1_ps (a)};
}

ALWAYS_INLINE v16
v16_add (v16 a, v16 b)
{
  return (v16){_mm256_add_ps (a.lo, b.lo), _mm256_add_ps (a.hi, b.hi)};
}

ALWAYS_INLINE v16
v16_sub (v16 a, v16 b)
{
  return (v16){_mm256_sub_ps (a.lo, b.lo), _mm256_sub_ps (a.hi, b.hi)};
}

ALWAYS_INLINE v16
v16_mul (v16 a, v16 b)
{
  return (v16){_mm256_mul_ps (a.lo, b.lo), _mm256_mul_ps (a.hi, b.hi)};
}

ALWAYS_INLINE v16
v16_div (v16 a, v16 b)
{
  return (v16){_mm256_div_ps (a.lo, b.lo), _mm256_div_ps (a.hi, b.hi)};
}

ALWAYS_INLINE v16
v16_fma (v16 a, v16 b, v16 c)
{
  return (v16){
      _mm256_fmadd_ps (a.lo, b.lo, c.lo), _mm256_fmadd_ps (a.hi, b.hi, c.hi)};
}

ALWAYS_INLINE v16
v16_max (v16 a, v16 b)
{
  return (v16){_mm256_max_ps (a.lo, b.lo), _mm256_max_ps (a.hi, b.hi)};
}

ALWAYS_INLINE v16
v16_min (v16 a, v16 b)
{
  return (v16){_mm256_min_ps (a.lo, b.lo), _mm256_min_ps (a.hi, b.hi)};
}

/* A macro: to clang a constant variable is not constant enough. */
#define TO_NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

ALWAYS_INLINE v16
v16_round (v16 a)
{
  return (v16){
      _mm256_round_ps (a.lo, TO_NEAREST), _mm256_round_ps (a.hi, TO_NEAREST)};
}

ALWAYS_INLINE __m256
v16_power2_half (__m256 n)
{
  __m256i biased =
      _mm256_add_epi32 (_mm256_cvtps_epi32 (n), _mm256_set1_epi32 (127));

  return _mm256_castsi256_ps (_mm256_slli_epi32 (biased, 23));
}

ALWAYS_INLINE v16
v16_scale2 (v16 a, v16 n)
{
  return (v16){_mm256_mul_ps (a.lo, v16_power2_half (n.lo)),
      _mm256_mul_ps (a.hi, v16_power2_half (n.hi))};
}

ALWAYS_INLINE v16
v16_where_above (v16 x, v16 limit, v16 y)
{
  return (v16){_mm256_and_ps (_mm256_cmp_ps (x.lo, limit.lo, _CMP_GT_OQ), y.lo),
      _mm256_and_ps (_mm256_cmp_ps (x.hi, limit.hi, _CMP_GT_OQ), y.hi)};
}

#else /* plain C: the oracle of the tests, and of any other processor */

#define V16_NAME "scalar"
#define V16_TILE_ROWS 2

typedef struct {
  float x[V16_LANES];
} v16;

#define V16_EACH_LANE(expression)                                              \
  v16 result;                                                                  \
  for (int i = 0; i < V16_LANES; i++)                                          \
    result.x[i] = (expression);                                                \
  return result

ALWAYS_INLINE v16
v16_load (const float *p)
{
  V16_EACH_LANE (p[i]);
}

ALWAYS_INLINE float
v16_float_from_f16 (uint16_t bits)
{
  _Float16 half;

  memcpy (&half, &bits, sizeof half);
  return half;
}

ALWAYS_INLINE v16
v16_load_f16 (const uint16_t *p)
{
  V16_EACH_LANE (v16_float_from_f16 (p[i]));
}

ALWAYS_INLINE void
v16_store (float *p, v16 a)
{
  for (int i = 0; i < V16_LANES; i++)
    p[i] = a.x[i];
}

ALWAYS_INLINE void
v16_store_f16 (uint16_t *p, v16 a)
{
  for (int i = 0; i < V16_LANES; i++)
    p[i] = f16_from_float (a.x[i]);
}

ALWAYS_INLINE v16
v16_set (float a)
{
  V16_EACH_LANE (a);
}

ALWAYS_INLINE v16
v16_add (v16 a, v16 b)
{
  V16_EACH_LANE (a.x[i] + b.x[i]);
}

ALWAYS_INLINE v16
v16_sub (v16 a, v16 b)
{
  V16_EACH_LANE (a.x[i] - b.x[i]);
}

ALWAYS_INLINE v16
v16_mul (v16 a, v16 b)
{
  V16_EACH_LANE (a.x[i] * b.x[i]);
}

ALWAYS_INLINE v16
v16_div (v16 a, v16 b)
{
  V16_EACH_LANE (a.x[i] / b.x[i]);
}

ALWAYS_INLINE v16
v16_fma (v16 a, v16 b, v16 c)
{
  V16_EACH_LANE (fmaf (a.x[i], b.x[i], c.x[i]));
}

ALWAYS_INLINE v16
v16_max (v16 a, v16 b)
{
  V16_EACH_LANE (a.x[i] > b.x[i] ? a.x[i] : b.x[i]);
}

ALWAYS_INLINE v16
v16_min (v16 a, v16 b)
{
  V16_EACH_LANE (a.x[i] < b.x[i] ? a.x[i] : b.x[i]);
}

ALWAYS_INLINE v16
v16_round (v16 a)
{
  V16_EACH_LANE (rintf (a.x[i]));
}

ALWAYS_INLINE v16
v16_scale2 (v16 a, v16 n)
{
  V16_EACH_LANE (ldexpf (a.x[i], (int) n.x[i]));
}

ALWAYS_INLINE v16
v16_where_above (v16 x, v16 limit, v16 y)
{
  V16_EACH_LANE (x.x[i] > limit.x[i] ? y.x[i] : 0.0f);
}

#endif

/* Keeps a vector that is used twice in a register: the compiler would rather
 * load it again with each use. */
#if defined(__AVX512F__)
#define V16_KEEP(a) __asm__("" : "+v"(a))
#else
#define V16_KEEP(a) ((void) (a))
#endif

/* To the nearest, ties to even; inputs are finite. */
ALWAYS_INLINE uint16_t
bf16_from_float (float a)
{
  uint32_t bits;

  memcpy (&bits, &a, sizeof bits);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

#if defined(__AVX512BF16__)
#define V16_FAST_BF16 true

/* sum + both products of a pair of bfloat16 with 16 pairs of them */
ALWAYS_INLINE v16
v16_add_bf16 (v16 sum, uint32_t pair, const uint32_t *pairs)
{
  return _mm512_dpbf16_ps (sum, (__m512bh) _mm512_set1_epi32 ((int) pair),
      (__m512bh) _mm512_loadu_si512 (pairs));
}
#else
#define V16_FAST_BF16 false

ALWAYS_INLINE float
float_from_bf16 (uint32_t high_bits)
{
  float a;

  high_bits &= 0xffff0000u;
  memcpy (&a, &high_bits, sizeof a);
  return a;
}

ALWAYS_INLINE v16
v16_add_bf16 (v16 sum, uint32_t pair, const uint32_t *pairs)
{
  float first[V16_LANES], second[V16_LANES];

  for (int i = 0; i < V16_LANES; i++) {
    first[i] = float_from_bf16 (pairs[i] << 16);
    second[i] = float_from_bf16 (pairs[i]);
  }
  sum = v16_fma (v16_set (float_from_bf16 (pair << 16)), v16_load (first), sum);
  return v16_fma (v16_set (float_from_bf16 (pair)), v16_load (second), sum);
}
#endif

/* The sum of all lanes: halves, quarters, eighths, pairs. */
#if defined(__AVX2__)
ALWAYS_INLINE float
v16_sum (v16 a)
{
#if defined(__AVX512F__)
  __m256 eight =
      _mm256_add_ps (_mm512_castps512_ps256 (a), _mm512_extractf32x8_ps (a, 1));
#else
  __m256 eight = _mm256_add_ps (a.lo, a.hi);
#endif
  __m128 four = _mm_add_ps (
      _mm256_castps256_ps128 (eight), _mm256_extractf128_ps (eight, 1));
  __m128 two = _mm_add_ps (four, _mm_movehl_ps (four, four));

  return _mm_cvtss_f32 (_mm_add_ss (two, _mm_movehdup_ps (two)));
}
#else
ALWAYS_INLINE float
v16_sum (v16 a)
{
  for (int width = V16_LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++)
      a.x[i] = a.x[i] + a.x[i + width];
  return a.x[0];
}
#endif

ALWAYS_INLINE float
v16_largest (v16 a)
{
  float x[V16_LANES];

  v16_store (x, a);
  for (int i = 1; i < V16_LANES; i++)
    x[0] = x[i] > x[0] ? x[i] : x[0];
  return x[0];
}

/* The first n floats; the lanes after them hold fill. */
ALWAYS_INLINE v16
v16_load_n (const float *p, size_t n, float fill)
{
  float x[V16_LANES];

  if (n >= V16_LANES)
    return v16_load (p);
  for (size_t i = 0; i < V16_LANES; i++)
    x[i] = i < n ? p[i] : fill;
  return v16_load (x);
}

/* e^x to about one unit in the last place, 0 below the smallest normal
 * number, no infinity above. Polynomial: Cephes, expf.c. */
ALWAYS_INLINE v16
v16_exp (v16 x)
{
  const v16 lowest = v16_set (-87.33654f);
  v16 bounded = v16_min (v16_max (x, lowest), v16_set (88.37626f));
  v16 n = v16_round (v16_mul (bounded, v16_set (1.44269504088896341f)));
  v16 r = v16_fma (n, v16_set (-0.693359375f), bounded);
  v16 y = v16_set (1.9875691500e-4f);

  r = v16_fma (n, v16_set (2.12194440e-4f), r);
  y = v16_fma (y, r, v16_set (1.3981999507e-3f));
  y = v16_fma (y, r, v16_set (8.3334519073e-3f));
  y = v16_fma (y, r, v16_set (4.1665795894e-2f));
  y = v16_fma (y, r, v16_set (1.6666665459e-1f));
  y = v16_fma (y, r, v16_set (5.0000001201e-1f));
  y = v16_fma (y, v16_mul (r, r), r);
  y = v16_add (y, v16_set (1.0f));
  return v16_where_above (x, lowest, v16_scale2 (y, n));
}
