/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-gemm.c: the products of prefill and verification against float64, at the
 * widths of the published network and of our own, in every tile and for odd
 * numbers of row tiles; and that a row's bits are the same in every tile of a
 * kernel and in every batch. Then what each costs. Runs on a machine with a
 * GPU.
 *
 * usage: gpu-gemm [WINDOWS [PRODUCT]]
 *
 * WINDOWS: of the largest batch (32). With 4 there are blocks that stay for
 * several tiles, and time enough for a tool that watches every access.
 * PRODUCT: the number of one, to be checked alone
 */
#include "mt3-cuda-kernels.h"
#include "device-arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_CHECKED 24 /* rows, spread over the matrix */
#define MOST_WINDOWS 32

/* Relative to the root of the mean square of the result: 22 bits a factor,
 * and float32 sums that the tensor cores cut off. */
#define TOLERANCE 4e-6

typedef struct {
  const gchar *name;
  Mt3CudaEpilogue epilogue;
  gint n, k;
  gboolean normalised;
} Product;

static const Product products[] = {
    {"projection", MT3_CUDA_ADD, 512, 512, FALSE},
    {"query, key, value", MT3_CUDA_STORE, 1152, 512, TRUE},
    {"attention's out", MT3_CUDA_ADD, 512, 384, FALSE},
    {"gate and up", MT3_CUDA_GATED, 2048, 512, TRUE},
    {"down", MT3_CUDA_ADD, 512, 1024, FALSE},
    {"cross key, value", MT3_CUDA_CROSS_KV, 6144, 512, TRUE},
    {"own q, k, v", MT3_CUDA_STORE, 960, 320, TRUE},
    {"own out", MT3_CUDA_ADD, 320, 320, FALSE},
    {"own gate and up", MT3_CUDA_GATED, 1536, 320, TRUE},
    {"own down", MT3_CUDA_ADD, 320, 768, FALSE},
    {"own cross", MT3_CUDA_CROSS_KV, 1920, 320, TRUE},
    {"logits", MT3_CUDA_FLOATS, 1536, 512, TRUE},
    {"own logits", MT3_CUDA_FLOATS, 1504, 320, TRUE},
};

typedef struct {
  gint n_windows, frames;
} Batch;

static const Batch batches[] = {
    {1, 128}, {3, 128}, {1, 256}, {4, 256}, {MOST_WINDOWS, 256}};

/* Whether x has its result. */
static gboolean
has_floats (const Product *p)
{
  return p->epilogue == MT3_CUDA_ADD || p->epilogue == MT3_CUDA_FLOATS;
}

/* One product on the device; host copies of what goes in. */
typedef struct {
  const Product *product;
  Mt3CudaGemm args;
  gfloat *a, *w, *addend, *squares;
  gfloat *device_in;
  gint most_windows;
  guint n_failed;
} Test;

/* With memory for the last columns of a tile, as the engine's weights have. */
static Mt3CudaPlanes
pack_weights (const Test *self, gint k, gint n)
{
  const gint padded = (n + 63) / 64 * 64;
  g_autofree gfloat *w = g_new0 (gfloat, (gsize) k * padded);

  for (gint t = 0; t < k; t++)
    memcpy (w + (gsize) t * padded, self->w + (gsize) t * n,
        (gsize) n * sizeof (gfloat));
  return weight_rows (w, k, padded);
}

