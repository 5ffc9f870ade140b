/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-decode.c: every kernel of a decode step against the CPU engine's function
 * in plain C, on random numbers: products in every tile, attention, the choice
 * of a token. Runs on a machine with a GPU: see tests/benchmarks/gpu.sh.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device-arrays.h"
#include "engine/sampler.h"
#include "kernels/cpu/cpu-kernels.h"
#include "vocabulary/event-order.h"

/* Of a number and of the root of the mean square: the order of float32 sums;
 * and what is stored in float16. */
#define TOLERANCE 1e-5
#define TOLERANCE_HALF 2e-3

#define N_ROWS 70 /* more than a tile has, and no multiple of one */
#define N_PADDED 128 /* with whole tiles, which is what kernels write */
#define N_HEADS 3
#define HEAD 64
#define INNER (N_HEADS * HEAD)
#define D_MODEL 192
#define N_POSITIONS 50
#define N_CACHE (N_ROWS * 2 * INNER * N_POSITIONS) /* a slot each */
#define VOCAB 1536

static const Mt3CudaLaunch in_order;

typedef struct {
  gboolean exact;
  gint tile;
} Way;

/* Tiles of the kernel of any device, before those of float16 on compute
 * capability 9.0. */
#define ANY_TILES 6

/* Tests loop over both precisions, all tiles of each, and the launcher's
 * choice. */
#define N_EXACT_WAYS (ANY_TILES + 1)
#define N_WAYS (N_EXACT_WAYS + MT3_CUDA_DECODE_TILES + 1)

static Way
way (gint i)
{
  return i < N_EXACT_WAYS ? (Way){TRUE, i} : (Way){FALSE, i - N_EXACT_WAYS};
}

static const Mt3CpuKernels *
cpu (void)
{
  return mt3_cpu_kernels ("scalar");
}

static void
check_near (
    const gfloat *got, const gfloat *expected, gsize n, gdouble tolerance)
{
  gdouble squares = 0.0;

  for (gsize i = 0; i < n; i++)
    squares += (gdouble) expected[i] * expected[i];
  for (gsize i = 0; i < n; i++) {
    gdouble limit = tolerance * (fabs (expected[i]) + sqrt (squares / n));

    if (!(fabs ((gdouble) got[i] - expected[i]) <= limit))
      ck_abort_msg ("number %" G_GSIZE_FORMAT " is %g, not %g (+- %g)", i,
          got[i], expected[i], limit);
  }
}

/* Rows with slots in reverse, each at another position. */
static Mt3CudaRow *
make_rows (void)
{
  Mt3CudaRow *rows = g_new0 (Mt3CudaRow, N_ROWS);

  for (gint i = 0; i < N_ROWS; i++)
    rows[i] = (Mt3CudaRow){
        .slot = N_ROWS - 1 - i,
        .position = i * 7 % N_POSITIONS,
        .token = 3 + i,
        .remaining = 5,
        .index = 11 + i,
        .seed = 5,
        .top_p = 1.0f,
    };
  return rows;
}

static Mt3CudaRow *
rows_to_device (const Mt3CudaRow *rows)
{
  g_autofree Mt3CudaRow *padded = g_new0 (Mt3CudaRow, N_PADDED);

  memcpy (padded, rows, N_ROWS * sizeof (Mt3CudaRow));
  return to_device (padded, N_PADDED * sizeof (Mt3CudaRow));
}

/* [N_ROWS, width], with room for N_PADDED. */
static gfloat *
floats_to_device (const gfloat *values, gsize width)
{
  g_autofree gfloat *padded = g_new0 (gfloat, N_PADDED * width);

  memcpy (padded, values, N_ROWS * width * sizeof (gfloat));
  return to_device (padded, N_PADDED * width * sizeof (gfloat));
}

static gfloat *
floats_from_device (const gfloat *device, gsize width)
{
  return to_host (device, N_ROWS * width * sizeof (gfloat));
}

static gfloat *
device_floats (gsize width)
{
  return device_bytes (N_PADDED * width * sizeof (gfloat));
}

/* ------------------------------------------------------------- products */

/* a [N_ROWS, k] with the factors of its norm, and w [k, n]. */
typedef struct {
  gsize k, n;
  gfloat *a, *w, *factor;
  Mt3CudaRow *rows;
  Mt3CudaDecodeGemm gemm;
} Product;

static Mt3CudaLayout
layout_of (Way how)
{
  if (how.tile == 0)
    return mt3_cuda_decode_layout (how.exact);
  return how.tile > ANY_TILES ? MT3_CUDA_ROW_MAJOR : MT3_CUDA_PANELS;
}

static Product
product_new (Way how, gsize k, gsize n, Mt3CudaDecodeEpilogue epilogue)
{
  const gsize n_partial = k / MT3_CUDA_DECODE_SQUARES;
  g_autofree gfloat *squares = g_new0 (gfloat, N_ROWS * n_partial);
  Product p = {
      .k = k,
      .n = n,
      .a = random_floats (N_ROWS * k, 8.0f),
      .w = random_floats (k * n, 0.2f),
      .factor = g_new0 (gfloat, N_ROWS),
      .rows = make_rows (),
  };
  g_autofree gfloat *padded = g_new0 (gfloat, N_PADDED * k);

  for (gsize i = 0; i < N_ROWS * k; i++)
    squares[i / MT3_CUDA_DECODE_SQUARES] += p.a[i] * p.a[i];
  for (gsize i = 0; i < N_ROWS * n_partial; i++)
    p.factor[i / n_partial] += squares[i];
  for (gsize i = 0; i < N_ROWS; i++)
    p.factor[i] = 1.0f / sqrtf (p.factor[i] / k + 1e-6f);
  memcpy (padded, p.a, N_ROWS * k * sizeof (gfloat));
  p.gemm = (Mt3CudaDecodeGemm){
      .a = activations (padded, N_PADDED * k, how.exact),
      .w = decode_weights (p.w, k, n, how.exact, layout_of (how)),
      .squares = floats_to_device (squares, n_partial),
      .n_rows = N_ROWS,
      .places = 1,
      .n = (int) n,
      .k = (int) k,
      .epilogue = epilogue,
      .rows = rows_to_device (p.rows),
      .tile = how.tile,
  };
  memcpy (p.a, padded, N_ROWS * k * sizeof (gfloat));
  return p;
}

