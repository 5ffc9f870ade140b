/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-cluster.cu: all layers and steps of decoding in one kernel. See
 * cluster.cuh for how its blocks work together.
 */
#include "cluster-attention.cuh"

#if __CUDA_ARCH__ >= 900

/* ------------------------------------------------------------- sampling */

/* The block that has unit u of n; see share_units(). */
static __device__ __forceinline__ int
owner_of (int u, int n)
{
  const int all = n / CTAS, more = n % CTAS;

  return u < more * (all + 1) ? u / (all + 1) : (u - more) / all;
}

/* The embedding of a token of row g.cta, to where it is read. */
template <class S>
static __device__ __forceinline__ void
embed (const Group &g, int token, int position, int remaining)
{
  const float *embedding = g.a.embedding + (size_t) token * S::d;
  const float *place = g.a.positions + (size_t) position * S::d;

  if (g.thread < 8)
    send_all4 (g, &g.fixed.remaining[g.cta], remaining);
#pragma unroll 1
  for (int c = 2 * g.thread; c < S::d; c += 2 * SAMPLE_THREADS) {
    const float v0 = embedding[c] + place[c];
    const float v1 = embedding[c + 1] + place[c + 1];
    const int unit = c / 16;
    float squares = sum_of_squares (v0, v1);
    for (int step = 4; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    send_all4 (g, g.shared<float> (S::squares) + g.cta * S::d / 16 + unit,
        __float_as_uint (squares));
    send_all32 (g,
        g.shared<__half> (S::planes) + g.cta * row_stride (S::d) + unit * 16,
        pack2 (v0, v1), true);
    const int owner = owner_of (unit, S::d / 16);
    send8 (g,
        g.shared<float> (S::x) +
            (g.cta * S::x_units + unit - share_units (owner, S::d).first) * 16 +
            c % 16,
        owner, make_float2 (v0, v1));
  }
}

/* The end of a step for row g.cta, by SAMPLE_THREADS. */
template <class S>
static __device__ __forceinline__ void
sample (const Group &g)
{
  const Mt3CudaRow *row = g.row (g.cta);
  const int position = g.fixed.position[g.cta];
  const int step = position - __ldcg (&row->position);
  const bool overflow = (__ldcg (&row->overflow) |
                            __ldcg (g.a.overflow + g.fixed.slot[g.cta])) != 0;
  const Chosen chosen = choose_token (g.fixed.sample,
      *g.shared<Candidates> (S::candidates), g.shared<float> (S::logits),
      g.a.vocab, row, allowed_tokens (g.a.allowed, row, g.a.vocab), position);
  const int remaining = record_token (
      g.a.records + (size_t) step * g.a.record_stride + g.fixed.row0 + g.cta,
      chosen, g.fixed.remaining[g.cta], overflow);

  embed<S> (g, chosen.token, position + 1, remaining);
}

/* ----------------------------------------------------------------- steps */

static __device__ __forceinline__ int
count_live (const Group &g)
{
  return __popc (g.live);
}

/* Bytes that the block gets: of rows' planes and squares ... */
template <class S>
static __device__ __forceinline__ int
row_bytes (const Group &g)
{
  return count_live (g) * (S::d * 2 + S::d / MT3_CUDA_DECODE_SQUARES * 4);
}

/* ... and of their embeddings. */
template <class S>
static __device__ __forceinline__ int
embedding_bytes (const Group &g)
{
  return row_bytes<S> (g) +
         count_live (g) * (4 + share_units (g.cta, S::d).n * 64);
}

/* Finds out what has tokens to make; whether there is any. */
template <class S>
static __device__ __forceinline__ bool
find_live (Group &g)
{
  const int lane = g.thread % 32;

  g.live = __ballot_sync (0xffffffffu,
      lane < g.fixed.n_rows && g.fixed.remaining[lane % MAX_ROWS] > 0);
  if (g.thread == 0) {
    int pairs = 0;
#pragma unroll 1
    for (int p = g.cta; p < g.fixed.n_rows * S::heads; p += CTAS)
      pairs += g.is_live (p / S::heads);
    g.fixed.n_live_pairs = pairs;
  }
  return g.live != 0;
}

/* Bytes that the block gets in the phase of a product. */
template <class S>
static __device__ __forceinline__ int
product_bytes (const Group &g, int product)
{
  const int of_pairs = g.fixed.n_live_pairs * DIM * 4;

  return product == QKV        ? 3 * of_pairs
         : product == SELF_OUT ? row_bytes<S> (g) + of_pairs
         : product == UP       ? count_live (g) * S::ff * 2
         : product == LOGITS   ? (g.is_live (g.cta) ? g.a.vocab * 4 : 0)
                               : row_bytes<S> (g);
}

/* Attention, behind a product whose phase it ends. */
template <class S>
static __device__ __forceinline__ void
attention_phase (Group &g)
{
  const int first = next_pair<S> (g, g.thread / ATTENTION_THREADS);
  FastAttention attention;

  attention.thread = g.thread % ATTENTION_THREADS;
  load_keys<S> (g, attention, g.phase == 2, 0, first);
  finish_phase (g);
  attention.thread = g.thread % ATTENTION_THREADS;
  expect (g, count_live (g) * S::inner * 2);
  attend<S> (g, attention, g.phase == 3, first);
}

/* A product and the attention behind it, if any. */
template <class S>
static __device__ __forceinline__ void
decode_product (Group &g, int product)
{
  expect (g, product_bytes<S> (g, product));
  multiply<S> (g, product);
  if (g.phase <= 2)
    attention_phase<S> (g);
  finish_phase (g);
}

/* The products of all layers and behind them. One place in the code makes them
 * all: what is written out for each would not fit the instruction caches. */
template <class S>
static __device__ __forceinline__ void
decode_step (Group &g)
{
  g.phase = 0;
#pragma unroll 1
  while (g.phase <= LAYER_PHASES) {
    asm volatile("" : "+r"(g.phase));
    decode_product<S> (g, g.phase <= 2 ? g.phase / 2 : g.phase - 2);
    if (g.phase == LAYER_PHASES) {
      next_layer (g);
      g.phase = current_layer (g) < g.a.n_layers ? 0 : LAYER_PHASES;
    }
  }
}

/* All steps; ends the phase in which the embeddings are sent. */
template <class S>
static __device__ __forceinline__ void
decode_steps (Group &g)
{
  for (;;) {
    finish_phase (g);
    if (!find_live<S> (g))
      break;
    if (g.thread < MAX_ROWS)
      g.fixed.position[g.thread]++;
    decode_step<S> (g);
    expect (g, embedding_bytes<S> (g));
    if (g.is_live (g.cta) && g.thread < SAMPLE_THREADS)
      sample<S> (g);
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
prepare (const Group &g, int rows)
{
  uint64_t *barriers = g.thread < BARRIERS
                           ? &g.fixed.barriers[g.thread]
                           : &g.fixed.weights[g.thread - BARRIERS];
  const int row0 = blockIdx.x / CTAS * rows;
  const int n_rows = min (rows, g.a.n_rows - row0);

  if (g.thread < BARRIERS + N_PRODUCTS)
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(
        shared_address (barriers))
                 : "memory");
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

template <class S>
static __global__ void
__launch_bounds__ (THREADS, 1)
    cluster_kernel (const __grid_constant__ Plan plan)
{
#if __CUDA_ARCH__ >= 900
  __shared__ Fixed fixed;
  Group g = {plan.a, fixed, blockIdx.x % CTAS, threadIdx.x, BARRIERS - 1, 0, 0};

  prepare (g, plan.rows);
  if (g.thread == 0)
    start_ring<S> (g);
  find_live<S> (g);
  expect (g, embedding_bytes<S> (g));
  if (g.is_live (g.cta) && g.thread < SAMPLE_THREADS)
    embed<S> (g, g.row (g.cta)->token, fixed.position[g.cta] + 1,
        fixed.remaining[g.cta]);
  decode_steps<S> (g);
  if (g.thread == 0)
    drain_ring (g);
  meet_cluster ();
#endif
}

typedef void (*Kernel) (const Plan);

/* A kernel for rows in one or two tiles of 8. */
struct Made {
  Kernel kernel[2];
  int shared[2];
};

template <int D_MODEL, int N_HEADS, int D_FF>
static Made
make ()
{
  using Small = Shape<1, D_MODEL, N_HEADS, D_FF>;
  using Large = Shape<2, D_MODEL, N_HEADS, D_FF>;
  return Made{{cluster_kernel<Small>, cluster_kernel<Large>},
      {Small::total, Large::total}};
}

/* The models that there are: MT3's and our own. */
static bool
find_kernel (const Mt3CudaCluster &a, Made *made)
{
  if (a.d_model == 512 && a.n_heads == 6 && a.d_ff == 1024)
    *made = make<512, 6, 1024> ();
  else if (a.d_model == 320 && a.n_heads == 5 && a.d_ff == 640)
    *made = make<320, 5, 640> ();
  else
    return false;
  return a.n_layers <= MT3_CUDA_CLUSTER_LAYERS && a.vocab >= 16 * CTAS &&
         a.vocab <= MAX_UNITS * 16 * CTAS;
}

static cudaLaunchConfig_t
make_config (
    int shared, int n_clusters, cudaLaunchAttribute *attribute, cudaStream_t s)
{
  cudaLaunchConfig_t config = {};
  attribute->id = cudaLaunchAttributeClusterDimension;
  attribute->val.clusterDim.x = CTAS;
  attribute->val.clusterDim.y = 1;
  attribute->val.clusterDim.z = 1;
  config.gridDim = dim3 (CTAS * n_clusters);
  config.blockDim = dim3 (THREADS);
  config.dynamicSmemBytes = shared;
  config.stream = s;
  config.attrs = attribute;
  config.numAttrs = 1;
  return config;
}

static int
count_at_once (Kernel kernel, int shared)
{
  cudaLaunchAttribute attribute;
  const cudaLaunchConfig_t config = make_config (shared, 1, &attribute, 0);
  int n = 0;

  if (cudaFuncSetAttribute (kernel,
          cudaFuncAttributeNonPortableClusterSizeAllowed, 1) != cudaSuccess ||
      cudaFuncSetAttribute (kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
          shared) != cudaSuccess ||
      cudaOccupancyMaxActiveClusters (&n, kernel, &config) != cudaSuccess)
    return 0;
  return n;
}

int
mt3_cuda_cluster_count (const Mt3CudaCluster *args)
{
  int device = 0, major = 0, n = 0;
  Made made;

  cudaGetDevice (&device);
  cudaDeviceGetAttribute (&major, cudaDevAttrComputeCapabilityMajor, device);
  if (major >= 9 && find_kernel (*args, &made))
    n = min (count_at_once (made.kernel[0], made.shared[0]),
        count_at_once (made.kernel[1], made.shared[1]));
  (void) cudaGetLastError ();
  return n;
}

cudaError_t
mt3_cuda_cluster (const Mt3CudaCluster *args, cudaStream_t stream)
{
  const int most = MT3_CUDA_CLUSTER_ROWS;
  const int n_clusters = (args->n_rows + most - 1) / most;
  const int rows = (args->n_rows + n_clusters - 1) / n_clusters;
  const int tiles = rows <= 8 ? 1 : 2;
  const Plan plan = {*args, rows};
  Made made;
  cudaLaunchAttribute attribute;

  if (!find_kernel (*args, &made))
    return cudaErrorInvalidValue;
  const cudaLaunchConfig_t config =
      make_config (made.shared[tiles - 1], n_clusters, &attribute, stream);
  return cudaLaunchKernelEx (&config, made.kernel[tiles - 1], plan);
}