static void
test_init (Test *self, const Product *p)
{
  const gint most = MOST_WINDOWS * 256;
  const gsize size = (gsize) most * p->n;
  gint slots[MOST_WINDOWS];
  Mt3CudaGemm *args = &self->args;

  self->product = p;
  self->a = random_floats ((gsize) p->k * most, 8.0f);
  self->w = random_floats ((gsize) p->k * p->n, 0.1f);
  self->squares = random_floats ((gsize) most * p->k / 32, 500.0f);
  for (gsize i = 0; i < (gsize) most * p->k / 32; i++)
    self->squares[i] = fabsf (self->squares[i]);
  *args = (Mt3CudaGemm){
      .a = activation_rows (self->a, p->k, most),
      .w = pack_weights (self, p->k, p->n),
      .n = p->n,
      .k = p->k,
      .epilogue = p->epilogue,
      .n_heads = p->k == 320 ? 5 : 6,
  };
  if (p->normalised)
    args->squares =
        to_device (self->squares, (gsize) most * p->k / 32 * sizeof (gfloat));
  if (p->epilogue == MT3_CUDA_ADD) {
    self->addend = random_floats (size, 8.0f);
    args->addend = to_device (self->addend, size * sizeof (gfloat));
    args->addend_rows = most;
    args->out_squares = device_bytes (size / 32 * sizeof (gfloat));
  }
  if (has_floats (p))
    args->x = device_bytes (size * sizeof (gfloat));
  if (p->epilogue == MT3_CUDA_CROSS_KV)
    args->cache = device_bytes (size * sizeof (gfloat));
  if (p->epilogue == MT3_CUDA_CROSS_KV)
    args->cache_lo = device_bytes (size * 2);
  else if (p->epilogue != MT3_CUDA_FLOATS)
    args->out = empty_activations (size, TRUE);
  for (gint i = 0; i < MOST_WINDOWS; i++)
    slots[i] = MOST_WINDOWS - 1 - i;
  args->slots = device_bytes (sizeof slots);
  check_cuda (cudaMemcpy (
      (gpointer) args->slots, slots, sizeof slots, cudaMemcpyHostToDevice));
  args->overflow = device_bytes (sizeof slots);
}

static void
test_clear (Test *self)
{
  const Mt3CudaGemm *a = &self->args;
  const void *blocks[] = {a->a.hi, a->a.lo, a->w.hi, a->w.lo, a->squares,
      a->addend, a->x, a->out.hi, a->out.lo, a->out_squares, a->cache,
      a->cache_lo, a->slots, a->overflow};

  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    check_cuda (cudaFree ((gpointer) blocks[i]));
  g_free (self->a);
  g_free (self->w);
  g_free (self->addend);
  g_free (self->squares);
}

static void
set_batch (Test *self, const Batch *batch)
{
  self->args.m = batch->n_windows * batch->frames;
  self->args.frames = batch->frames;
  self->args.cache_slot = (gsize) batch->frames * self->product->n;
}

/* Columns of the result. */
static gint
width_of (const Product *p)
{
  return p->epilogue == MT3_CUDA_GATED ? p->n / 2 : p->n;
}

static gdouble
gelu (gdouble x)
{
  return 0.5 * x *
         (1 + tanh (0.79788456080286536 * (x + 0.044715 * x * x * x)));
}

/* The result in float64. */
static void
expect_row (const Test *self, gint row, gdouble *out)
{
  const Product *p = self->product;
  const gint most = MOST_WINDOWS * 256;
  g_autofree gdouble *sums = g_new0 (gdouble, p->n);
  gdouble squares = 0.0, factor = 1.0;

  for (gint t = 0; t < p->k; t++)
    for (gint c = 0; c < p->n; c++)
      sums[c] += (gdouble) self->a[(gsize) t * most + row] *
                 self->w[(gsize) t * p->n + c];
  for (gint i = 0; i < p->k / 32; i++)
    squares += self->squares[(gsize) row * (p->k / 32) + i];
  if (p->normalised)
    factor = 1.0 / sqrt (squares / p->k + 1e-6);
  for (gint c = 0; c < p->n; c++) {
    sums[c] *= factor;
    if (p->epilogue == MT3_CUDA_ADD)
      sums[c] += self->addend[(gsize) row * p->n + c];
    if (p->epilogue != MT3_CUDA_GATED)
      out[c] = sums[c];
    else if (c % 2 == 1)
      out[c / 2] = gelu (sums[c - 1]) * sums[c];
  }
}

/* Where the used slots' caches have (row, column); the windows have the last
 * slots, backwards. */