static void
product_clear (Product *p)
{
  g_free (p->a);
  g_free (p->w);
  g_free (p->factor);
  g_free (p->rows);
}

/* The column of w that column @j of the CPU's panels holds: for the gated unit
 * they have the gate's and the linear part's 16 by turns, w one by one. */
static gsize
column_in_panels (gsize j, gboolean gated)
{
  const gsize half = MT3_PANEL / 2;

  if (!gated)
    return j;
  return 2 * (j / MT3_PANEL * half + j % half) + j % MT3_PANEL / half;
}

/* The CPU's product of the rows, normalised or not; g_free(). */
static gfloat *
multiply_on_cpu (const Product *p, gboolean normalised, gboolean gated)
{
  const gsize n_out = gated ? p->n / 2 : p->n;
  gfloat *panels = aligned_alloc (64, p->k * p->n * sizeof (gfloat));
  gfloat *in = aligned_alloc (64, N_ROWS * p->k * sizeof (gfloat));
  gfloat *out = aligned_alloc (64, N_ROWS * n_out * sizeof (gfloat));
  const Mt3Matrix matrix = {
      MT3_PANEL_F32, p->k, p->n / MT3_PANEL, panels, 1, 0};
  const Mt3Product product = {
      &matrix, gated ? MT3_GATE : MT3_STORE, in, p->k, out, n_out};
  gfloat *result;

  for (gsize j = 0; j < p->n; j++)
    for (gsize t = 0; t < p->k; t++)
      panels[(j / MT3_PANEL * p->k + t) * MT3_PANEL + j % MT3_PANEL] =
          p->w[t * p->n + column_in_panels (j, gated)];
  for (gsize i = 0; i < N_ROWS * p->k; i++)
    in[i] = p->a[i] * (normalised ? p->factor[i / p->k] : 1.0f);
  cpu ()->multiply (&product, 0, N_ROWS, 0, matrix.n_panels);
  result = g_memdup2 (out, N_ROWS * n_out * sizeof (gfloat));
  free (panels);
  free (in);
  free (out);
  return result;
}

/* @n columns of @rows from @from on; g_free(). */
static gfloat *
columns (const gfloat *rows, gsize width, gsize from, gsize n)
{
  gfloat *out = g_new (gfloat, N_ROWS * n);

  for (gsize row = 0; row < N_ROWS; row++)
    memcpy (out + row * n, rows + row * width + from, n * sizeof (gfloat));
  return out;
}

START_TEST (test_stored_product_is_the_cpus)
{
  Product p = product_new (way (_i), 128, 160, MT3_CUDA_DECODE_STORE);
  g_autofree gfloat *expected = multiply_on_cpu (&p, TRUE, FALSE);
  g_autofree gfloat *got = NULL;

  p.gemm.y = device_floats (p.n);
  p.gemm.y_stride = (int) p.n;
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
  got = floats_from_device (p.gemm.y, p.n);
  check_near (got, expected, N_ROWS * p.n, TOLERANCE);
  product_clear (&p);
}
END_TEST

/* Both kernels of float16; terms of three, six, eight and sixteen slices. */
START_TEST (test_product_is_the_same_bits_in_every_tile_of_a_kernel)
{
  static const gsize terms[] = {192, 384, 512, 1024};
  const gsize k = terms[_i / 2];
  const gint first_tile = _i % 2 ? ANY_TILES + 1 : 1;
  const gint end = _i % 2 ? MT3_CUDA_DECODE_TILES : ANY_TILES;
  Product p =
      product_new ((Way){FALSE, first_tile}, k, 256, MT3_CUDA_DECODE_STORE);
  g_autofree gfloat *first = NULL;

  p.gemm.y = device_floats (p.n);
  p.gemm.y_stride = (int) p.n;
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
  first = floats_from_device (p.gemm.y, p.n);
  for (gint tile = first_tile + 1; tile <= end; tile++) {
    g_autofree gfloat *got = NULL;

    p.gemm.tile = tile;
    check_cuda (cudaMemset (p.gemm.y, 0, N_ROWS * p.n * sizeof (gfloat)));
    check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
    got = floats_from_device (p.gemm.y, p.n);
    if (memcmp (got, first, N_ROWS * p.n * sizeof (gfloat)) != 0)
      ck_abort_msg ("tile %d makes other bits with %d terms", tile, p.gemm.k);
  }
  product_clear (&p);
}
END_TEST

START_TEST (test_gated_product_is_the_cpus)
{
  Product p = product_new (way (_i), 192, 256, MT3_CUDA_DECODE_GATED);
  g_autofree gfloat *expected = multiply_on_cpu (&p, TRUE, TRUE);
  g_autofree gfloat *got = NULL;

  p.gemm.out = empty_activations (N_PADDED * p.n / 2, way (_i).exact);
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
  got = read_activations (p.gemm.out, N_ROWS * p.n / 2);
  check_near (got, expected, N_ROWS * p.n / 2,
      way (_i).exact ? TOLERANCE : TOLERANCE_HALF);
  product_clear (&p);
}
END_TEST

