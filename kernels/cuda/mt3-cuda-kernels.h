/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-cuda-kernels.h: what the CUDA engine computes on the device. Compute
 * only, no policy: the callers in ext/mt3/engine/cuda own memory and order.
 *
 * Conventions of all kernels
 *
 * Precision. The split form keeps each float32 as two float16 planes (see
 * Mt3CudaPlanes) whose products on the tensor cores carry 22 bits, as "3xTF32"
 * does (Ootomo and Yokota, "Recovering single precision accuracy from Tensor
 * Cores", 2022). Prefill and verification have it: prefill takes a tenth of the
 * time, and the encoder's rounding to float16 would make half of all errors.
 * Decode steps have it, or float16 matrices, a NULL `lo`, and float32 sums.
 *
 * RMSNorm. A norm is a factor per row times a scale per column. The scale is
 * folded into the rows of the next weight; the factor comes from partial sums
 * of squares that the producer of the row leaves behind, and is applied by the
 * next matrix product to its result. So no kernel exists only to normalise.
 *
 * Order. Every sum is made in an order that depends on the widths of the
 * network alone, never on how many rows a launch has: a window's result is the
 * same bits in any batch.
 *
 * Weights are [n, k], the transpose of a checkpoint, in one of two layouts: see
 * Mt3CudaLayout.
 *
 * Every launcher is asynchronous on `stream`, safe to capture into a graph,
 * and returns the error of its launch.
 */
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "../token-order.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Widths that the kernels are written for; the engine refuses others. */
#define MT3_CUDA_HEAD_DIM 64
#define MT3_CUDA_WIDTH_MULTIPLE 64 /* of d_model and both d_ff */
#define MT3_CUDA_FRAME_MULTIPLE 128 /* of window_frames */
#define MT3_CUDA_MAX_VOCAB 2048
#define MT3_CUDA_MAX_FFT 2048
#define MT3_CUDA_ROW_TILE 64 /* decode buffers are padded to it */

/* Columns that one partial sum of squares covers. */
#define MT3_CUDA_PREFILL_SQUARES 32
#define MT3_CUDA_DECODE_SQUARES 16

/**
 * Mt3CudaPlanes:
 *
 * A float16 matrix, or a float32 one as hi + lo / 2048 (lo not NULL).
 * Activations of the split form are stored times 1/64, which moves float16's
 * range to 4 million; weights as they are.
 */
typedef struct {
  void *hi;
  void *lo;
} Mt3CudaPlanes;

/**
 * Mt3CudaLaunch:
 * @dependent: start while the kernel before still runs (programmatic dependent
 *   launch); compute capability 9.0 and later only
 * @early: (products of a decode step) let the next kernel start before the one
 *   before has finished. Not the first product: the kernels behind it read,
 *   ahead of their own wait, what the sampler writes
 * @shared_percent: of the memory that a multiprocessor divides between shared
 *   memory and L1 cache; the kernels' choice. 0: the driver's
 */
typedef struct {
  cudaStream_t stream;
  int dependent;
  int early;
  int shared_percent;
} Mt3CudaLaunch;

/* ------------------------------------------------------------ pack.cu */

/**
 * Mt3CudaLayout:
 * @MT3_CUDA_ROW_MAJOR: k contiguous; prefill, and where the copy engine brings
 *   the decoder its weights
 * @MT3_CUDA_PANELS: as a warp of the decoder loads it: for each 16 rows and 32
 *   terms 1 KiB, in which lane l finds the terms 8 (l % 4) .. + 7 of rows l / 4
 *   (first half) and l / 4 + 8
 */
typedef enum {
  MT3_CUDA_ROW_MAJOR,
  MT3_CUDA_PANELS,
} Mt3CudaLayout;

/**
 * Mt3CudaPack:
 * @in: [k, n] float32 on the device, as a checkpoint stores it
 * @scale: [k] norm scale folded into the rows, or NULL
 * @out: weight [.., k]; rows row0 + row_step * column are written
 */
typedef struct {
  const float *in;
  const float *scale;
  int k, n;
  Mt3CudaPlanes out;
  Mt3CudaLayout layout;
  int row0, row_step;
} Mt3CudaPack;

cudaError_t mt3_cuda_pack (const Mt3CudaPack *args, cudaStream_t stream);

/* How mt3_cuda_decode_gemm() takes weights on the current device, in split form
 * or in float16. */
Mt3CudaLayout mt3_cuda_decode_layout (int split);

/**
 * mt3_cuda_compose:
 *
 * out [k, n] = a [k, m] diag (scale [m]) b [m, n], float32 on the device: two
 * products and the norm scale between them as one matrix.
 */
cudaError_t mt3_cuda_compose (const float *a, const float *scale,
    const float *b, int k, int m, int n, float *out, cudaStream_t stream);

/* ------------------------------------------------------------- mel.cu */

/**
 * Mt3CudaMel:
 *
 * Log-mel of `n_windows` windows: n_windows * frames rows.
 * @samples: window w reads samples + slots[w] * window_samples
 * @n_frames: [n_windows] frames that exist; later rows become 0
 * @hann: [fft] periodic window
 * @twiddle: [fft] exp (-2 pi i j / fft), real and imaginary part by turns
 * @mel_start, @mel_offset: [n_mels], [n_mels + 1]: bin of the first weight of
 *   a filter, and where its weights lie in @mel_weight
 * @out: [n_windows * frames, n_mels]
 * @overflow: [slots] cleared for the windows' slots
 */
typedef struct {
  const float *samples;
  const int *slots;
  const int *n_frames;
  int n_windows, frames, hop, fft, n_mels;
  const float *hann;
  const float *twiddle;
  const int *mel_start;
  const int *mel_offset;
  const float *mel_weight;
  Mt3CudaPlanes out;
  int *overflow;
} Mt3CudaMel;

cudaError_t mt3_cuda_mel (const Mt3CudaMel *args, cudaStream_t stream);

/* ------------------------------------------------------------ gemm.cu */

typedef enum {
  MT3_CUDA_ADD, /* x = addend + a w^T, its planes and sums of squares */
  MT3_CUDA_STORE, /* planes of the normalised product */
  MT3_CUDA_GATED, /* planes of gelu (even column) * odd column: [m, n / 2] */
  MT3_CUDA_CROSS_KV, /* into the slots' cross caches */
  MT3_CUDA_FLOATS, /* x = the normalised product */
} Mt3CudaEpilogue;

/**
 * Mt3CudaGemm:
 *
 * The matrix products of prefill and verification: a [m, k] times w [n, k]
 * transposed, both in split form. m a multiple of 128, n of 64, k of 32; n of
 * FLOATS of 32, when w has memory for a multiple of 64 rows.
 * @squares: [m, k / 32] partial sums of squares of a's rows when a norm lies
 *   before this product, else NULL
 * @addend: [addend_rows, n], row r % addend_rows is added (ADD); may be @x
 * @x: [m, n] float32 result (ADD, FLOATS)
 * @out: planes of the result (all but CROSS_KV and FLOATS)
 * @out_squares: [m, n / 32] (ADD)
 * @cache: (CROSS_KV) layout [slot][layer][head][key, value][frame][64];
 *   columns are [layer][key, value][head][64]
 * @cache_half: whether @cache is of float16, or else of float32
 * @cache_lo: NULL, or what float16 leaves of each, times 2048
 * @frames: rows of a window, or of a block of a text
 * @slots: [m / frames] slot of each window, or number of each block
 * @overflow: [slots] set to 1 for a window or block in which a value left
 *   float16
 * @tile: 0: chosen by the launcher; 1 .. MT3_CUDA_GEMM_TILES: for tests, 1 is
 *   that of any device
 */
typedef struct {
  Mt3CudaPlanes a, w;
  const float *squares;
  int m, n, k;
  Mt3CudaEpilogue epilogue;
  const float *addend;
  int addend_rows;
  float *x;
  Mt3CudaPlanes out;
  float *out_squares;
  void *cache;
  size_t cache_slot;
  int cache_half;
  void *cache_lo;
  int n_heads;
  int frames;
  const int *slots;
  int *overflow;
  int tile;
} Mt3CudaGemm;

#define MT3_CUDA_GEMM_TILES 4

cudaError_t mt3_cuda_gemm (const Mt3CudaGemm *args, Mt3CudaLaunch launch);

/* ------------------------------------------------------- attention.cu */

/* What a query sees. */
typedef enum {
  MT3_CUDA_ENCODER, /* all frames of its window */
  MT3_CUDA_CAUSAL, /* its text up to itself */
  MT3_CUDA_CROSS, /* all keys of its slot's cross cache */
} Mt3CudaAttentionKind;

/* Rows of texts come in blocks, each of one text. */
#define MT3_CUDA_BLOCK_ROWS 128

/**
 * Mt3CudaBlock:
 * @first: row of the text's first token, a multiple of MT3_CUDA_BLOCK_ROWS; -1:
 *   padding
 * @slot: whose text it is
 */
typedef struct {
  int32_t first;
  int32_t slot;
} Mt3CudaBlock;

/**
 * Mt3CudaAttention:
 *
 * Attention of many queries at once, in the split form, without scaling.
 * @qkv: [rows, 3 * n_heads * 64]; of CROSS the queries alone, [rows, n_heads *
 *   64]
 * @out: [rows, n_heads * 64]
 * @n_windows: (ENCODER) of @frames rows each
 * @frames: keys that a query sees (but for CAUSAL), a multiple of 64
 * @blocks: (CAUSAL, CROSS) [n_blocks] on the device; padding has no result
 * @cache: (CROSS) the layer's part of the cross cache of slot 0, layout [slot]
 *   [layer][head][key, value][frame][64]. Unlike activations not times 1/64
 * @cache_slot: elements from one slot to the next, of @n_slots
 * @any_device: by the kernel of any device; for tests
 */
typedef struct {
  Mt3CudaAttentionKind kind;
  Mt3CudaPlanes qkv, out;
  int n_windows, frames, n_heads;
  const Mt3CudaBlock *blocks;
  int n_blocks;
  Mt3CudaPlanes cache;
  size_t cache_slot;
  int n_slots;
  int any_device;
} Mt3CudaAttention;

cudaError_t mt3_cuda_attention (
    const Mt3CudaAttention *args, Mt3CudaLaunch launch);

/* ------------------------------------------------------------- decode */

/* Tokens of a text that a step may feed: the next one and what a draft network
 * expects behind it. */
#define MT3_CUDA_MOST_PLACES 4

/**
 * Mt3CudaRow: one row of a decode batch: a slot and where it stands. The
 * engine writes it before a run of steps; the sampler advances it.
 *
 * A step of `places` tokens a row has matrices of as many rows for each: number
 * row * places + place, at position + place. It makes one token at least, and
 * one more for each draft that is what it would have made.
 * @position: of @token, which is fed next
 * @drafts: tokens that may come behind it; any are permitted
 * @remaining: tokens that may still be made; 0: finished, or padding
 * @n_right: places of the last step that count
 * @step: made in this run
 * @overflow: bit i: a value left float16 at place i
 * @constrained: only the slot's allowed tokens may be chosen
 * @index: of the window in its stream, for the draw
 * @order, @state: of the row's text; only read by Mt3CudaSample.ordered
 */
typedef struct {
  int32_t slot;
  int32_t position;
  int32_t token;
  int32_t drafts[MT3_CUDA_MOST_PLACES - 1];
  int32_t remaining;
  int32_t n_right;
  int32_t step;
  int32_t overflow;
  int32_t constrained;
  int32_t top_k;
  float top_p;
  float temperature;
  uint64_t seed;
  uint64_t index;
  Mt3TokenOrder order;
  Mt3TokenState state;
} Mt3CudaRow;

#define MT3_CUDA_OVERFLOW 1 /* a value left float16, or is not a number */
#define MT3_CUDA_DOUBT 2 /* another token, permitted or not, is as probable */
#define MT3_CUDA_NONE 4 /* the draft before was not what came */
#define MT3_CUDA_FLAG_BITS 4

/* What one row made at one place of a step. @flags: and, above
 * MT3_CUDA_FLAG_BITS, the draft that the next step has at this place. */
typedef struct {
  float log_prob;
  uint16_t token;
  uint16_t flags;
} Mt3CudaRecord;

typedef enum {
  MT3_CUDA_DECODE_ADD, /* x += product; planes and sums of squares of x */
  MT3_CUDA_DECODE_QKV, /* q to @y; k and v to the slot's cache */
  MT3_CUDA_DECODE_GATED, /* planes of gelu (even) * odd: [rows, n / 2] */
  MT3_CUDA_DECODE_STORE, /* y = product */
} Mt3CudaDecodeEpilogue;

/**
 * Mt3CudaDecodeGemm:
 *
 * The matrix products of a decode step; k a multiple of 64, n of 32. The
 * weights are as mt3_cuda_decode_layout() says, or for the kernel of @tile.
 *
 * The query of cross-attention has no product of its own. It is linear in x
 * but for the norm's factor, and x is the sum of what self-attention read and
 * what it added: so its first part is made with QKV, its second with the ADD
 * behind self-attention (by mt3_cuda_compose()d weights), and the factor is
 * applied by the attention. Each of the two products has `inner` further
 * columns for that, which go to @cross_query.
 *
 * @squares: [rows, k / 16] when a norm lies before this product, else NULL
 * @y: [rows, y_stride] float32 (STORE, and q of QKV)
 * @x: [rows, x_width] float32 (ADD)
 * @out_squares: [rows, x_width / 16] (ADD)
 * @cross_query: [rows, inner] float32; set from columns 3 * inner on (QKV),
 *   added to from column x_width on (ADD)
 * @cache: the layer's part of the self cache of slot 0 (QKV), layout [slot]
 *   [layer][head][key, value][position][64]
 * @cache_slot: elements from one slot to the next
 * @n_positions: that the cache has room for
 * @n_rows: of @a
 * @rows: states of the rows, each of @places of @a
 * @drafts: of a draft network: nobody asks what leaves float16
 * @tile: 0: chosen by the launcher; 1 .. MT3_CUDA_DECODE_TILES: for tests
 */
typedef struct {
  Mt3CudaPlanes a, w;
  const float *squares;
  int n_rows, places, n, k;
  Mt3CudaDecodeEpilogue epilogue;
  Mt3CudaRow *rows;
  int drafts;
  float *y;
  int y_stride;
  float *x;
  int x_width;
  Mt3CudaPlanes out;
  float *out_squares;
  float *cross_query;
  void *cache;
  size_t cache_slot;
  int n_positions;
  int inner;
  int tile;
} Mt3CudaDecodeGemm;

#define MT3_CUDA_DECODE_TILES 13

cudaError_t mt3_cuda_decode_gemm (
    const Mt3CudaDecodeGemm *args, Mt3CudaLaunch launch);

/**
 * Mt3CudaDecodeAttention:
 *
 * One query a row, place and head against the slot's cache.
 * @q: [rows * places, n_heads * 64] float32
 * @squares: [rows, d_model / 16] when q still lacks the factor of the norm
 * @n_slots: of the cache
 * @length: keys of the cross cache; 0: self attention, position + place + 1
 *   keys
 * @places: of a row; more than one in float16 only
 * @out: planes [rows * places, n_heads * 64]
 * @kernel: 0: chosen by the launcher; for tests, 1: that of any device, 2: that
 *   of many rows, in float16, of compute capability 9.0
 */
typedef struct {
  const float *q;
  const float *squares;
  int d_model;
  const void *cache;
  size_t cache_slot;
  int n_slots;
  int n_positions;
  int length;
  int n_rows, places, n_heads;
  const Mt3CudaRow *rows;
  Mt3CudaPlanes out;
  int kernel;
} Mt3CudaDecodeAttention;

cudaError_t mt3_cuda_decode_attention (
    const Mt3CudaDecodeAttention *args, Mt3CudaLaunch launch);

/**
 * Mt3CudaEmbed:
 *
 * x = embedding + position of each row's token, for products of prefill's kind.
 * @rows: their `token` and `position` are read
 * @x: [n_rows, d_model]; @out: its planes; @out_squares: [n_rows, d_model / 32]
 */
typedef struct {
  const Mt3CudaRow *rows;
  int n_rows;
  const float *embedding; /* [vocab, d_model] */
  const float *positions; /* [positions, d_model] */
  int d_model;
  float *x;
  Mt3CudaPlanes out;
  float *out_squares;
} Mt3CudaEmbed;

cudaError_t mt3_cuda_embed (const Mt3CudaEmbed *args, Mt3CudaLaunch launch);

/**
 * Mt3CudaSample:
 *
 * Chooses the next token of each row and place from its logits and records it.
 * With one place it advances the row, too, and leaves the embedding of the
 * token for the next step; with more of them mt3_cuda_draft() does. With NULL
 * @logits only the embeddings of the row's token and drafts are made (first
 * step).
 * @logits: [rows * places, vocab]
 * @records: [steps][rows][places]; what comes after a row's end is not written
 * @embedding: [vocab, d_model]; @positions: [positions, d_model]
 * @overflow: [slots] of prefill
 * @allowed: [slots][(vocab + 31) / 32] bits of the tokens that constrained rows
 *   may have
 * @ordered: rows may have an order
 */
typedef struct {
  const float *logits;
  int vocab;
  Mt3CudaRow *rows;
  int n_rows, places;
  Mt3CudaRecord *records;
  const float *embedding;
  const float *positions;
  int d_model;
  const int *overflow;
  const uint32_t *allowed;
  int ordered;
  float *x;
  Mt3CudaPlanes out;
  float *out_squares;
} Mt3CudaSample;

cudaError_t mt3_cuda_sample (const Mt3CudaSample *args, Mt3CudaLaunch launch);

/**
 * Mt3CudaDraft:
 *
 * What lies between a step of several places and the next, around a draft
 * network's passes. Its first pass has all places of the step, each with what
 * the decoder has of it and the token that came of it. Further ones have one,
 * with what the pass before has, and the token that came of that.
 *
 * With @place 0, before the first pass: finds how many places count, up to the
 * first draft that is not what was made of the token before it; the others'
 * records get MT3_CUDA_NONE. Leaves what the pass starts from.
 * Else, behind pass number @place: chooses the token for that place of the next
 * step, and leaves its embedding there and what the next pass starts from.
 * Behind the first one the row advances, and has its own token embedded.
 * @logits: (but for place 0) [rows, vocab]; of all places behind the first pass
 * @records: of this run's steps; those of the last get the drafts, too
 * @x, @out, @out_squares: of the next step, as Mt3CudaSample: [rows * places]
 * @state, @state_squares: (place 1) [rows, d_model], of the last place that
 *   counts, from @pass and @pass_squares, [rows * places, d_model]
 * @draft_x: what a pass starts with
 */
typedef struct {
  const float *logits;
  int vocab;
  Mt3CudaRow *rows;
  int n_rows, places, place;
  Mt3CudaRecord *records;
  const float *embedding;
  const float *positions;
  int d_model;
  int ordered;
  float *x;
  Mt3CudaPlanes out;
  float *out_squares;
  Mt3CudaPlanes pass, state;
  float *pass_squares, *state_squares;
  float *draft_x;
} Mt3CudaDraft;

cudaError_t mt3_cuda_draft (const Mt3CudaDraft *args, Mt3CudaLaunch launch);

#ifdef __cplusplus
}
#endif
