/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-cluster.cu: all layers and steps of decoding in one kernel. See
 * cluster.cuh for how its blocks work together.
 */
#include "cluster-attention.cuh"

#if __CUDA_ARCH__ >= 900

/* ------------------------------------------------------------- sampling */

/* The embedding of a token of row g.cta, to where it is read. */
static __device__ __forceinline__ void
embed (const Group &g, int token, int position, int remaining)
{
  const int width = g.a.d_model;
  const float *embedding = g.a.embedding + (size_t) token * width;
  const float *place = g.a.positions + (size_t) position * width;

  if (g.thread < 8)
    send_all4 (g, &g.fixed.remaining[g.cta], remaining);
#pragma unroll 1
  for (int c = 2 * g.thread; c < width; c += 2 * SAMPLE_THREADS) {
    const float v0 = embedding[c] + place[c];
    const float v1 = embedding[c + 1] + place[c + 1];
    const int unit = c / 16;
    float squares = sum_of_squares (v0, v1);
    for (int step = 4; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    send_all4 (g, g.shared<float> (g.at.squares) + g.cta * width / 16 + unit,
        __float_as_uint (squares));
    send_all32 (g,
        g.shared<__half> (g.at.planes) + g.cta * row_stride (width) + unit * 16,
        pack2 (v0, v1), true);
    send8 (g,
        g.shared<float> (g.at.x) + (g.cta * g.plan.x_units + unit / CTAS) * 16 +
            c % 16,
        unit % CTAS, make_float2 (v0, v1));
  }
}

/* The end of a step for row g.cta, by SAMPLE_THREADS. */
static __device__ __forceinline__ void
sample (const Group &g)
{
  const Mt3CudaRow *row = g.row (g.cta);
  const int position = g.fixed.position[g.cta];
  const int step = position - __ldcg (&row->position);
  const bool overflow = (__ldcg (&row->overflow) |
                            __ldcg (g.a.overflow + g.fixed.slot[g.cta])) != 0;
  const Chosen chosen = choose_token (g.fixed.sample,
      *g.shared<Candidates> (g.at.parts), g.shared<float> (g.at.logits),
      g.a.vocab, row, allowed_tokens (g.a.allowed, row, g.a.vocab), position);
  const int remaining = record_token (
      g.a.records + (size_t) step * g.a.record_stride + g.fixed.row0 + g.cta,
      chosen, g.fixed.remaining[g.cta], overflow);

  embed (g, chosen.token, position + 1, remaining);
}

/* ----------------------------------------------------------------- steps */

/* Bytes that the block gets: of rows' planes and squares ... */
static __device__ __forceinline__ int
row_bytes (const Group &g)
{
  return g.fixed.n_live *
         (g.a.d_model * 2 + g.a.d_model / MT3_CUDA_DECODE_SQUARES * 4);
}

/* ... and of their embeddings. */
static __device__ __forceinline__ int
embedding_bytes (const Group &g)
{
  const int units = (g.a.d_model / 16 - g.cta + CTAS - 1) / CTAS;
  return row_bytes (g) + g.fixed.n_live * (4 + units * 64);
}

/* Counts what has tokens to make; whether there is any. */
static __device__ __forceinline__ bool
count_live (Group &g)
{
  const int lane = g.thread % 32;
  const bool live = lane < g.fixed.n_rows && g.is_live (lane % MAX_ROWS);
  const uint32_t rows = __ballot_sync (0xffffffffu, live);

  if (g.thread == 0) {
    int pairs = 0;
#pragma unroll 1
    for (int p = g.cta; p < g.fixed.n_rows * g.a.n_heads; p += CTAS)
      pairs += g.is_live (p / g.a.n_heads);
    g.fixed.n_live = __popc (rows);
    g.fixed.n_live_pairs = pairs;
  }
  return rows != 0;
}

/* Attention, behind a product whose phase it ends. */
template <int TILES, bool CROSS>
static __device__ __forceinline__ void
attention_phase (Group &g, const Attend<CROSS> &s)
{
  const int first = next_pair (g, g.thread / ATTENTION_THREADS);
  Batch<false> batch;

  load_first (g, s, batch, first);
  finish_phase (g);
  expect (g, g.fixed.n_live * g.plan.inner * 2);
  attend<TILES, CROSS> (g, s, batch, first);
}

/* @w: of the layer's first product; then of the one behind the layer */
template <int TILES>
static __device__ __forceinline__ void
decode_layer (Group &g, Weights &w)
{
  const Plan &plan = g.plan;
  const Mt3CudaClusterLayer &l = g.a.layers[current_layer (g)];
  const int d = g.a.d_model;

  g.phase = 0;
  expect (g, g.fixed.n_live_pairs * DIM * 12);
  multiply<TILES, MT3_CUDA_DECODE_QKV> (
      g, make_product (g, l.qkv, plan.of_d, 4 * plan.inner), w, g.at.planes);
  {
    attention_phase<TILES> (g, Attend<false>{});
    const Product next =
        make_product (g, l.self_out, plan.of_inner, d + plan.inner);
    load_weights<1> (g, next, w);
    finish_phase (g);
    expect (g, row_bytes (g) + g.fixed.n_live_pairs * DIM * 4);
    multiply<TILES, MT3_CUDA_DECODE_ADD> (g, next, w, g.at.attended);
  }
  {
    attention_phase<TILES> (g, Attend<true>{});
    const Product next = make_product (g, l.cross_out, plan.of_inner, d);
    load_weights<1> (g, next, w);
    finish_phase (g);
    expect (g, row_bytes (g));
    multiply<TILES, MT3_CUDA_DECODE_ADD> (g, next, w, g.at.attended);
  }
  {
    const Product next = make_product (g, l.up, plan.of_d, 2 * g.a.d_ff);
    load_weights<1> (g, next, w);
    finish_phase (g);
    expect (g, g.fixed.n_live * g.a.d_ff * 2);
    multiply<TILES, MT3_CUDA_DECODE_GATED> (g, next, w, g.at.planes);
  }
  {
    const Product next = make_product (g, l.down, plan.of_ff, d);
    load_weights<FF_SLICES> (g, next, w);
    finish_phase (g);
    expect (g, row_bytes (g));
    multiply<TILES, MT3_CUDA_DECODE_ADD, FF_SLICES> (g, next, w, g.at.gated);
  }
  const int layer = current_layer (g);
  const bool last = layer + 1 == g.a.n_layers;
  const Product next =
      make_product (g, last ? g.a.logits : g.a.layers[layer + 1].qkv, plan.of_d,
          last ? g.a.vocab : 4 * plan.inner);
  load_weights<1> (g, next, w);
  finish_phase (g);
  next_layer (g);
}

/* All steps; ends the phase in which the embeddings are sent. */
template <int TILES>
static __device__ __forceinline__ void
decode_steps (Group &g)
{
  const Mt3CudaCluster &a = g.a;

  for (;;) {
    Weights w;

    g.phase = BARRIERS - 1;
    load_weights<1> (
        g, make_product (g, a.layers[0].qkv, g.plan.of_d, 4 * g.plan.inner), w);
    finish_phase (g);
    if (!count_live (g))
      break;
    if (g.thread < MAX_ROWS)
      g.fixed.position[g.thread]++;
#pragma unroll 1
    do
      decode_layer<TILES> (g, w);
    while (current_layer (g) < a.n_layers);
    const bool sampled = g.is_live (g.cta);
    g.phase = LAYER_PHASES;
    expect (g, sampled ? a.vocab * 4 : 0);
    multiply<TILES, MT3_CUDA_DECODE_STORE> (
        g, make_product (g, a.logits, g.plan.of_d, a.vocab), w, g.at.planes);
    finish_phase (g);
    /* The sampler's memory is where this block's other rows are summed. */
    __syncthreads ();
    expect (g, embedding_bytes (g));
    if (sampled && g.thread < SAMPLE_THREADS)
      sample (g);
    next_step (g);
  }
}

/* Meets the other blocks: their shared memory may be used from here on. */
static __device__ __forceinline__ void
meet_cluster ()
{
  asm volatile("barrier.cluster.arrive.release.aligned;\n"
               "barrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}

static __device__ __forceinline__ void
prepare (Group &g)
{
  if (g.thread < BARRIERS)
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(
        shared_address (&g.fixed.barriers[g.thread]))
                 : "memory");
  const int row0 = blockIdx.x / CTAS * g.plan.rows;
  const int n_rows = min (g.plan.rows, g.a.n_rows - row0);
  if (g.thread == 0) {
    g.fixed.row0 = row0;
    g.fixed.n_rows = n_rows;
  }
  if (g.thread < MAX_ROWS) {
    const bool is_row = g.thread < n_rows;
    const Mt3CudaRow *row = g.a.rows + row0 + (is_row ? g.thread : 0);
    g.fixed.slot[g.thread] = row->slot;
    g.fixed.position[g.thread] = row->position - 1;
    g.fixed.remaining[g.thread] =
        is_row ? min (row->remaining, g.a.n_steps) : 0;
  }
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  meet_cluster ();
}

#endif

template <int TILES>
static __global__ void
__launch_bounds__ (THREADS, 1)
    cluster_kernel (const __grid_constant__ Plan plan)
{
#if __CUDA_ARCH__ >= 900
  __shared__ Fixed fixed;
  Group g = {plan, plan.a, plan.at, fixed, (int) blockIdx.x % CTAS,
      (int) threadIdx.x, BARRIERS - 1, 0};

  prepare (g);
  count_live (g);
  expect (g, embedding_bytes (g));
  if (g.is_live (g.cta) && threadIdx.x < SAMPLE_THREADS)
    embed (g, g.row (g.cta)->token, fixed.position[g.cta] + 1,
        fixed.remaining[g.cta]);
  decode_steps<TILES> (g);
  meet_cluster ();
#endif
}

typedef void (*Kernel) (const Plan);

static Kernel
kernel_for (int tile_rows)
{
  return tile_rows <= 8 ? cluster_kernel<1> : cluster_kernel<2>;
}

static cudaLaunchConfig_t
make_config (const Plan &plan, int n_clusters, cudaLaunchAttribute *attribute,
    cudaStream_t stream)
{
  cudaLaunchConfig_t config = {};
  attribute->id = cudaLaunchAttributeClusterDimension;
  attribute->val.clusterDim.x = CTAS;
  attribute->val.clusterDim.y = 1;
  attribute->val.clusterDim.z = 1;
  config.gridDim = dim3 (CTAS * n_clusters);
  config.blockDim = dim3 (THREADS);
  config.dynamicSmemBytes = plan.at.total;
  config.stream = stream;
  config.attrs = attribute;
  config.numAttrs = 1;
  return config;
}

/* Tasks of a warp in a product with n results. */
static int
count_tasks (const Shape &shape, int n)
{
  return (units_of_block (n) + shape.step - 1) / shape.step * shape.slices;
}

static bool
fits (const Mt3CudaCluster &a, int tile_rows)
{
  const Kernel kernel = kernel_for (tile_rows);
  const Plan plan = make_plan (a, tile_rows, tile_rows);
  cudaLaunchAttribute attribute;
  const cudaLaunchConfig_t config = make_config (plan, 1, &attribute, 0);
  const int tasks = largest (largest (count_tasks (plan.of_d, 4 * plan.inner),
                                 count_tasks (plan.of_d, 2 * a.d_ff)),
      largest (count_tasks (plan.of_d, a.vocab),
          largest (count_tasks (plan.of_inner, a.d_model + plan.inner),
              count_tasks (plan.of_ff, a.d_model))));
  int n_clusters = 0;

  return tasks <= TASKS && plan.of_d.slices == 1 && plan.of_inner.slices == 1 &&
         plan.of_ff.slices == FF_SLICES &&
         cudaFuncSetAttribute (kernel,
             cudaFuncAttributeNonPortableClusterSizeAllowed,
             1) == cudaSuccess &&
         cudaFuncSetAttribute (kernel,
             cudaFuncAttributeMaxDynamicSharedMemorySize,
             plan.at.total) == cudaSuccess &&
         cudaOccupancyMaxActiveClusters (&n_clusters, kernel, &config) ==
             cudaSuccess &&
         n_clusters > 0;
}

int
mt3_cuda_cluster_possible (const Mt3CudaCluster *args)
{
  const int all = 16 * CTAS; /* columns that give every block a unit */
  bool possible = args->n_layers <= MT3_CUDA_CLUSTER_LAYERS &&
                  args->n_heads >= 2 && args->d_model >= all &&
                  2 * args->d_ff >= all && args->vocab >= all;
  int device = 0, major = 0;

  cudaGetDevice (&device);
  cudaDeviceGetAttribute (&major, cudaDevAttrComputeCapabilityMajor, device);
  possible = possible && major >= 9 && fits (*args, 8) &&
             fits (*args, MT3_CUDA_CLUSTER_ROWS);
  (void) cudaGetLastError ();
  return possible;
}

cudaError_t
mt3_cuda_cluster (const Mt3CudaCluster *args, cudaStream_t stream)
{
  const int most = MT3_CUDA_CLUSTER_ROWS;
  const int n_clusters = (args->n_rows + most - 1) / most;
  const int rows = (args->n_rows + n_clusters - 1) / n_clusters;
  const int tile_rows = rows <= 8 ? 8 : most;
  const Plan plan = make_plan (*args, rows, tile_rows);
  cudaLaunchAttribute attribute;
  const cudaLaunchConfig_t config =
      make_config (plan, n_clusters, &attribute, stream);

  return cudaLaunchKernelEx (&config, kernel_for (tile_rows), plan);
}