static void
check_squares (const gfloat *x, const gfloat *squares, gsize n)
{
  for (gsize i = 0; i < n; i += MT3_CUDA_DECODE_SQUARES) {
    gdouble sum = 0.0;

    for (gsize j = i; j < i + MT3_CUDA_DECODE_SQUARES; j++)
      sum += (gdouble) x[j] * x[j];
    ck_assert_double_eq_tol (
        squares[i / MT3_CUDA_DECODE_SQUARES], sum, 1e-6 * sum);
  }
}

/* @n_query: further columns, to what the cross-attention's query has so far */
static void
check_added_product (Way how, gboolean normalised, gsize n_query)
{
  const gsize n = N_ROWS * D_MODEL;
  Product p = product_new (how, 128, D_MODEL + n_query, MT3_CUDA_DECODE_ADD);
  g_autofree gfloat *product = multiply_on_cpu (&p, normalised, FALSE);
  g_autofree gfloat *x = random_floats (n, 8.0f);
  g_autofree gfloat *query = random_floats (N_ROWS * n_query, 8.0f);
  g_autofree gfloat *got_x = NULL, *planes = NULL, *squares = NULL;

  if (!normalised)
    p.gemm.squares = NULL;
  p.gemm.x = floats_to_device (x, D_MODEL);
  p.gemm.x_width = D_MODEL;
  p.gemm.out = empty_activations (N_PADDED * D_MODEL, how.exact);
  p.gemm.out_squares = device_floats (D_MODEL / MT3_CUDA_DECODE_SQUARES);
  if (n_query > 0)
    p.gemm.cross_query = floats_to_device (query, n_query);
  p.gemm.inner = (int) n_query;
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));

  for (gsize row = 0; row < N_ROWS; row++) {
    for (gsize c = 0; c < D_MODEL; c++)
      x[row * D_MODEL + c] += product[row * p.n + c];
    for (gsize c = 0; c < n_query; c++)
      query[row * n_query + c] += product[row * p.n + D_MODEL + c];
  }
  got_x = floats_from_device (p.gemm.x, D_MODEL);
  check_near (got_x, x, n, TOLERANCE);
  if (n_query > 0) {
    g_autofree gfloat *got = floats_from_device (p.gemm.cross_query, n_query);

    check_near (got, query, N_ROWS * n_query, TOLERANCE);
  }
  planes = read_activations (p.gemm.out, n);
  check_near (planes, x, n, how.exact ? TOLERANCE : TOLERANCE_HALF);
  squares = floats_from_device (
      p.gemm.out_squares, D_MODEL / MT3_CUDA_DECODE_SQUARES);
  check_squares (got_x, squares, n);
  product_clear (&p);
}

START_TEST (test_added_product_is_the_cpus)
{
  check_added_product (way (_i), FALSE, INNER);
}
END_TEST

/* As a draft network has it. */
START_TEST (test_added_product_of_normalised_rows_is_the_cpus)
{
  check_added_product (way (_i), TRUE, 0);
}
END_TEST

/* Where the cache of a layer has the first of 64 numbers; @kv: 0 the key, 1 the
 * value. */
static gsize
cache_offset (gint slot, gsize head, gsize kv, gint position)
{
  return slot * (2u * INNER * N_POSITIONS) +
         ((head * 2 + kv) * N_POSITIONS + position) * HEAD;
}

/* Some rows end within a step, and none goes beyond the last position. */
static void
limit_rows (Mt3CudaRow *rows, gint n_rows, gint n_positions)
{
  for (gint i = 0; i < n_rows; i++)
    rows[i].remaining = MIN (i % 6, n_positions - rows[i].position);
}

/* Whether its row still has the place of a line. */
static gboolean
line_remains (const Mt3CudaRow *rows, gsize line, gint places)
{
  return rows[line / places].remaining > (gint) line % places;
}

/* What @p appended of its lines, and of the others what @beside has; counts the
 * lines. */
static gfloat *
appended_lines (const Product *p, const gfloat *cache, gsize kv,
    const gfloat *beside, gsize *n_appended)
{
  const gint places = p->gemm.places;
  gfloat *out = g_memdup2 (beside, N_ROWS * INNER * sizeof (gfloat));

  *n_appended = 0;
  for (gsize line = 0; line < N_ROWS; line++) {
    const Mt3CudaRow *row = &p->rows[line / places];
    const gint position = row->position + (gint) line % places;

    if (!line_remains (p->rows, line, places))
      continue;
    for (gsize head = 0; head < N_HEADS; head++)
      memcpy (out + line * INNER + head * HEAD,
          cache + cache_offset (row->slot, head, kv, position),
          HEAD * sizeof (gfloat));
    (*n_appended)++;
  }
  return out;
}

static gsize
count_numbers (const gfloat *values, gsize n)
{
  gsize count = 0;

  for (gsize i = 0; i < n; i++)
    count += !isnan (values[i]);
  return count;
}

/* [N_ROWS, 4 * INNER], with what QKV needs beside the products. */
static Product
qkv_new (Way how, gint places)
{
  Product p = product_new (how, D_MODEL, 4 * INNER, MT3_CUDA_DECODE_QKV);

  limit_rows (p.rows, N_ROWS, N_POSITIONS);
  p.gemm.rows = rows_to_device (p.rows);
  p.gemm.places = places;
  p.gemm.y = device_floats (INNER);
  p.gemm.y_stride = INNER;
  p.gemm.cross_query = device_floats (INNER);
  p.gemm.inner = INNER;
  p.gemm.cache = device_bytes (N_CACHE * sizeof (gfloat));
  p.gemm.cache_slot = 2 * INNER * N_POSITIONS;
  p.gemm.n_positions = N_POSITIONS;
  return p;
}

