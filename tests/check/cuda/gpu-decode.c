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
#define VOCAB 1536

static const Mt3CudaLaunch in_order;

typedef struct {
  gboolean exact;
  gint tile;
} Way;

/* Tests loop over both precisions, and all tiles of each. */
#define N_WAYS (2 * (MT3_CUDA_DECODE_TILES + 1))

static Way
way (gint i)
{
  return (Way){i % 2, i / 2};
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
      .w = weight_panels (p.w, k, n, how.exact),
      .squares = floats_to_device (squares, n_partial),
      .n_rows = N_ROWS,
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

/* In float16; terms of three, eight, and eight parts of two slices. */
START_TEST (test_product_is_the_same_bits_in_every_tile)
{
  static const gsize terms[] = {192, 512, 1024};
  Product p =
      product_new ((Way){FALSE, 1}, terms[_i], 256, MT3_CUDA_DECODE_STORE);
  g_autofree gfloat *first = NULL;

  p.gemm.y = device_floats (p.n);
  p.gemm.y_stride = (int) p.n;
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));
  first = floats_from_device (p.gemm.y, p.n);
  for (gint tile = 2; tile <= MT3_CUDA_DECODE_TILES; tile++) {
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

/* And more columns, to what the cross-attention's query has so far. */
START_TEST (test_added_product_is_the_cpus)
{
  const gsize n = N_ROWS * D_MODEL;
  Product p = product_new (way (_i), 128, D_MODEL + INNER, MT3_CUDA_DECODE_ADD);
  g_autofree gfloat *product = multiply_on_cpu (&p, FALSE, FALSE);
  g_autofree gfloat *x = random_floats (n, 8.0f);
  g_autofree gfloat *query = random_floats (N_ROWS * INNER, 8.0f);
  g_autofree gfloat *got_x = NULL, *got_query = NULL, *planes = NULL,
                    *squares = NULL;

  p.gemm.squares = NULL;
  p.gemm.x = floats_to_device (x, D_MODEL);
  p.gemm.x_width = D_MODEL;
  p.gemm.out = empty_activations (N_PADDED * D_MODEL, way (_i).exact);
  p.gemm.out_squares = device_floats (D_MODEL / MT3_CUDA_DECODE_SQUARES);
  p.gemm.cross_query = floats_to_device (query, INNER);
  p.gemm.inner = INNER;
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));

  for (gsize row = 0; row < N_ROWS; row++) {
    for (gsize c = 0; c < D_MODEL; c++)
      x[row * D_MODEL + c] += product[row * p.n + c];
    for (gsize c = 0; c < INNER; c++)
      query[row * INNER + c] += product[row * p.n + D_MODEL + c];
  }
  got_x = floats_from_device (p.gemm.x, D_MODEL);
  check_near (got_x, x, n, TOLERANCE);
  got_query = floats_from_device (p.gemm.cross_query, INNER);
  check_near (got_query, query, N_ROWS * INNER, TOLERANCE);
  planes = read_activations (p.gemm.out, n);
  check_near (planes, x, n, way (_i).exact ? TOLERANCE : TOLERANCE_HALF);
  squares = floats_from_device (
      p.gemm.out_squares, D_MODEL / MT3_CUDA_DECODE_SQUARES);
  check_squares (got_x, squares, n);
  product_clear (&p);
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

static gfloat *
cached_rows (const gfloat *cache, const Mt3CudaRow *rows, gsize kv)
{
  gfloat *out = g_new (gfloat, N_ROWS * INNER);

  for (gsize i = 0; i < N_ROWS * INNER; i++) {
    const Mt3CudaRow *row = &rows[i / INNER];

    out[i] =
        cache[cache_offset (row->slot, i % INNER / HEAD, kv, row->position) +
              i % HEAD];
  }
  return out;
}

