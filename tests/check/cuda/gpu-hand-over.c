/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-hand-over.c: kernels of a decode step that are started before the values
 * that they read exist: see "Hand-over" in mt3-cuda-kernels.h. Each must wait
 * for them, make the bits that it makes of values that are there, and make
 * absent what the step before made. Runs on a machine with a GPU: see
 * tests/benchmarks/gpu.sh.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "device-arrays.h"

#define HEAD MT3_CUDA_HEAD_DIM
#define N_HEADS 3
#define INNER (N_HEADS * HEAD)
#define D_MODEL 192
#define VOCAB 1504
#define N_POSITIONS 400 /* more than attention loads at once */
#define MAX_ROWS 64
#define MAX_PARTS 6

/* Less than a tile has, more than one has, and all. */
static const gint row_counts[] = {1, 13, MAX_ROWS};

/* Tests loop over both precisions, all row counts and tiles. */
#define N_WAYS (2 * 3 * (MT3_CUDA_DECODE_TILES + 1))

typedef struct {
  gboolean exact;
  gint n_rows, tile;
} Way;

static Way
way (gint i)
{
  return (Way){i % 2, row_counts[i / 2 % 3], i / 6};
}

/* Memory that a kernel reads or writes. */
typedef struct {
  gpointer device, values;
  gsize bytes;
} Part;

/* @state: what a run changes and begins with */
typedef struct {
  cudaError_t (*launch) (gconstpointer args, Mt3CudaLaunch launch);
  gconstpointer args;
  Part state;
  Part inputs[MAX_PARTS], outputs[MAX_PARTS];
  guint n_inputs, n_outputs;
} Kernel;

static cudaError_t
launch_product (gconstpointer args, Mt3CudaLaunch launch)
{
  return mt3_cuda_decode_gemm (args, launch);
}

static cudaError_t
launch_attention (gconstpointer args, Mt3CudaLaunch launch)
{
  return mt3_cuda_decode_attention (args, launch);
}

static cudaError_t
launch_sample (gconstpointer args, Mt3CudaLaunch launch)
{
  return mt3_cuda_sample (args, launch);
}

static void
add_part (Part *parts, guint *n, gpointer device, gsize bytes)
{
  if (device != NULL)
    parts[(*n)++] = (Part){device, NULL, bytes};
}

static void
reads (Kernel *kernel, gconstpointer device, gsize bytes)
{
  add_part (kernel->inputs, &kernel->n_inputs, (gpointer) device, bytes);
}

/* Outputs lie ABSENT bytes before what they make absent. */
#define ABSENT ((gint64) 1 << 20)

static gpointer
output (Kernel *kernel, gsize bytes)
{
  gpointer device = device_bytes (2 * ABSENT);

  add_part (kernel->outputs, &kernel->n_outputs, device, bytes);
  return device;
}

static Mt3CudaPlanes
output_planes (Kernel *kernel, gsize n, gboolean exact)
{
  return (Mt3CudaPlanes){
      output (kernel, 2 * n), exact ? output (kernel, 2 * n) : NULL};
}

static gpointer
random_on_device (gsize n)
{
  g_autofree gfloat *values = random_floats (n, 4.0f);

  return to_device (values, n * sizeof (gfloat));
}

/* Sums of squares: above zero. */
static gpointer
squares_on_device (gsize n)
{
  g_autofree gfloat *values = random_floats (n, 4.0f);

  for (gsize i = 0; i < n; i++)
    values[i] = 1.0f + values[i] * values[i];
  return to_device (values, n * sizeof (gfloat));
}

static Mt3CudaPlanes
random_planes (Kernel *kernel, gsize n, gboolean exact)
{
  g_autofree gfloat *values = random_floats (n, 4.0f);
  const Mt3CudaPlanes planes = activations (values, n, exact);

  reads (kernel, planes.hi, 2 * n);
  reads (kernel, planes.lo, 2 * n);
  return planes;
}

/* The second row has ended, where there is one. */
static Mt3CudaRow *
rows_on_device (gint n_rows)
{
  Mt3CudaRow rows[MAX_ROWS] = {0};

  for (gint i = 0; i < n_rows; i++)
    rows[i] = (Mt3CudaRow){.slot = n_rows - 1 - i,
        .position = (i * 131 + 300) % N_POSITIONS,
        .token = 3 + i,
        .remaining = i == 1 ? 0 : 5};
  return to_device (rows, sizeof rows);
}

static gboolean
all_absent (const guint8 *bytes, gsize n)
{
  gsize i = 0;

  while (i < n && bytes[i] == (MT3_CUDA_ABSENT & 0xff))
    i++;
  return i == n;
}

static void
check_outputs (const Kernel *kernel)
{
  for (guint i = 0; i < kernel->n_outputs; i++) {
    const Part *part = &kernel->outputs[i];
    g_autofree guint8 *got = to_host (part->device, 2 * ABSENT);

    ck_assert_mem_eq (got, part->values, part->bytes);
    ck_assert (all_absent (got + ABSENT, part->bytes));
  }
}