/* All lines have queries; keys and values have those that remain to their rows.
 */
static void
check_query_key_and_value (Way how, gint places)
{
  Product p = qkv_new (how, places);
  g_autofree gfloat *normalised = multiply_on_cpu (&p, TRUE, FALSE);
  g_autofree gfloat *plain = multiply_on_cpu (&p, FALSE, FALSE);
  g_autofree gfloat *cross = columns (plain, p.n, 3 * INNER, INNER);
  g_autofree gfloat *query = columns (normalised, p.n, 0, INNER);
  g_autofree gfloat *cache = NULL, *got_query = NULL, *got_cross = NULL;
  gsize n_appended = 0;

  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));

  got_query = floats_from_device (p.gemm.y, INNER);
  check_near (got_query, query, N_ROWS * INNER, TOLERANCE);
  got_cross = floats_from_device (p.gemm.cross_query, INNER);
  check_near (got_cross, cross, N_ROWS * INNER, TOLERANCE);
  cache = read_cache (p.gemm.cache, N_CACHE, how.exact);
  for (gsize kv = 0; kv < 2; kv++) {
    g_autofree gfloat *expected =
        columns (normalised, p.n, (1 + kv) * INNER, INNER);
    g_autofree gfloat *got =
        appended_lines (&p, cache, kv, expected, &n_appended);

    check_near (
        got, expected, N_ROWS * INNER, how.exact ? TOLERANCE : TOLERANCE_HALF);
  }
  ck_assert_uint_eq (count_numbers (cache, N_CACHE), n_appended * 2 * INNER);
  product_clear (&p);
}

START_TEST (test_query_key_and_value_are_the_cpus)
{
  check_query_key_and_value (way (_i), 1);
}
END_TEST

START_TEST (test_keys_and_values_of_places_are_appended_while_they_remain)
{
  for (gint places = 2; places <= MT3_CUDA_MOST_PLACES; places++)
    check_query_key_and_value (way (_i), places);
}
END_TEST

/* ------------------------------------------------------------- overflow */

/* Lines whose products leave float16, with or without the scale of the split
 * form. */
static gboolean
is_large (gsize line)
{
  return line % 3 == 1;
}

static void
enlarge_lines (Product *p, Way how)
{
  g_autofree gfloat *padded = g_new0 (gfloat, N_PADDED * p->k);

  for (gsize i = 0; i < N_ROWS * p->k; i++)
    padded[i] = !is_large (i / p->k) ? p->a[i] : how.exact ? 4e6f : 6e4f;
  p->gemm.a = activations (padded, N_PADDED * p->k, how.exact);
  p->gemm.squares = NULL;
}

/* With some large lines. */
static Product
large_new (Way how, Mt3CudaDecodeEpilogue epilogue, gint places)
{
  Product p = epilogue == MT3_CUDA_DECODE_QKV
                  ? qkv_new (how, places)
                  : product_new (how, 128, D_MODEL, epilogue);
  g_autofree gfloat *x = random_floats (N_ROWS * D_MODEL, 8.0f);

  enlarge_lines (&p, how);
  p.gemm.places = places;
  if (epilogue == MT3_CUDA_DECODE_QKV)
    return p;
  p.gemm.x = floats_to_device (x, D_MODEL);
  p.gemm.x_width = D_MODEL;
  p.gemm.out = empty_activations (N_PADDED * D_MODEL, how.exact);
  p.gemm.out_squares = device_floats (D_MODEL / MT3_CUDA_DECODE_SQUARES);
  return p;
}

/* @marked: whether lines with large results are to be marked. Keys and values
 * of the split form are float32. */
static void
check_overflow (Way how, const Product *p, gboolean marked)
{
  const gint places = p->gemm.places;
  const gboolean appends = p->gemm.epilogue == MT3_CUDA_DECODE_QKV;
  g_autofree Mt3CudaRow *rows =
      to_host (p->gemm.rows, N_ROWS * sizeof (Mt3CudaRow));

  for (gsize row = 0; row < N_ROWS; row++) {
    gint expected = 0;

    for (gint place = 0; place < places && marked; place++) {
      const gsize line = row * places + place;

      if (line < N_ROWS && is_large (line) && !(appends && how.exact) &&
          (!appends || line_remains (p->rows, line, places)))
        expected |= 1 << place;
    }
    ck_assert_int_eq (rows[row].overflow, expected);
  }
}

static const Mt3CudaDecodeEpilogue in_float16[] = {
    MT3_CUDA_DECODE_ADD, MT3_CUDA_DECODE_GATED, MT3_CUDA_DECODE_QKV};

START_TEST (test_what_leaves_float16_marks_its_place)
{
  for (guint i = 0; i < G_N_ELEMENTS (in_float16); i++)
    for (gint places = 1; places <= MT3_CUDA_MOST_PLACES; places++) {
      Product p = large_new (way (_i), in_float16[i], places);

      check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
      check_overflow (way (_i), &p, TRUE);
      product_clear (&p);
    }
}
END_TEST

START_TEST (test_what_leaves_float16_in_a_draft_network_marks_nothing)
{
  for (guint i = 0; i < G_N_ELEMENTS (in_float16); i++) {
    Product p = large_new (way (_i), in_float16[i], 2);

    p.gemm.drafts = TRUE;
    check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
    check_overflow (way (_i), &p, FALSE);
    product_clear (&p);
  }
}
END_TEST