static gsize
cache_offset (const Test *self, gint row, gint column)
{
  const Mt3CudaGemm *a = &self->args;
  const gint inner = a->n_heads * 64;
  const gint layer = column / (2 * inner), kv = column / inner % 2;
  const gint slot = (a->m - 1 - row) / a->frames;

  return slot * a->cache_slot +
         ((((gsize) layer * a->n_heads + column % inner / 64) * 2 + kv) *
                 a->frames +
             row % a->frames) *
             64 +
         column % 64;
}

/* The used slots' caches, of float32 or of float16 in two planes. */
static gfloat *
read_caches (const Test *self, gsize n)
{
  const Mt3CudaGemm *a = &self->args;
  const gsize first = (gsize) (MOST_WINDOWS - a->m / a->frames) * a->cache_slot;
  const Mt3CudaPlanes planes = {
      (guint16 *) a->cache + first, (guint16 *) a->cache_lo + first};

  return a->cache_half ? read_cache_planes (planes, n)
                       : read_cache ((gfloat *) a->cache + first, n, TRUE);
}

/* The result [m, width]. */
static gfloat *
read_result (Test *self)
{
  const Mt3CudaGemm *a = &self->args;
  const gsize n = (gsize) a->m * width_of (self->product);
  gfloat *out = NULL;
  g_autofree gfloat *cache = NULL;

  if (has_floats (self->product))
    return to_host (a->x, n * sizeof (gfloat));
  if (a->epilogue != MT3_CUDA_CROSS_KV)
    return read_activations (a->out, n);
  out = g_new (gfloat, n);
  cache = read_caches (self, n);
  for (gint row = 0; row < a->m; row++)
    for (gint c = 0; c < a->n; c++)
      out[(gsize) row * a->n + c] = cache[cache_offset (self, row, c)];
  return out;
}

static void
expect (Test *self, gboolean ok, const gchar *what, gdouble value)
{
  if (ok)
    return;
  printf ("%s, tile %d, %d rows: %s (%g): FAILED\n", self->product->name,
      self->args.tile, self->args.m, what, value);
  self->n_failed++;
}

/* The planes and sums of squares that go with x. */
static void
check_add (Test *self, const gfloat *x)
{
  const Mt3CudaGemm *a = &self->args;
  const gsize n = (gsize) a->m * a->n;
  g_autofree gfloat *planes = read_activations (a->out, n);
  g_autofree gfloat *squares = g_new (gfloat, n / 32);
  gdouble worst = 0.0, worst_squares = 0.0;

  check_cuda (cudaMemcpy (squares, a->out_squares, n / 32 * sizeof (gfloat),
      cudaMemcpyDeviceToHost));
  for (gsize i = 0; i < n; i += 32) {
    gdouble sum = 0.0;

    for (gsize j = i; j < i + 32; j++) {
      sum += (gdouble) x[j] * x[j];
      if (!(fabs (planes[j] - x[j]) <= worst * (fabs (x[j]) + 1e-2)))
        worst = fabs (planes[j] - x[j]) / (fabs (x[j]) + 1e-2);
    }
    if (!(fabs (squares[i / 32] / sum - 1) <= worst_squares))
      worst_squares = fabs (squares[i / 32] / sum - 1);
  }
  expect (self, worst <= 5e-7, "planes differ from x", worst);
  expect (self, worst_squares <= 1e-6, "sums of squares", worst_squares);
}

static gdouble
relative_error (const Test *self, const gfloat *result)
{
  const gint width = width_of (self->product);
  g_autofree gdouble *row = g_new (gdouble, width);
  gdouble error = 0.0, norm = 0.0;

  for (gint i = 0; i < N_CHECKED; i++) {
    const gint at = (gint) ((gint64) i * (self->args.m - 1) / (N_CHECKED - 1));

    expect_row (self, at, row);
    for (gint c = 0; c < width; c++) {
      const gdouble e = result[(gsize) at * width + c] - row[c];

      error += e * e;
      norm += row[c] * row[c];
    }
  }
  return sqrt (error / norm);
}

