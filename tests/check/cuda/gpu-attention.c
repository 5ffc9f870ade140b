/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-attention.c: attention of many queries against float64: the encoder's,
 * and of texts to themselves and to the encoder's output; by the kernel of any
 * device and by the device's own, for two numbers of heads; that a row's bits
 * are the same in every batch; and what it costs. Runs on a machine with a GPU.
 *
 * usage: gpu-attention [WINDOWS]
 *
 * WINDOWS: of the largest batch (32).
 */
#include "mt3-cuda-kernels.h"
#include "device-arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIM 64
#define MOST_WINDOWS 32
#define FRAMES 256
#define MOST_ROWS (MOST_WINDOWS * FRAMES)
#define BLOCK MT3_CUDA_BLOCK_ROWS
#define MOST_BLOCKS (MOST_ROWS / BLOCK)
#define N_CHECKED 24 /* queries, spread over the rows */

/* The cross caches: every slot has two layers, of which the last is read. */
#define N_SLOTS 3
#define N_LAYERS 2

/* Relative to the root of the mean square of the result. */
#define TOLERANCE 5e-6

/* Windows of the encoder, or (frames 0) texts: of so many blocks each, up to
 * the first 0, as often as windows says; -1: a block of padding. */
typedef struct {
  gint n_windows, frames;
  gint blocks[6];
} Batch;

static const Batch windows[] = {
    {1, 128}, {3, 128}, {1, FRAMES}, {4, FRAMES}, {MOST_WINDOWS, FRAMES}};
static const Batch texts[] = {{1, 0, {1}}, {1, 0, {2, -1, 1}},
    {1, 0, {8, 3, -1, 1, -1}}, {MOST_WINDOWS / 2, 0, {1, 3}}};

typedef struct {
  Mt3CudaAttention args;
  gint width; /* of a row of the queries */
  gint n_rows;
  gfloat *qkv; /* [width, MOST_ROWS] */
  gfloat *cache; /* [slot][layer][head][key, value][frame][DIM] */
  Mt3CudaBlock blocks[MOST_BLOCKS];
  guint n_failed;
} Test;

static void
test_init (Test *self, Mt3CudaAttentionKind kind, gint n_heads)
{
  const gsize n = (gsize) MOST_ROWS * n_heads * DIM;

  self->width = (kind == MT3_CUDA_CROSS ? 1 : 3) * n_heads * DIM;
  /* Scores of about 10, as the network has them. */
  self->qkv = random_floats ((gsize) self->width * MOST_ROWS, 2.0f);
  self->args = (Mt3CudaAttention){
      .kind = kind,
      .qkv = activation_rows (self->qkv, self->width, MOST_ROWS),
      .out = empty_activations (n, TRUE),
      .n_heads = n_heads,
  };
  if (kind != MT3_CUDA_ENCODER)
    self->args.blocks = device_bytes (sizeof self->blocks);
  if (kind == MT3_CUDA_CROSS) {
    const gsize layer = (gsize) n_heads * 2 * FRAMES * DIM;
    Mt3CudaPlanes *cache = &self->args.cache;

    self->cache = random_floats (N_SLOTS * N_LAYERS * layer, 2.0f);
    *cache = cache_planes (self->cache, N_SLOTS * N_LAYERS * layer);
    cache->hi = (guint16 *) cache->hi + (N_LAYERS - 1) * layer;
    cache->lo = (guint16 *) cache->lo + (N_LAYERS - 1) * layer;
    self->args.cache_slot = N_LAYERS * layer;
    self->args.n_slots = N_SLOTS;
  }
}

static void
test_clear (Test *self)
{
  check_cuda (cudaFree (self->args.qkv.hi));
  check_cuda (cudaFree (self->args.qkv.lo));
  check_cuda (cudaFree (self->args.out.hi));
  check_cuda (cudaFree (self->args.out.lo));
  g_free (self->qkv);
  g_free (self->cache);
}