/* A place before it, which does not see it, multiplies it with 0. */
START_TEST (test_no_key_or_value_in_float16_is_infinite)
{
  Product p = large_new (way (_i), MT3_CUDA_DECODE_QKV, 2);
  g_autofree gfloat *cache = NULL;
  gfloat most = 0.0f;

  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
  cache = read_cache (p.gemm.cache, N_CACHE, FALSE);
  for (gsize i = 0; i < N_CACHE; i++)
    if (!isnan (cache[i]))
      most = MAX (most, fabsf (cache[i]));
  ck_assert_float_eq (most, 65504.0f);
  product_clear (&p);
}
END_TEST

/* ------------------------------------------------------------ attention */

/* One head of a row. */
static void
attend_on_cpu (const gfloat *query, const gfloat *cache, const Mt3CudaRow *row,
    gsize head, gsize n_tokens, gfloat *out)
{
  g_autofree gfloat *scratch =
      g_new (gfloat, mt3_attention_scratch (cpu (), n_tokens));
  const Mt3RowAttention attention = {
      .type = MT3_PANEL_F32,
      .keys = cache + cache_offset (row->slot, head, 0, 0),
      .values = cache + cache_offset (row->slot, head, 1, 0),
      .n_tokens = n_tokens,
      .width = HEAD,
      .queries = query,
      .query_stride = HEAD,
      .out = out,
      .out_stride = HEAD,
  };

  cpu ()->attend_rows (&attention, 0, 1, scratch);
}

/* @length: keys; 0: those up to each place's position. With a factor on the
 * query where there is a length, as in cross-attention. */
static void
check_attention (gboolean exact, gint places, gsize length)
{
  const gsize n_lines = N_ROWS * places, n = n_lines * INNER;
  const gsize n_partial = D_MODEL / MT3_CUDA_DECODE_SQUARES;
  g_autofree gfloat *query = random_floats (n, 2.0f);
  g_autofree gfloat *cache = random_floats (N_CACHE, 1.0f);
  g_autofree gfloat *squares = random_floats (n_lines * n_partial, 1.0f);
  g_autofree gfloat *expected = g_new0 (gfloat, n);
  g_autofree Mt3CudaRow *rows = make_rows ();
  g_autofree gfloat *got = NULL;
  Mt3CudaDecodeAttention args = {
      .q = floats_to_device (query, places * INNER),
      .d_model = D_MODEL,
      .cache = cache_values (cache, N_CACHE, exact),
      .cache_slot = 2 * INNER * N_POSITIONS,
      .n_slots = N_ROWS,
      .n_positions = N_POSITIONS,
      .length = (int) length,
      .n_rows = N_ROWS,
      .places = places,
      .n_heads = N_HEADS,
      .out = empty_activations (N_PADDED * places * INNER, exact),
  };

  limit_rows (rows, N_ROWS, N_POSITIONS);
  args.rows = rows_to_device (rows);
  for (gsize i = 0; i < n_lines * n_partial; i++)
    squares[i] = MT3_CUDA_DECODE_SQUARES * (1.0f + fabsf (squares[i]));
  if (length > 0)
    args.squares = floats_to_device (squares, places * n_partial);
  check_cuda (mt3_cuda_decode_attention (&args, in_order));

  got = read_activations (args.out, n);
  for (gsize line = 0; line < n_lines; line++) {
    const Mt3CudaRow *row = &rows[line / places];
    const gsize seen = row->position + line % places + 1;
    gfloat sum = 0.0f, *q = query + line * INNER;

    if (!line_remains (rows, line, places)) {
      memset (got + line * INNER, 0, INNER * sizeof (gfloat));
      continue;
    }
    for (gsize i = 0; i < n_partial; i++)
      sum += squares[line * n_partial + i];
    for (gsize i = 0; i < INNER && length > 0; i++)
      q[i] /= sqrtf (sum / D_MODEL + 1e-6f);
    for (gsize head = 0; head < N_HEADS; head++)
      attend_on_cpu (q + head * HEAD, cache, row, head,
          length > 0 ? length : seen, expected + line * INNER + head * HEAD);
  }
  check_near (got, expected, n, exact ? TOLERANCE : TOLERANCE_HALF);
}

START_TEST (test_self_attention_is_the_cpus)
{
  check_attention (_i, 1, 0);
}
END_TEST

START_TEST (test_cross_attention_is_the_cpus)
{
  check_attention (_i, 1, N_POSITIONS);
}
END_TEST

START_TEST (test_self_attention_of_places_is_the_cpus)
{
  check_attention (FALSE, _i, 0);
}
END_TEST

START_TEST (test_cross_attention_of_places_is_the_cpus)
{
  check_attention (FALSE, _i, N_POSITIONS);
}
END_TEST

/* Rows enough for several turns of each block, with any number of keys; several
 * rows share a slot. */
#define N_MANY 500
#define N_MANY_SLOTS 16
#define N_MANY_POSITIONS 600
#define N_MANY_LENGTHS 3

static const int many_lengths[N_MANY_LENGTHS] = {0, 256, N_MANY_POSITIONS};

/* @query, @squares: of all places that there can be */
typedef struct {
  gfloat *query, *squares;
  Mt3CudaRow *rows;
  Mt3CudaDecodeAttention args;
} ManyRows;

static Mt3CudaRow *
make_many_rows (void)
{
  Mt3CudaRow *rows = g_new0 (Mt3CudaRow, N_MANY);

  for (gint i = 0; i < N_MANY; i++)
    rows[i] = (Mt3CudaRow){
        .slot = i * 5 % N_MANY_SLOTS,
        .position = i * 37 % N_MANY_POSITIONS,
        .remaining = MIN (i % 11, N_MANY_POSITIONS - i * 37 % N_MANY_POSITIONS),
    };
  return rows;
}

