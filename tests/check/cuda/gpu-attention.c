/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-attention.c: the encoder's self-attention against float64, by the kernel
 * of any device and by the device's own, for two numbers of heads; that a row's
 * bits are the same in every batch; and what it costs. Runs on a machine with a
 * GPU.
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
#define MOST_ROWS (MOST_WINDOWS * 256)
#define N_CHECKED 24 /* queries, spread over the rows */

/* Relative to the root of the mean square of the result. */
#define TOLERANCE 5e-6

static const struct {
  gint n_windows, frames;
} batches[] = {{1, 128}, {3, 128}, {1, 256}, {4, 256}, {MOST_WINDOWS, 256}};

typedef struct {
  Mt3CudaAttention args;
  gint width; /* of query, key and value together */
  gfloat *qkv; /* [width, MOST_ROWS] */
  guint n_failed;
} Test;

static void
test_init (Test *self, gint n_heads)
{
  const gsize n = (gsize) MOST_ROWS * n_heads * DIM;

  self->width = 3 * n_heads * DIM;
  /* Scores of about 10, as the network has them. */
  self->qkv = random_floats ((gsize) self->width * MOST_ROWS, 2.0f);
  self->args = (Mt3CudaAttention){
      .qkv = activation_rows (self->qkv, self->width, MOST_ROWS),
      .out = empty_activations (n, TRUE),
      .n_heads = n_heads,
  };
}

static void
test_clear (Test *self)
{
  check_cuda (cudaFree (self->args.qkv.hi));
  check_cuda (cudaFree (self->args.qkv.lo));
  check_cuda (cudaFree (self->args.out.hi));
  check_cuda (cudaFree (self->args.out.lo));
  g_free (self->qkv);
}

/* The vector of `column` and the 63 after it, of one row. */
static void
read_vector (const Test *self, gint column, gint row, gdouble *out)
{
  for (gint i = 0; i < DIM; i++)
    out[i] = self->qkv[(gsize) (column + i) * MOST_ROWS + row];
}

/* One head of one query in float64; a maximum of scores is not needed. */
static void
attend (const Test *self, gint head, gint row, gdouble *out)
{
  const gint inner = self->args.n_heads * DIM, frames = self->args.frames;
  const gint window = row / frames * frames;
  gdouble q[DIM], k[DIM], v[DIM], sum = 0.0;

  read_vector (self, head * DIM, row, q);
  memset (out, 0, DIM * sizeof (gdouble));
  for (gint key = window; key < window + frames; key++) {
    gdouble score = 0.0;

    read_vector (self, inner + head * DIM, key, k);
    read_vector (self, 2 * inner + head * DIM, key, v);
    for (gint i = 0; i < DIM; i++)
      score += q[i] * k[i];
    sum += exp (score);
    for (gint i = 0; i < DIM; i++)
      out[i] += exp (score) * v[i];
  }
  for (gint i = 0; i < DIM; i++)
    out[i] /= sum;
}

static gdouble
relative_error (const Test *self, const gfloat *result)
{
  const Mt3CudaAttention *a = &self->args;
  const gint n_rows = a->n_windows * a->frames;
  gdouble error = 0.0, norm = 0.0;

  for (gint i = 0; i < N_CHECKED; i++) {
    const gint row = (gint) ((gint64) i * (n_rows - 1) / (N_CHECKED - 1));
    const gint head = i % a->n_heads;
    gdouble expected[DIM];

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

static void
expect (Test *self, gboolean ok, const gchar *what)
{
  if (ok)
    return;
  printf ("%d heads, %d windows of %d: %s: FAILED\n", self->args.n_heads,
      self->args.n_windows, self->args.frames, what);
  self->n_failed++;
}

static void
run_kernel (Test *self, gboolean any_device, gint most_windows)
{
  const gint inner = self->args.n_heads * DIM;
  g_autofree gfloat *of_128 = NULL;
  g_autofree gfloat *of_256 = NULL;

  self->args.any_device = any_device;
  for (guint i = 0; i < G_N_ELEMENTS (batches); i++) {
    const gsize n = (gsize) batches[i].n_windows * batches[i].frames * inner;
    gfloat **first = batches[i].frames == 256 ? &of_256 : &of_128;
    g_autofree gfloat *result = NULL;
    gdouble error;

    if (batches[i].n_windows > most_windows)
      continue;
    self->args.n_windows = batches[i].n_windows;
    self->args.frames = batches[i].frames;
    check_cuda (cudaMemset (self->args.out.hi, 0xff, 2 * n));
    check_cuda (mt3_cuda_attention (&self->args, (Mt3CudaLaunch){0}));
    check_cuda (cudaDeviceSynchronize ());
    result = read_activations (self->args.out, n);
    error = relative_error (self, result);
    expect (self, error <= TOLERANCE, "error");
    if (*first == NULL)
      *first = g_steal_pointer (&result);
    else
      expect (self,
          memcmp (*first, result,
              (gsize) batches[i].frames * inner * sizeof (gfloat)) == 0,
          "other bits than alone");
    printf ("%d heads, %s kernel, %2d windows of %d: %7.1f us, error %.1e\n",
        self->args.n_heads, any_device ? "any device's" : "the device's",
        batches[i].n_windows, batches[i].frames,
        time_launch (launch_attention, self), error);
  }
}

int
main (int argc, char **argv)
{
  const gint most_windows = argc > 1 ? atoi (argv[1]) : MOST_WINDOWS;
  static const gint n_heads[] = {6, 5};
  guint n_failed = 0;

  for (guint i = 0; i < G_N_ELEMENTS (n_heads); i++) {
    Test test = {0};

    test_init (&test, n_heads[i]);
    run_kernel (&test, TRUE, most_windows);
    run_kernel (&test, FALSE, most_windows);
    test_clear (&test);
    n_failed += test.n_failed;
  }
  printf ("%u failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