static void
add_text (Test *self, gint n_blocks, gint slot)
{
  const gint first = self->args.n_blocks;

  for (gint i = 0; i < ABS (n_blocks); i++)
    self->blocks[self->args.n_blocks++] = (Mt3CudaBlock){
        n_blocks < 0 ? -1 : first * BLOCK, n_blocks < 0 ? 0 : slot};
}

static void
set_batch (Test *self, const Batch *batch)
{
  Mt3CudaAttention *a = &self->args;

  a->n_windows = batch->n_windows;
  a->frames = batch->frames > 0 ? batch->frames : FRAMES;
  self->n_rows = batch->n_windows * batch->frames;
  if (batch->frames > 0)
    return;
  a->n_blocks = 0;
  for (gint i = 0; i < batch->n_windows; i++)
    for (guint j = 0; batch->blocks[j] != 0; j++)
      add_text (self, batch->blocks[j], (1 + (gint) j) % N_SLOTS);
  self->n_rows = a->n_blocks * BLOCK;
  check_cuda (cudaMemcpy ((gpointer) a->blocks, self->blocks,
      sizeof self->blocks, cudaMemcpyHostToDevice));
}

/* The vector of `column` and the 63 after it, of one row. */
static void
read_vector (const Test *self, gint column, gint row, gdouble *out)
{
  for (gint i = 0; i < DIM; i++)
    out[i] = self->qkv[(gsize) (column + i) * MOST_ROWS + row];
}

/* A key and its value in a slot's cache. */
static void
read_cached (
    const Test *self, gint slot, gint head, gint key, gdouble *k, gdouble *v)
{
  const gfloat *at =
      self->cache +
      ((((gsize) slot * N_LAYERS + N_LAYERS - 1) * self->args.n_heads + head) *
              2 * FRAMES +
          key) *
          DIM;

  for (gint i = 0; i < DIM; i++) {
    k[i] = at[i];
    v[i] = at[FRAMES * DIM + i];
  }
}

/* The keys that a query sees: rows, or frames of its slot. */
static void
find_keys (const Test *self, gint row, gint *first, gint *end)
{
  const Mt3CudaAttention *a = &self->args;

  *first = 0;
  *end = FRAMES;
  if (a->kind == MT3_CUDA_ENCODER) {
    *first = row / a->frames * a->frames;
    *end = *first + a->frames;
  } else if (a->kind == MT3_CUDA_CAUSAL) {
    *first = self->blocks[row / BLOCK].first;
    *end = row + 1;
  }
}

/* One head of one query in float64; a maximum of scores is not needed. */
static void
attend (const Test *self, gint head, gint row, gdouble *out)
{
  const gint inner = self->args.n_heads * DIM;
  gdouble q[DIM], k[DIM], v[DIM], sum = 0.0;
  gint first, end;

  find_keys (self, row, &first, &end);
  read_vector (self, head * DIM, row, q);
  memset (out, 0, DIM * sizeof (gdouble));
  for (gint key = first; key < end; key++) {
    gdouble score = 0.0;

    if (self->args.kind == MT3_CUDA_CROSS) {
      read_cached (self, self->blocks[row / BLOCK].slot, head, key, k, v);
    } else {
      read_vector (self, inner + head * DIM, key, k);
      read_vector (self, 2 * inner + head * DIM, key, v);
    }
    for (gint i = 0; i < DIM; i++)
      score += q[i] * k[i];
    sum += exp (score);
    for (gint i = 0; i < DIM; i++)
      out[i] += exp (score) * v[i];
  }
  for (gint i = 0; i < DIM; i++)
    out[i] /= sum;
}

static gboolean
is_padding (const Test *self, gint row)
{
  return self->args.kind != MT3_CUDA_ENCODER &&
         self->blocks[row / BLOCK].first < 0;
}