static ManyRows
many_rows_new (gint length)
{
  const gsize n_lines = N_MANY * MT3_CUDA_MOST_PLACES;
  const gsize n_cache = 2 * N_MANY_SLOTS * INNER * N_MANY_POSITIONS;
  const gsize n_squares = n_lines * D_MODEL / MT3_CUDA_DECODE_SQUARES;
  g_autofree gfloat *cache = random_floats (n_cache, 1.0f);
  ManyRows many = {
      .query = random_floats (n_lines * INNER, 2.0f),
      .squares = random_floats (n_squares, 4.0f),
      .rows = make_many_rows (),
      .args =
          {
              .d_model = D_MODEL,
              .cache = cache_values (cache, n_cache, FALSE),
              .cache_slot = 2 * INNER * N_MANY_POSITIONS,
              .n_slots = N_MANY_SLOTS,
              .n_positions = N_MANY_POSITIONS,
              .length = length,
              .n_rows = N_MANY,
              .n_heads = N_HEADS,
          },
  };

  for (gsize i = 0; i < n_squares; i++)
    many.squares[i] = fabsf (many.squares[i]);
  return many;
}

static void
many_rows_clear (ManyRows *many)
{
  g_free (many->query);
  g_free (many->squares);
  g_free (many->rows);
}

/* Of each row's lines the first @places, with @width numbers each. */
static gpointer
places_to_device (const gfloat *all, gint places, gsize width)
{
  const gsize n = places * width, stride = MT3_CUDA_MOST_PLACES * width;
  g_autofree gfloat *some = g_new (gfloat, N_MANY * n);

  for (gsize row = 0; row < N_MANY; row++)
    memcpy (some + row * n, all + row * stride, n * sizeof (gfloat));
  return to_device (some, N_MANY * n * sizeof (gfloat));
}

/* The bits of all lines; g_free(). */
static guint16 *
attend_many (const ManyRows *many, gint places, gint kernel)
{
  const gsize n = (gsize) N_MANY * places * INNER;
  Mt3CudaDecodeAttention args = many->args;

  args.q = places_to_device (many->query, places, INNER);
  if (args.length > 0)
    args.squares = places_to_device (
        many->squares, places, D_MODEL / MT3_CUDA_DECODE_SQUARES);
  args.rows = to_device (many->rows, N_MANY * sizeof (Mt3CudaRow));
  args.places = places;
  args.kernel = kernel;
  args.out = empty_activations (n, FALSE);
  check_cuda (mt3_cuda_decode_attention (&args, in_order));
  return to_host (args.out.hi, n * sizeof (guint16));
}

/* Of the places that both have, where they remain. */
static void
check_same_bits (const ManyRows *many, const guint16 *a, gint a_places,
    const guint16 *b, gint b_places)
{
  for (gsize row = 0; row < N_MANY; row++) {
    const gint n = MIN (MIN (a_places, b_places), many->rows[row].remaining);

    ck_assert_mem_eq (a + row * a_places * INNER, b + row * b_places * INNER,
        n * INNER * sizeof (guint16));
  }
}

START_TEST (test_attention_of_many_rows_makes_the_same_bits)
{
  const gint places = _i / N_MANY_LENGTHS + 1;
  ManyRows many = many_rows_new (many_lengths[_i % N_MANY_LENGTHS]);
  g_autofree guint16 *few = attend_many (&many, places, 1);
  g_autofree guint16 *all = attend_many (&many, places, 2);

  check_same_bits (&many, few, places, all, places);
  many_rows_clear (&many);
}
END_TEST

START_TEST (test_attention_of_a_place_is_the_same_bits_with_more_behind_it)
{
  const gint kernel = _i / N_MANY_LENGTHS + 1;
  ManyRows many = many_rows_new (many_lengths[_i % N_MANY_LENGTHS]);
  g_autofree guint16 *all = attend_many (&many, MT3_CUDA_MOST_PLACES, kernel);

  for (gint places = 2; places < MT3_CUDA_MOST_PLACES; places++) {
    g_autofree guint16 *some = attend_many (&many, places, kernel);

    check_same_bits (&many, some, places, all, MT3_CUDA_MOST_PLACES);
  }
  many_rows_clear (&many);
}
END_TEST

/* ------------------------------------------------------------ the sampler */

/* After some random text. */
static Mt3TokenState
make_text (const Mt3TokenOrder *order, GRand *random)
{
  Mt3TokenState text = mt3_token_order_start (order);

  for (gint tries = g_rand_int_range (random, 0, 500); tries > 0; tries--) {
    const gint token = g_rand_int_range (random, MT3_TOKEN_EOS + 1, VOCAB);

    if (mt3_token_order_permits (order, &text, token, MT3_TOKEN_EOS))
      mt3_token_order_follow (order, &text, token);
  }
  return text;
}

/* Two in three keep an order. */
static void
add_orders (Mt3CudaRow *rows)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.ordered_events = TRUE;
  for (gint i = 0; i < N_ROWS; i++) {
    if (i % 3 == 0)
      continue;
    rows[i].order = mt3_event_order (&config, NULL);
    rows[i].state = make_text (&rows[i].order, random);
  }
}

/* Greedy rows, drawn ones, and both with some tokens only. */
static Mt3CudaRow *
make_sampled_rows (gboolean ordered)
{
  Mt3CudaRow *rows = make_rows ();

  for (gint i = 0; i < N_ROWS; i++) {
    rows[i].constrained = i % 4 == 0;
    rows[i].temperature = i % 2 ? 0.5f + i / 50.0f : 0.0f;
    rows[i].top_k = i % 5 ? 0 : 40;
    rows[i].top_p = i % 7 ? 1.0f : 0.9f;
  }
  if (ordered)
    add_orders (rows);
  return rows;
}