static void
forget_result (Test *self)
{
  const Mt3CudaGemm *a = &self->args;
  const gsize n = (gsize) MOST_WINDOWS * 256 * a->n;

  if (a->x != NULL)
    check_cuda (cudaMemset (a->x, 0xff, n * sizeof (gfloat)));
  if (a->cache != NULL) {
    check_cuda (cudaMemset (a->cache, 0xff, n * sizeof (gfloat)));
    check_cuda (cudaMemset (a->cache_lo, 0xff, 2 * n));
  }
  if (a->out.hi != NULL) {
    check_cuda (cudaMemset (a->out.hi, 0xff, 2 * n));
    check_cuda (cudaMemset (a->out.lo, 0xff, 2 * n));
  }
}

/* us, the fastest of three rounds */
static cudaError_t
launch_product (gconstpointer data)
{
  const Test *self = data;

  return mt3_cuda_gemm (&self->args, (Mt3CudaLaunch){0});
}

/* @alone: the first rows of a result that this tile must repeat, or NULL, to
 * be set. */
static void
run_tile (Test *self, gint tile, gfloat **alone)
{
  const gint width = width_of (self->product);

  self->args.tile = tile;
  for (guint i = 0; i < G_N_ELEMENTS (batches); i++) {
    g_autofree gfloat *result = NULL;
    gdouble error, us;

    if (batches[i].n_windows > self->most_windows)
      continue;
    set_batch (self, &batches[i]);
    forget_result (self);
    check_cuda (mt3_cuda_gemm (&self->args, (Mt3CudaLaunch){0}));
    check_cuda (cudaDeviceSynchronize ());
    result = read_result (self);
    error = relative_error (self, result);
    expect (self, error <= TOLERANCE, "error", error);
    if (self->product->epilogue == MT3_CUDA_ADD)
      check_add (self, result);
    if (*alone == NULL)
      *alone = g_steal_pointer (&result);
    else
      expect (self,
          memcmp (*alone, result, 128u * width * sizeof (gfloat)) == 0,
          "other bits than alone", 0);
    if (batches[i].frames != 256)
      continue;
    us = time_launch (launch_product, self);
    printf ("%-18s tile %d %2d windows %8.1f us %6.0f TFLOP/s  error %.1e\n",
        self->product->name, tile, batches[i].n_windows, us,
        6e-6 * self->args.m * self->args.n * self->args.k / us, error);
  }
}

static void
run_tiles (Test *test, gboolean hopper)
{
  g_autofree gfloat *any = NULL;
  g_autofree gfloat *hoppers = NULL;

  run_tile (test, 1, &any);
  for (gint tile = 2; hopper && tile <= MT3_CUDA_GEMM_TILES; tile++)
    run_tile (test, tile, &hoppers);
}

static guint
test_product (const Product *product, gboolean hopper, gint most_windows)
{
  Test test = {.most_windows = most_windows};

  test_init (&test, product);
  run_tiles (&test, hopper);
  if (product->epilogue == MT3_CUDA_CROSS_KV) {
    test.args.cache_half = TRUE;
    run_tiles (&test, hopper);
  }
  test_clear (&test);
  return test.n_failed;
}

int
main (int argc, char **argv)
{
  const gint most_windows = argc > 1 ? atoi (argv[1]) : MOST_WINDOWS;
  const guint first = argc > 2 ? (guint) atoi (argv[2]) : 0;
  const guint end = argc > 2 ? first + 1 : G_N_ELEMENTS (products);
  struct cudaDeviceProp properties;
  guint n_failed = 0;

  if (end > G_N_ELEMENTS (products)) {
    fprintf (stderr, "gpu-gemm: there is no product %s\n", argv[2]);
    return 2;
  }
  check_cuda (cudaGetDeviceProperties (&properties, 0));
  printf ("%s\n", properties.name);
  for (guint i = first; i < end; i++)
    n_failed += test_product (&products[i],
        properties.major == 9 && properties.minor == 0, most_windows);
  printf ("%u failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