static gdouble
relative_error (const Test *self, const gfloat *result)
{
  const Mt3CudaAttention *a = &self->args;
  gdouble error = 0.0, norm = 0.0;

  for (gint i = 0; i < N_CHECKED; i++) {
    const gint row = (gint) ((gint64) i * (self->n_rows - 1) / (N_CHECKED - 1));
    const gint head = i % a->n_heads;
    gdouble expected[DIM];

    if (is_padding (self, row))
      continue;
    attend (self, head, row, expected);
    for (gint j = 0; j < DIM; j++) {
      const gsize at = ((gsize) row * a->n_heads + head) * DIM + j;
      const gdouble e = result[at] - expected[j];

      error += e * e;
      norm += expected[j] * expected[j];
    }
  }
  return sqrt (error / norm);
}

/* us, the fastest of three rounds */
static cudaError_t
launch_attention (gconstpointer data)
{
  const Test *self = data;

  return mt3_cuda_attention (&self->args, (Mt3CudaLaunch){0});
}

static const gchar *const kind_names[] = {"encoder", "causal", "cross"};

static void
expect (Test *self, gboolean ok, const gchar *what)
{
  if (ok)
    return;
  printf ("%s, %d heads, %d rows: %s: FAILED\n", kind_names[self->args.kind],
      self->args.n_heads, self->n_rows, what);
  self->n_failed++;
}

/* @alone: the first rows of a batch of this length of windows, or NULL, to be
 * set. */
static void
run_batch (Test *self, const Batch *batch, gfloat **alone)
{
  const gint inner = self->args.n_heads * DIM;
  const gint same = batch->frames > 0 ? batch->frames : BLOCK;
  g_autofree gfloat *result = NULL;
  gdouble error;
  gsize n;

  set_batch (self, batch);
  n = (gsize) self->n_rows * inner;
  check_cuda (cudaMemset (self->args.out.hi, 0xff, 2 * n));
  check_cuda (mt3_cuda_attention (&self->args, (Mt3CudaLaunch){0}));
  check_cuda (cudaDeviceSynchronize ());
  result = read_activations (self->args.out, n);
  error = relative_error (self, result);
  expect (self, error <= TOLERANCE, "error");
  if (*alone == NULL)
    *alone = g_steal_pointer (&result);
  else
    expect (self,
        memcmp (*alone, result, (gsize) same * inner * sizeof (gfloat)) == 0,
        "other bits than alone");
  printf ("%s, %d heads, %s kernel, %4d rows: %7.1f us, error %.1e\n",
      kind_names[self->args.kind], self->args.n_heads,
      self->args.any_device ? "any device's" : "the device's", self->n_rows,
      time_launch (launch_attention, self), error);
}

static void
run_kernel (Test *self, gboolean any_device, gint most_windows)
{
  const gboolean encodes = self->args.kind == MT3_CUDA_ENCODER;
  const Batch *batches = encodes ? windows : texts;
  const guint n = encodes ? G_N_ELEMENTS (windows) : G_N_ELEMENTS (texts);
  g_autofree gfloat *of_128 = NULL;
  g_autofree gfloat *of_256 = NULL;

  self->args.any_device = any_device;
  for (guint i = 0; i < n; i++)
    if (batches[i].n_windows <= most_windows)
      run_batch (
          self, &batches[i], batches[i].frames == FRAMES ? &of_256 : &of_128);
}

int
main (int argc, char **argv)
{
  const gint most_windows = argc > 1 ? atoi (argv[1]) : MOST_WINDOWS;
  static const gint n_heads[] = {6, 5};
  guint n_failed = 0;

  for (guint i = 0; i < 3 * G_N_ELEMENTS (n_heads); i++) {
    Test test = {0};

    test_init (&test, (Mt3CudaAttentionKind) (i % 3), n_heads[i / 3]);
    run_kernel (&test, TRUE, most_windows);
    run_kernel (&test, FALSE, most_windows);
    test_clear (&test);
    n_failed += test.n_failed;
  }
  printf ("%u failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