static guint
token_on_cpu (
    const Mt3CudaRow *row, const gfloat *logits, const Mt3TokenSet *allowed)
{
  g_autofree Mt3Candidate *candidates = g_new (Mt3Candidate, VOCAB);
  Mt3Decoding decoding = MT3_DECODING_GREEDY;

  decoding.temperature = row->temperature;
  decoding.top_k = (guint) row->top_k;
  decoding.top_p = row->top_p;
  decoding.seed = row->seed;
  decoding.allowed = row->constrained ? allowed : NULL;
  decoding.order = row->order;
  if (row->temperature == 0.0f)
    return mt3_sampler_best (logits, VOCAB, &decoding, &row->state);
  return mt3_sampler_draw (logits, VOCAB, &decoding, &row->state, row->index,
      (guint) row->position, candidates);
}

/* The same bits for every slot. */
static gpointer
allowed_on_device (const Mt3TokenSet *allowed)
{
  const gsize words = (VOCAB + 31) / 32;
  g_autofree guint32 *bits = g_new (guint32, N_ROWS * words);

  for (gsize i = 0; i < N_ROWS * words; i++)
    bits[i] = allowed->bits[i % words];
  return to_device (bits, N_ROWS * words * sizeof (guint32));
}

START_TEST (test_tokens_and_log_probabilities_are_the_cpus)
{
  const gsize n = N_ROWS * VOCAB;
  const gboolean exact = _i % 2, ordered = _i / 2;
  g_autofree gfloat *logits = random_floats (n, 6.0f);
  g_autofree gfloat *embedding = random_floats (VOCAB * D_MODEL, 3.0f);
  g_autofree gfloat *positions =
      random_floats ((N_POSITIONS + 1) * D_MODEL, 1.0f);
  g_autofree gint *overflow = g_new0 (gint, N_ROWS);
  g_autofree Mt3CudaRow *rows = make_sampled_rows (ordered);
  g_autofree Mt3CudaRow *advanced = NULL;
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (VOCAB);
  g_autofree Mt3CudaRecord *records = NULL;
  g_autofree gfloat *x = NULL;
  Mt3CudaSample args;

  for (guint token = 2; token < VOCAB; token += 3)
    mt3_token_set_add (allowed, token);
  args = (Mt3CudaSample){
      .logits = floats_to_device (logits, VOCAB),
      .vocab = VOCAB,
      .rows = rows_to_device (rows),
      .n_rows = N_ROWS,
      .places = 1,
      .records = device_bytes (N_ROWS * sizeof (Mt3CudaRecord)),
      .embedding = to_device (embedding, VOCAB * D_MODEL * sizeof (gfloat)),
      .positions =
          to_device (positions, (N_POSITIONS + 1) * D_MODEL * sizeof (gfloat)),
      .d_model = D_MODEL,
      .overflow = to_device (overflow, N_ROWS * sizeof (gint)),
      .allowed = allowed_on_device (allowed),
      .ordered = ordered,
      .x = device_floats (D_MODEL),
      .out = empty_activations (N_PADDED * D_MODEL, exact),
      .out_squares = device_floats (D_MODEL / MT3_CUDA_DECODE_SQUARES),
  };
  check_cuda (mt3_cuda_sample (&args, in_order));

  advanced = to_host (args.rows, N_ROWS * sizeof (Mt3CudaRow));
  records = to_host (args.records, N_ROWS * sizeof (Mt3CudaRecord));
  x = floats_from_device (args.x, D_MODEL);
  for (gsize row = 0; row < N_ROWS; row++) {
    const gfloat *own = logits + row * VOCAB;
    const guint token = token_on_cpu (&rows[row], own, allowed);
    const gfloat *vector = embedding + token * D_MODEL;
    const gfloat *place = positions + (rows[row].position + 1) * D_MODEL;
    gsize largest;

    ck_assert_uint_eq (records[row].token, token);
    mt3_token_order_follow (&rows[row].order, &rows[row].state, (int) token);
    ck_assert_mem_eq (
        &advanced[row].state, &rows[row].state, sizeof (Mt3TokenState));
    ck_assert_float_eq_tol (records[row].log_prob,
        own[token] - cpu ()->log_sum_exp (own, VOCAB, &largest), 1e-5);
    for (gsize c = 0; c < D_MODEL && token != MT3_TOKEN_EOS; c++)
      ck_assert_float_eq (x[row * D_MODEL + c], vector[c] + place[c]);
  }
}
END_TEST

/* That their rows' texts permit, where there is one. */
static void
add_drafts (Mt3CudaRow *rows)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (2);

  for (gint i = 0; i < N_ROWS; i++) {
    Mt3TokenState text = rows[i].state;

    for (gint place = 0; place < MT3_CUDA_MOST_PLACES - 1; place++) {
      gint token = 0, tries = 0;

      do
        token = g_rand_int_range (random, MT3_TOKEN_EOS + 1, VOCAB);
      while (mt3_token_order_exists (&rows[i].order) && tries++ < 2000 &&
             !mt3_token_order_permits (
                 &rows[i].order, &text, token, MT3_TOKEN_EOS));
      mt3_token_order_follow (&rows[i].order, &text, token);
      rows[i].drafts[place] = token;
    }
  }
}