/* Runs with values that are there, for what is expected; then before they
 * are. */
static void
check_hand_over (Kernel *kernel)
{
  Mt3CudaLaunch launch = {NULL, FALSE};
  cudaStream_t late;

  check_cuda (
      cudaStreamCreateWithFlags (&launch.stream, cudaStreamNonBlocking));
  check_cuda (cudaStreamCreateWithFlags (&late, cudaStreamNonBlocking));
  check_cuda (cudaDeviceSynchronize ());
  if (kernel->state.bytes > 0)
    kernel->state.values = to_host (kernel->state.device, kernel->state.bytes);
  check_cuda (kernel->launch (kernel->args, launch));
  for (guint i = 0; i < kernel->n_outputs; i++) {
    Part *part = &kernel->outputs[i];

    part->values = to_host (part->device, part->bytes);
    check_cuda (cudaMemset (part->device, 0, 2 * ABSENT));
  }
  for (guint i = 0; i < kernel->n_inputs; i++) {
    Part *part = &kernel->inputs[i];

    part->values = to_host (part->device, part->bytes);
    check_cuda (cudaMemset (part->device, MT3_CUDA_ABSENT & 0xff, part->bytes));
  }
  check_cuda (cudaMemcpy (kernel->state.device, kernel->state.values,
      kernel->state.bytes, cudaMemcpyHostToDevice));
  check_cuda (cudaDeviceSynchronize ());

  check_cuda (kernel->launch (kernel->args, launch));
  for (guint i = 0; i < kernel->n_inputs; i++) {
    const Part *part = &kernel->inputs[i];

    g_usleep (1000);
    ck_assert_int_eq (cudaStreamQuery (launch.stream), cudaErrorNotReady);
    check_cuda (cudaMemcpyAsync (
        part->device, part->values, part->bytes, cudaMemcpyHostToDevice, late));
    check_cuda (cudaStreamSynchronize (late));
  }
  check_outputs (kernel);
}

static Mt3CudaDecodeGemm
product (Kernel *kernel, Way how, gint k, gint n)
{
  g_autofree gfloat *w = random_floats ((gsize) k * n, 0.2f);

  kernel->launch = launch_product;
  return (Mt3CudaDecodeGemm){
      .a = random_planes (kernel, (gsize) how.n_rows * k, how.exact),
      .w = weight_panels (w, k, n, how.exact),
      .n_rows = how.n_rows,
      .n = n,
      .k = k,
      .awaits = TRUE,
      .absent = ABSENT,
      .rows = rows_on_device (how.n_rows),
      .inner = INNER,
      .tile = how.tile,
  };
}

/* With terms for more than one round of the warps. */
START_TEST (test_sum_waits_for_product_and_addend)
{
  const Way how = way (_i);
  const gsize n = (gsize) how.n_rows * D_MODEL;
  const gsize n_query = (gsize) how.n_rows * INNER * sizeof (gfloat);
  Kernel kernel = {0};
  Mt3CudaDecodeGemm args = product (&kernel, how, 1024, D_MODEL + INNER);

  args.epilogue = MT3_CUDA_DECODE_ADD;
  args.addend = random_on_device (n);
  args.query_addend = random_on_device (n_query / sizeof (gfloat));
  reads (&kernel, args.addend, n * sizeof (gfloat));
  reads (&kernel, args.query_addend, n_query);
  args.x = output (&kernel, n * sizeof (gfloat));
  args.x_width = D_MODEL;
  args.out = output_planes (&kernel, n, how.exact);
  args.out_squares =
      output (&kernel, n / MT3_CUDA_DECODE_SQUARES * sizeof (gfloat));
  args.cross_query = output (&kernel, n_query);
  kernel.args = &args;
  check_hand_over (&kernel);
}
END_TEST

START_TEST (test_gated_product_waits_for_its_norm)
{
  const Way how = way (_i);
  const gsize n_squares =
      (gsize) how.n_rows * D_MODEL / MT3_CUDA_DECODE_SQUARES;
  Kernel kernel = {0};
  Mt3CudaDecodeGemm args = product (&kernel, how, D_MODEL, 256);

  args.epilogue = MT3_CUDA_DECODE_GATED;
  args.squares = squares_on_device (n_squares);
  reads (&kernel, args.squares, n_squares * sizeof (gfloat));
  args.out = output_planes (&kernel, (gsize) how.n_rows * 128, how.exact);
  kernel.args = &args;
  check_hand_over (&kernel);
}
END_TEST