START_TEST (test_query_key_and_value_are_the_cpus)
{
  const gboolean exact = way (_i).exact;
  const gsize n_cache = N_ROWS * 2 * INNER * N_POSITIONS;
  Product p = product_new (way (_i), D_MODEL, 4 * INNER, MT3_CUDA_DECODE_QKV);
  g_autofree gfloat *normalised = multiply_on_cpu (&p, TRUE, FALSE);
  g_autofree gfloat *plain = multiply_on_cpu (&p, FALSE, FALSE);
  g_autofree gfloat *cross = columns (plain, p.n, 3 * INNER, INNER);
  g_autofree gfloat *query = columns (normalised, p.n, 0, INNER);
  g_autofree gfloat *cache = NULL, *got_query = NULL, *got_cross = NULL;

  p.gemm.y = device_floats (INNER);
  p.gemm.y_stride = INNER;
  p.gemm.cross_query = device_floats (INNER);
  p.gemm.inner = INNER;
  p.gemm.cache = device_bytes (n_cache * sizeof (gfloat));
  p.gemm.cache_slot = 2 * INNER * N_POSITIONS;
  p.gemm.n_positions = N_POSITIONS;
  check_cuda (mt3_cuda_decode_gemm (&p.gemm, in_order));

  got_query = floats_from_device (p.gemm.y, INNER);
  check_near (got_query, query, N_ROWS * INNER, TOLERANCE);
  got_cross = floats_from_device (p.gemm.cross_query, INNER);
  check_near (got_cross, cross, N_ROWS * INNER, TOLERANCE);
  cache = read_cache (p.gemm.cache, n_cache, exact);
  for (gsize kv = 0; kv < 2; kv++) {
    g_autofree gfloat *got = cached_rows (cache, p.rows, kv);
    g_autofree gfloat *expected =
        columns (normalised, p.n, (1 + kv) * INNER, INNER);

    check_near (
        got, expected, N_ROWS * INNER, exact ? TOLERANCE : TOLERANCE_HALF);
  }
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

/* @length: keys; 0: those up to each row's position. With a factor on the
 * query where there is a length, as in cross-attention. */
static void
check_attention (gboolean exact, gsize length)
{
  const gsize n = N_ROWS * INNER, n_cache = 2 * n * N_POSITIONS;
  const gsize n_partial = D_MODEL / MT3_CUDA_DECODE_SQUARES;
  g_autofree gfloat *query = random_floats (n, 2.0f);
  g_autofree gfloat *cache = random_floats (n_cache, 1.0f);
  g_autofree gfloat *squares = random_floats (N_ROWS * n_partial, 1.0f);
  g_autofree gfloat *expected = g_new (gfloat, n);
  g_autofree Mt3CudaRow *rows = make_rows ();
  g_autofree gfloat *got = NULL;
  Mt3CudaDecodeAttention args = {
      .q = floats_to_device (query, INNER),
      .d_model = D_MODEL,
      .cache = cache_values (cache, n_cache, exact),
      .cache_slot = 2 * INNER * N_POSITIONS,
      .n_positions = N_POSITIONS,
      .length = (int) length,
      .n_rows = N_ROWS,
      .n_heads = N_HEADS,
      .rows = rows_to_device (rows),
      .out = empty_activations (N_PADDED * INNER, exact),
  };

  for (gsize i = 0; i < N_ROWS * n_partial; i++)
    squares[i] = MT3_CUDA_DECODE_SQUARES * (1.0f + fabsf (squares[i]));
  if (length > 0)
    args.squares = floats_to_device (squares, n_partial);
  check_cuda (mt3_cuda_decode_attention (&args, in_order));

  for (gsize row = 0; row < N_ROWS; row++) {
    gfloat sum = 0.0f, *q = query + row * INNER;

    for (gsize i = 0; i < n_partial; i++)
      sum += squares[row * n_partial + i];
    for (gsize i = 0; i < INNER && length > 0; i++)
      q[i] /= sqrtf (sum / D_MODEL + 1e-6f);
    for (gsize head = 0; head < N_HEADS; head++)
      attend_on_cpu (q + head * HEAD, cache, &rows[row], head,
          length > 0 ? length : (gsize) rows[row].position + 1,
          expected + row * INNER + head * HEAD);
  }
  got = read_activations (args.out, n);
  check_near (got, expected, n, exact ? TOLERANCE : TOLERANCE_HALF);
}

START_TEST (test_self_attention_is_the_cpus)
{
  check_attention (_i, 0);
}
END_TEST

START_TEST (test_cross_attention_is_the_cpus)
{
  check_attention (_i, N_POSITIONS);
}
END_TEST

/* Rows enough for several turns of each block, with any number of keys; several
 * rows share a slot. */
#define N_MANY 500
#define N_MANY_SLOTS 16
#define N_MANY_POSITIONS 600

static Mt3CudaRow *
make_many_rows (void)
{
  Mt3CudaRow *rows = g_new0 (Mt3CudaRow, N_MANY);

  for (gint i = 0; i < N_MANY; i++)
    rows[i] = (Mt3CudaRow){
        .slot = i * 5 % N_MANY_SLOTS,
        .position = i * 37 % N_MANY_POSITIONS,
        .remaining = i % 11,
    };
  return rows;
}

START_TEST (test_attention_of_many_rows_makes_the_same_bits)
{
  static const int lengths[] = {0, 256, N_MANY_POSITIONS};
  const gsize n = N_MANY * INNER;
  const gsize n_cache = 2 * N_MANY_SLOTS * INNER * N_MANY_POSITIONS;
  const gsize n_squares = N_MANY * D_MODEL / MT3_CUDA_DECODE_SQUARES;
  g_autofree gfloat *query = random_floats (n, 2.0f);
  g_autofree gfloat *cache = random_floats (n_cache, 1.0f);
  g_autofree gfloat *squares = random_floats (n_squares, 4.0f);
  g_autofree Mt3CudaRow *rows = make_many_rows ();
  guint16 *bits[2];
  Mt3CudaDecodeAttention args = {
      .q = to_device (query, n * sizeof (gfloat)),
      .d_model = D_MODEL,
      .cache = cache_values (cache, n_cache, FALSE),
      .cache_slot = 2 * INNER * N_MANY_POSITIONS,
      .n_positions = N_MANY_POSITIONS,
      .length = lengths[_i],
      .n_rows = N_MANY,
      .n_heads = N_HEADS,
      .rows = to_device (rows, N_MANY * sizeof (Mt3CudaRow)),
  };

  for (gsize i = 0; i < n_squares; i++)
    squares[i] = fabsf (squares[i]);
  if (args.length > 0)
    args.squares = to_device (squares, n_squares * sizeof (gfloat));
  for (gint i = 0; i < 2; i++) {
    args.kernel = i + 1;
    args.out = empty_activations (n, FALSE);
    check_cuda (cudaMemset (args.out.hi, 0, n * sizeof (guint16)));
    check_cuda (mt3_cuda_decode_attention (&args, in_order));
    bits[i] = to_host (args.out.hi, n * sizeof (guint16));
  }
  ck_assert_mem_eq (bits[0], bits[1], n * sizeof (guint16));
  g_free (bits[0]);
  g_free (bits[1]);
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
      tests, test_product_is_the_same_bits_in_every_tile, 0, 3);
  tcase_add_loop_test (tests, test_gated_product_is_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (tests, test_added_product_is_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (tests, test_query_key_and_value_are_the_cpus, 0, N_WAYS);
  tcase_add_loop_test (tests, test_self_attention_is_the_cpus, 0, 2);
  tcase_add_loop_test (tests, test_cross_attention_is_the_cpus, 0, 2);
  tcase_add_loop_test (
      tests, test_attention_of_many_rows_makes_the_same_bits, 0, 3);
  tcase_add_loop_test (
      tests, test_tokens_and_log_probabilities_are_the_cpus, 0, 4);
  suite_add_tcase (suite, tests);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