/* The records of all places. Rows stay where they are. */
static Mt3CudaRecord *
sample_places (const Mt3CudaRow *rows, gint places, const gfloat *logits,
    const Mt3TokenSet *allowed, gboolean ordered)
{
  g_autofree gint *overflow = g_new0 (gint, N_ROWS);
  g_autofree Mt3CudaRow *got = NULL;
  const Mt3CudaSample args = {
      .logits = floats_to_device (logits, places * VOCAB),
      .vocab = VOCAB,
      .rows = rows_to_device (rows),
      .n_rows = N_ROWS,
      .places = places,
      .records = device_bytes (N_ROWS * places * sizeof (Mt3CudaRecord)),
      .d_model = D_MODEL,
      .overflow = to_device (overflow, N_ROWS * sizeof (gint)),
      .allowed = allowed_on_device (allowed),
      .ordered = ordered,
  };

  check_cuda (mt3_cuda_sample (&args, in_order));
  got = to_host (args.rows, N_ROWS * sizeof (Mt3CudaRow));
  ck_assert_mem_eq (got, rows, N_ROWS * sizeof (Mt3CudaRow));
  return to_host (args.records, N_ROWS * places * sizeof (Mt3CudaRecord));
}

#define N_PLACES_CASES (2 * (MT3_CUDA_MOST_PLACES - 1))

START_TEST (test_token_of_a_place_is_that_of_the_row_with_its_drafts)
{
  const gint places = _i / 2 + 2;
  const gboolean ordered = _i % 2;
  const gsize n_lines = N_ROWS * places;
  g_autofree gfloat *logits = random_floats (n_lines * VOCAB, 6.0f);
  g_autofree Mt3CudaRow *rows = make_sampled_rows (ordered);
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (VOCAB);
  g_autofree Mt3CudaRecord *records = NULL;

  for (guint token = 2; token < VOCAB; token += 3)
    mt3_token_set_add (allowed, token);
  limit_rows (rows, N_ROWS, N_POSITIONS);
  add_drafts (rows);
  records = sample_places (rows, places, logits, allowed, ordered);
  for (gsize line = 0; line < n_lines; line++) {
    const gfloat *own = logits + line * VOCAB;
    const gint place = (gint) line % places;
    Mt3CudaRow row = rows[line / places];
    guint token;
    gsize largest;

    if (!line_remains (rows, line, places))
      continue;
    row.position += place;
    for (gint i = 0; i < place; i++)
      mt3_token_order_follow (&row.order, &row.state, row.drafts[i]);
    token = token_on_cpu (&row, own, allowed);
    ck_assert_uint_eq (records[line].token, token);
    ck_assert_float_eq_tol (records[line].log_prob,
        own[token] - cpu ()->log_sum_exp (own, VOCAB, &largest), 1e-5);
  }
}
END_TEST

START_TEST (test_record_says_whether_its_place_left_float16)
{
  const gint places = MT3_CUDA_MOST_PLACES;
  const gsize n_lines = N_ROWS * places;
  g_autofree gfloat *logits = random_floats (n_lines * VOCAB, 6.0f);
  g_autofree Mt3CudaRow *rows = make_rows ();
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (VOCAB);
  g_autofree Mt3CudaRecord *records = NULL;

  for (gint i = 0; i < N_ROWS; i++)
    rows[i].overflow = i % (1 << places);
  records = sample_places (rows, places, logits, allowed, FALSE);
  for (gsize line = 0; line < n_lines; line++)
    ck_assert_int_eq (records[line].flags & MT3_CUDA_OVERFLOW,
        rows[line / places].overflow >> line % places & 1);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("gpu-decode");
  TCase *tests = tcase_create ("kernels");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_set_timeout (tests, 60);
  tcase_add_loop_test (tests, test_stored_product_is_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (
      tests, test_product_is_the_same_bits_in_every_tile_of_a_kernel, 0, 8);
  tcase_add_loop_test (tests, test_gated_product_is_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (tests, test_added_product_is_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (
      tests, test_added_product_of_normalised_rows_is_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (tests, test_query_key_and_value_are_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (tests,
      test_keys_and_values_of_places_are_appended_while_they_remain, 0, N_WAYS);
  tcase_add_loop_test (
      tests, test_what_leaves_float16_marks_its_place, 0, N_WAYS);
  tcase_add_loop_test (tests,
      test_what_leaves_float16_in_a_draft_network_marks_nothing, 0, N_WAYS);
  tcase_add_loop_test (
      tests, test_no_key_or_value_in_float16_is_infinite, N_EXACT_WAYS, N_WAYS);
  tcase_add_loop_test (tests, test_self_attention_is_the_cpus, 0, 2);
  tcase_add_loop_test (tests, test_cross_attention_is_the_cpus, 0, 2);
  tcase_add_loop_test (tests, test_self_attention_of_places_is_the_cpus, 2,
      MT3_CUDA_MOST_PLACES + 1);
  tcase_add_loop_test (tests, test_cross_attention_of_places_is_the_cpus, 2,
      MT3_CUDA_MOST_PLACES + 1);
  tcase_add_loop_test (tests, test_attention_of_many_rows_makes_the_same_bits,
      0, MT3_CUDA_MOST_PLACES * N_MANY_LENGTHS);
  tcase_add_loop_test (tests,
      test_attention_of_a_place_is_the_same_bits_with_more_behind_it, 0,
      2 * N_MANY_LENGTHS);
  tcase_add_loop_test (
      tests, test_tokens_and_log_probabilities_are_the_cpus, 0, 4);
  tcase_add_loop_test (tests,
      test_token_of_a_place_is_that_of_the_row_with_its_drafts, 0,
      N_PLACES_CASES);
  tcase_add_test (tests, test_record_says_whether_its_place_left_float16);
  suite_add_tcase (suite, tests);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