/* And hands over what it appends to the cache, of rows that have ended too. */
START_TEST (test_query_key_and_value_are_handed_over)
{
  const Way how = way (_i);
  const gsize n = (gsize) how.n_rows * INNER;
  const gsize n_squares =
      (gsize) how.n_rows * D_MODEL / MT3_CUDA_DECODE_SQUARES;
  Kernel kernel = {0};
  Mt3CudaDecodeGemm args = product (&kernel, how, D_MODEL, 4 * INNER);

  args.epilogue = MT3_CUDA_DECODE_QKV;
  args.squares = squares_on_device (n_squares);
  reads (&kernel, args.squares, n_squares * sizeof (gfloat));
  args.y = output (&kernel, n * sizeof (gfloat));
  args.y_stride = INNER;
  args.cross_query = output (&kernel, n * sizeof (gfloat));
  args.fresh = output (&kernel, 2 * n * (how.exact ? sizeof (gfloat) : 2));
  args.cache_slot = 2 * INNER * N_POSITIONS;
  args.n_positions = N_POSITIONS;
  args.cache = device_bytes (how.n_rows * args.cache_slot * sizeof (gfloat));
  kernel.args = &args;
  check_hand_over (&kernel);
}
END_TEST

/* @length: of the cross cache; 0: to the tokens, of which the last is handed
 * over. */
static void
check_attention (Way how, gint length)
{
  const gsize n = (gsize) how.n_rows * INNER, n_cache = 2 * n * N_POSITIONS;
  const gsize n_squares =
      (gsize) how.n_rows * D_MODEL / MT3_CUDA_DECODE_SQUARES;
  g_autofree gfloat *cache = random_floats (n_cache, 1.0f);
  g_autofree gfloat *fresh = random_floats (2 * n, 1.0f);
  Kernel kernel = {.launch = launch_attention};
  Mt3CudaDecodeAttention args = {
      .q = random_on_device (n),
      .d_model = D_MODEL,
      .cache = cache_values (cache, n_cache, how.exact),
      .cache_slot = 2 * INNER * N_POSITIONS,
      .n_positions = N_POSITIONS,
      .length = length,
      .n_rows = how.n_rows,
      .n_heads = N_HEADS,
      .awaits = TRUE,
      .absent = ABSENT,
      .rows = rows_on_device (how.n_rows),
      .out = output_planes (&kernel, n, how.exact),
  };

  reads (&kernel, args.q, n * sizeof (gfloat));
  if (length > 0) {
    args.squares = squares_on_device (n_squares);
    reads (&kernel, args.squares, n_squares * sizeof (gfloat));
  } else {
    args.fresh = cache_values (fresh, 2 * n, how.exact);
    reads (&kernel, args.fresh, 2 * n * (how.exact ? sizeof (gfloat) : 2));
  }
  kernel.args = &args;
  check_hand_over (&kernel);
}

START_TEST (test_self_attention_waits_for_query_key_and_value)
{
  check_attention (way (_i), 0);
}
END_TEST

START_TEST (test_cross_attention_waits_for_query_and_norm)
{
  check_attention (way (_i), N_POSITIONS);
}
END_TEST

/* And hands over embeddings, of rows that have ended too. */
START_TEST (test_sampler_waits_for_logits)
{
  const Way how = way (_i);
  const gsize n = (gsize) how.n_rows * D_MODEL;
  const gsize n_logits = (gsize) how.n_rows * VOCAB;
  Kernel kernel = {.launch = launch_sample};
  Mt3CudaSample args = {
      .logits = random_on_device (n_logits),
      .vocab = VOCAB,
      .n_rows = how.n_rows,
      .records = device_bytes (how.n_rows * sizeof (Mt3CudaRecord)),
      .embedding = random_on_device (VOCAB * D_MODEL),
      .positions = random_on_device ((N_POSITIONS + 1) * D_MODEL),
      .d_model = D_MODEL,
      .overflow = to_device ((gint[MAX_ROWS]){0}, MAX_ROWS * sizeof (gint)),
      .awaits = TRUE,
      .absent = ABSENT,
      .x = output (&kernel, n * sizeof (gfloat)),
      .out = output_planes (&kernel, n, how.exact),
      .out_squares =
          output (&kernel, n / MT3_CUDA_DECODE_SQUARES * sizeof (gfloat)),
  };

  args.rows = rows_on_device (how.n_rows);
  reads (&kernel, args.logits, n_logits * sizeof (gfloat));
  kernel.state = (Part){args.rows, NULL, how.n_rows * sizeof (Mt3CudaRow)};
  kernel.args = &args;
  check_hand_over (&kernel);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("gpu-hand-over");
  TCase *tests = tcase_create ("kernels");
  SRunner *runner = srunner_create (suite);
  int failed;

  /* The device is opened once. A kernel that waits for ever is ended by
   * whoever runs this. */
  srunner_set_fork_status (runner, CK_NOFORK);
  tcase_add_loop_test (tests, test_sum_waits_for_product_and_addend, 0, N_WAYS);
  tcase_add_loop_test (tests, test_gated_product_waits_for_its_norm, 0, N_WAYS);
  tcase_add_loop_test (
      tests, test_query_key_and_value_are_handed_over, 0, N_WAYS);
  tcase_add_loop_test (
      tests, test_self_attention_waits_for_query_key_and_value, 0, 6);
  tcase_add_loop_test (
      tests, test_cross_attention_waits_for_query_and_norm, 0, 6);
  tcase_add_loop_test (tests, test_sampler_waits_for_logits, 0, 6);
  suite_add_tcase (suite, tests);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
