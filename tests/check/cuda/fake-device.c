/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-device.h"

#include <string.h>

#include "mt3-cuda-kernels.h"

#define EOS 1
#define FIRST_TOKEN 3
#define LONG 40
#define LONGEST 160
#define POSITIONS 512

FakeDevice fake_device;

/* Slots' windows on the device: a hash of the samples, by the slot's flag. And
 * what their self caches have: FakeText.fed of each position. */
static GHashTable *contents, *caches;

/* The slots' flags, by the rows that are sampled. */
static GHashTable *flags_of;

typedef enum { OP_COPY, OP_WAIT, OP_MEL, OP_SAMPLE, OP_DRAFT } OpKind;

typedef struct {
  OpKind kind;
  void *to;
  const void *from;
  size_t bytes;
  cudaStream_t awaited; /* until so much of it was carried out */
  guint64 until;
  Mt3CudaMel mel;
  Mt3CudaSample sample;
  Mt3CudaDraft draft;
} Op;

/* @captured: what a capture has so far, or NULL. @n_run: operations that were
 * carried out, of all that ever came. */
struct CUstream_st {
  GArray *ops;
  GArray *captured;
  guint64 n_added, n_run;
};

struct CUevent_st {
  cudaStream_t stream;
  guint64 at;
  guint n_asked;
};

struct CUgraph_st {
  GArray *ops;
};

struct CUgraphExec_st {
  GArray *ops;
};

static GPtrArray *streams;

void
fake_device_reset (void)
{
  g_clear_pointer (&contents, g_hash_table_unref);
  g_clear_pointer (&caches, g_hash_table_unref);
  g_clear_pointer (&flags_of, g_hash_table_unref);
  g_clear_pointer (&streams, g_ptr_array_unref);
  contents = g_hash_table_new (NULL, NULL);
  caches = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  flags_of = g_hash_table_new (NULL, NULL);
  streams = g_ptr_array_new ();
  fake_device = (FakeDevice){.driver = 13000,
      .runtime = 13000,
      .n_devices = 1,
      .capability = 90,
      .patience = 100};
}

static void run_until (cudaStream_t stream, guint64 at);

/* Some stream does something now and then, if they are restless. */
static void
run_some (void)
{
  static guint32 state = 1;
  cudaStream_t stream;

  state = state * 1664525u + 1013904223u;
  if (!fake_device.restless || streams->len == 0 || state >> 30 != 0)
    return;
  stream = g_ptr_array_index (streams, (state >> 16) % streams->len);
  run_until (stream, MIN (stream->n_added, stream->n_run + (state >> 24) % 32));
}

static cudaError_t
outcome (cudaError_t failure)
{
  run_some ();
  return ++fake_device.n_calls == fake_device.fail_at ? failure : cudaSuccess;
}

/* ------------------------------------------------------------- kernels */

static guint32
hash_samples (const gfloat *samples, gsize n)
{
  const guint8 *bytes = (const guint8 *) samples;
  guint32 hash = 2166136261u;

  for (gsize i = 0; i < n * sizeof (gfloat); i++)
    hash = (hash ^ bytes[i]) * 16777619u;
  return hash;
}

FakeText
fake_text_start (const gfloat *samples, gsize n)
{
  return (FakeText){hash_samples (samples, n), 0, 0};
}

void
fake_text_feed (FakeText *text, guint16 token)
{
  text->fed = (text->fed ^ token) * 2654435761u + text->window;
  text->fed ^= text->fed >> 15;
  text->n_fed++;
}

/* One in eight is longer than others, and than a block of rows. */
static guint
length_of (guint32 window)
{
  return window % 8 == 0 ? 100 + window / 8 % LONGEST : window % LONG;
}

/* Where float16 chooses another token. */
static gboolean
slips (const FakeText *text)
{
  return (text->window / 7 + text->n_fed) % 11 == 4;
}

/* Whether float16's own probabilities show where. */
gboolean
fake_text_is_doubted (const FakeText *text)
{
  return text->window / 3 % 2 == 0;
}

/* A draft ends too early at times, or too late. */
guint16
fake_text_token (const FakeText *text, gboolean drafted)
{
  const gboolean slip = drafted && slips (text);

  if (text->n_fed > length_of (text->window))
    return slip ? FIRST_TOKEN : EOS;
  if (slip && text->n_fed % 3 == 1)
    return EOS;
  return (guint16) (FIRST_TOKEN + text->fed % 1000 + (slip ? 1 : 0));
}

gfloat
fake_text_log_prob (const FakeText *text, gboolean drafted)
{
  return (drafted ? -2.0f : -1.0f) * (gfloat) (1 + text->fed % 1000);
}

static void
run_mel (const Mt3CudaMel *mel)
{
  const gsize window = (gsize) mel->frames * mel->hop;

  for (int i = 0; i < mel->n_windows; i++) {
    const int slot = mel->slots[i];
    const gfloat *samples = mel->samples + slot * window;
    const gsize n = (gsize) mel->n_frames[i] * mel->hop;

    mel->overflow[slot] = samples[0] > FAKE_DEVICE_LOUDEST;
    g_hash_table_insert (contents, &mel->overflow[slot],
        GUINT_TO_POINTER (hash_samples (samples, n)));
  }
}

static gboolean
permits (const Mt3CudaSample *args, const Mt3CudaRow *row, guint16 token)
{
  const uint32_t *bits =
      args->allowed + (gsize) row->slot * ((args->vocab + 31) / 32);

  return (!row->constrained || (bits[token / 32] >> token % 32 & 1)) &&
         (!args->ordered || !mt3_token_order_exists (&row->order) ||
             mt3_token_order_permits (&row->order, &row->state, token, EOS));
}

/* The next token that the row may have, or the end where there is none. */
static guint16
permitted_token (
    const Mt3CudaSample *args, const Mt3CudaRow *row, guint16 token)
{
  for (int i = 0; i < args->vocab; i++)
    if (permits (args, row, (guint16) ((token + i) % args->vocab)))
      return (guint16) ((token + i) % args->vocab);
  return EOS;
}

/* The text of a row, from its slot's self cache, where it leaves its own token;
 * a row of a whole text goes on from the row before. */
static FakeText
text_of (
    const Mt3CudaSample *args, const Mt3CudaRow *row, const FakeText *before)
{
  gpointer flag = (gpointer) &args->overflow[row->slot];
  guint32 *cache = g_hash_table_lookup (caches, flag);
  FakeText text = {GPOINTER_TO_UINT (g_hash_table_lookup (contents, flag)), 0,
      (guint) row->position};

  g_assert_cmpint (row->position, <, POSITIONS);
  if (cache == NULL) {
    cache = g_new0 (guint32, POSITIONS);
    g_hash_table_insert (caches, flag, cache);
  }
  if (row->position > 0)
    text.fed = before != NULL ? before->fed : cache[row->position - 1];
  fake_text_feed (&text, (guint16) row->token);
  if (before == NULL)
    cache[row->position] = text.fed;
  return text;
}

/* What a place of a row makes of its text; @row: as it is there. */
static void
record_place (const Mt3CudaSample *args, const Mt3CudaRow *row,
    const FakeText *text, Mt3CudaRecord *record)
{
  const gboolean drafts = args->out.lo == NULL;

  record->flags = args->overflow[row->slot] && drafts ? MT3_CUDA_OVERFLOW : 0;
  if (drafts && slips (text) && fake_text_is_doubted (text))
    record->flags |= MT3_CUDA_DOUBT;
  record->log_prob = fake_text_log_prob (text, drafts);
  fake_device.n_drafted += drafts ? 1 : 0;
  record->token = permitted_token (args, row, fake_text_token (text, drafts));
}

static void
follow (Mt3CudaRow *row, guint16 token)
{
  mt3_token_order_follow (&row->order, &row->state, token);
  row->token = token;
  row->position++;
  row->remaining--;
}

static gboolean
ends (const Mt3CudaRecord *record)
{
  return record->token == EOS || record->flags & MT3_CUDA_OVERFLOW;
}

/* Each place is fed what its row would be if the drafts before were right. */
static void
sample_row (
    const Mt3CudaSample *args, int i, const FakeText *before, FakeText *text)
{
  Mt3CudaRow *row = &args->rows[i], at = *row;
  Mt3CudaRecord *records =
      &args->records[(row->step * args->n_rows + i) * args->places];

  for (int place = 0; place < args->places && at.remaining > 0; place++) {
    *text = text_of (args, &at, before);
    record_place (args, &at, text, &records[place]);
    if (place + 1 < args->places)
      follow (&at, (guint16) row->drafts[place]);
  }
  if (args->places > 1)
    return;
  follow (row, records->token);
  row->step++;
  if (ends (records))
    row->remaining = 0;
}

static void
run_sample (const Mt3CudaSample *args)
{
  const gboolean verifies =
      args->out.lo != NULL && args->n_rows % MT3_CUDA_BLOCK_ROWS == 0;
  FakeText text = {0};

  g_hash_table_insert (flags_of, args->rows, (gpointer) args->overflow);
  for (int i = 0; args->logits != NULL && i < args->n_rows; i++)
    if (args->rows[i].remaining > 0)
      sample_row (args, i, verifies ? &text : NULL, &text);
}

static Mt3CudaRecord *
records_of (const Mt3CudaDraft *args, int i, int step)
{
  return &args->records[(step * args->n_rows + i) * args->places];
}

/* Places count up to the first that was fed what had not come before it. */
static void
settle_row (const Mt3CudaDraft *args, int i)
{
  Mt3CudaRow *row = &args->rows[i];
  Mt3CudaRecord *records = records_of (args, i, row->step);

  row->n_right = 1;
  while (row->n_right < MIN (args->places, row->remaining) &&
         !ends (&records[row->n_right - 1]) &&
         records[row->n_right - 1].token == row->drafts[row->n_right - 1])
    row->n_right++;
  for (int place = row->n_right; place < args->places; place++)
    records[place].flags = MT3_CUDA_NONE;
}

static void
advance_row (const Mt3CudaDraft *args, int i)
{
  Mt3CudaRow *row = &args->rows[i];
  const Mt3CudaRecord *records = records_of (args, i, row->step++);

  for (int place = 0; place < row->n_right; place++)
    follow (row, records[place].token);
  if (ends (&records[row->n_right - 1]))
    row->remaining = 0;
}

/* Two drafts of three are what float16 would choose, if it may. */
static void
draft_row (const Mt3CudaDraft *args, int i)
{
  const Mt3CudaRow *row = &args->rows[i];
  const int *flags = g_hash_table_lookup (flags_of, args->rows);
  const gpointer flag = (gpointer) &flags[row->slot];
  const guint32 *cache = g_hash_table_lookup (caches, flag);
  FakeText text = {GPOINTER_TO_UINT (g_hash_table_lookup (contents, flag)),
      row->position > 0 ? cache[row->position - 1] : 0, (guint) row->position};
  guint16 token;

  fake_text_feed (&text, (guint16) row->token);
  for (int place = 1; place < args->place; place++)
    fake_text_feed (&text, (guint16) row->drafts[place - 1]);
  token = fake_text_token (&text, TRUE);
  if (text.fed % 3 == 0)
    token++;
  args->rows[i].drafts[args->place - 1] = token;
  records_of (args, i, row->step - 1)[args->place].flags |=
      (uint16_t) (token << MT3_CUDA_FLAG_BITS);
}

static void
run_draft (const Mt3CudaDraft *args)
{
  for (int i = 0; i < args->n_rows; i++) {
    if (args->rows[i].remaining == 0)
      continue;
    if (args->place == 0)
      settle_row (args, i);
    if (args->place == 1)
      advance_row (args, i);
    if (args->place > 0 && args->rows[i].remaining > args->place)
      draft_row (args, i);
  }
}

static void
run_op (const Op *op)
{
  if (op->kind == OP_COPY)
    memcpy (op->to, op->from, op->bytes);
  else if (op->kind == OP_WAIT)
    run_until (op->awaited, op->until);
  else if (op->kind == OP_MEL)
    run_mel (&op->mel);
  else if (op->kind == OP_DRAFT)
    run_draft (&op->draft);
  else
    run_sample (&op->sample);
}

static void
append_ops (cudaStream_t stream, const Op *ops, guint n)
{
  g_array_append_vals (stream->ops, ops, n);
  stream->n_added += n;
  for (guint i = 0; i < n; i++)
    if (ops[i].kind == OP_MEL)
      fake_device.n_to_encode += ops[i].mel.n_windows;
}

static cudaError_t
add_op (cudaStream_t stream, const Op *op)
{
  const cudaError_t result = outcome (cudaErrorLaunchFailure);

  if (result != cudaSuccess)
    return result;
  if (stream->captured != NULL)
    g_array_append_vals (stream->captured, op, 1);
  else
    append_ops (stream, op, 1);
  return cudaSuccess;
}

static void
run_until (cudaStream_t stream, guint64 at)
{
  guint n = 0;

  for (; stream->n_run < at; stream->n_run++)
    run_op (&g_array_index (stream->ops, Op, n++));
  g_array_remove_range (stream->ops, 0, n);
}

cudaError_t
mt3_cuda_mel (const Mt3CudaMel *args, cudaStream_t stream)
{
  return add_op (stream, &(Op){.kind = OP_MEL, .mel = *args});
}

cudaError_t
mt3_cuda_sample (const Mt3CudaSample *args, Mt3CudaLaunch launch)
{
  return add_op (launch.stream, &(Op){.kind = OP_SAMPLE, .sample = *args});
}

/* The network itself: nothing. */

cudaError_t
mt3_cuda_pack (const Mt3CudaPack *args, cudaStream_t stream)
{
  return outcome (cudaErrorLaunchFailure);
}

Mt3CudaLayout
mt3_cuda_decode_layout (int split)
{
  return split ? MT3_CUDA_PANELS : MT3_CUDA_ROW_MAJOR;
}

cudaError_t
mt3_cuda_compose (const float *a, const float *scale, const float *b, int k,
    int m, int n, float *out, cudaStream_t stream)
{
  return outcome (cudaErrorLaunchFailure);
}

cudaError_t
mt3_cuda_gemm (const Mt3CudaGemm *args, Mt3CudaLaunch launch)
{
  return outcome (cudaErrorLaunchFailure);
}

cudaError_t
mt3_cuda_attention (const Mt3CudaAttention *args, Mt3CudaLaunch launch)
{
  return outcome (cudaErrorLaunchFailure);
}

cudaError_t
mt3_cuda_embed (const Mt3CudaEmbed *args, Mt3CudaLaunch launch)
{
  return outcome (cudaErrorLaunchFailure);
}

cudaError_t
mt3_cuda_draft (const Mt3CudaDraft *args, Mt3CudaLaunch launch)
{
  return add_op (launch.stream, &(Op){.kind = OP_DRAFT, .draft = *args});
}

cudaError_t
mt3_cuda_decode_gemm (const Mt3CudaDecodeGemm *args, Mt3CudaLaunch launch)
{
  return outcome (cudaErrorLaunchFailure);
}

cudaError_t
mt3_cuda_decode_attention (
    const Mt3CudaDecodeAttention *args, Mt3CudaLaunch launch)
{
  return outcome (cudaErrorLaunchFailure);
}

/* -------------------------------------------------------------- memory */

cudaError_t
cudaMalloc (void **block, size_t bytes)
{
  gsize *sized;

  if (outcome (cudaErrorMemoryAllocation) != cudaSuccess ||
      fake_device.bytes + bytes > (gsize) FAKE_DEVICE_MIB << 20)
    return cudaErrorMemoryAllocation;
  sized = g_malloc (bytes + 16);
  sized[0] = bytes;
  *block = (char *) sized + 16;
  fake_device.bytes += bytes;
  fake_device.n_live++;
  return cudaSuccess;
}

cudaError_t
cudaFree (void *block)
{
  gsize *sized = (gsize *) ((char *) block - 16);

  fake_device.bytes -= sized[0];
  fake_device.n_live--;
  g_free (sized);
  return cudaSuccess;
}

cudaError_t
cudaMallocHost (void **block, size_t bytes)
{
  if (outcome (cudaErrorMemoryAllocation) != cudaSuccess)
    return cudaErrorMemoryAllocation;
  *block = g_malloc (bytes);
  fake_device.n_live++;
  return cudaSuccess;
}

cudaError_t
cudaFreeHost (void *block)
{
  fake_device.n_live--;
  g_free (block);
  return cudaSuccess;
}

cudaError_t
cudaMemGetInfo (size_t *available, size_t *total)
{
  *total = (size_t) FAKE_DEVICE_MIB << 20;
  *available = *total - fake_device.bytes;
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaMemset (void *block, int value, size_t bytes)
{
  memset (block, value, bytes);
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaMemcpy (void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
  memcpy (to, from, bytes);
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaMemcpyAsync (void *to, const void *from, size_t bytes,
    enum cudaMemcpyKind kind, cudaStream_t stream)
{
  fake_device.n_uploads += kind == cudaMemcpyHostToDevice;
  return add_op (
      stream, &(Op){.kind = OP_COPY, .to = to, .from = from, .bytes = bytes});
}

/* --------------------------------------------- streams, events, graphs */

cudaError_t
cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned int flags)
{
  if (outcome (cudaErrorUnknown) != cudaSuccess)
    return cudaErrorUnknown;
  *stream = g_new0 (struct CUstream_st, 1);
  (*stream)->ops = g_array_new (FALSE, FALSE, sizeof (Op));
  g_ptr_array_add (streams, *stream);
  fake_device.n_live++;
  return cudaSuccess;
}

/* As CUDA does, only after the work that is left. */
cudaError_t
cudaStreamDestroy (cudaStream_t stream)
{
  run_until (stream, stream->n_added);
  g_array_unref (stream->ops);
  g_clear_pointer (&stream->captured, g_array_unref);
  g_ptr_array_remove (streams, stream);
  g_free (stream);
  fake_device.n_live--;
  return cudaSuccess;
}

cudaError_t
cudaStreamSynchronize (cudaStream_t stream)
{
  if (stream != NULL)
    run_until (stream, stream->n_added);
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaEventCreateWithFlags (cudaEvent_t *event, unsigned int flags)
{
  if (outcome (cudaErrorUnknown) != cudaSuccess)
    return cudaErrorUnknown;
  *event = g_new0 (struct CUevent_st, 1);
  fake_device.n_live++;
  return cudaSuccess;
}

cudaError_t
cudaEventDestroy (cudaEvent_t event)
{
  g_free (event);
  fake_device.n_live--;
  return cudaSuccess;
}

cudaError_t
cudaEventRecord (cudaEvent_t event, cudaStream_t stream)
{
  event->stream = stream;
  event->at = stream->n_added;
  event->n_asked = 0;
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaStreamWaitEvent (cudaStream_t stream, cudaEvent_t event, unsigned int flags)
{
  return add_op (stream,
      &(Op){.kind = OP_WAIT, .awaited = event->stream, .until = event->at});
}

cudaError_t
cudaEventSynchronize (cudaEvent_t event)
{
  if (event->stream != NULL)
    run_until (event->stream, event->at);
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaEventQuery (cudaEvent_t event)
{
  if (event->stream == NULL || event->stream->n_run >= event->at)
    return outcome (cudaErrorUnknown);
  if (++event->n_asked < fake_device.patience)
    return cudaErrorNotReady;
  return cudaEventSynchronize (event);
}

cudaError_t
cudaStreamBeginCapture (cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
  if (outcome (cudaErrorUnknown) != cudaSuccess)
    return cudaErrorUnknown;
  stream->captured = g_array_new (FALSE, FALSE, sizeof (Op));
  return cudaSuccess;
}

cudaError_t
cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph)
{
  if (outcome (cudaErrorUnknown) != cudaSuccess)
    return cudaErrorUnknown;
  if (fake_device.n_broken > 0) {
    fake_device.n_broken--;
    g_clear_pointer (&stream->captured, g_array_unref);
    return cudaErrorStreamCaptureInvalidated;
  }
  *graph = g_new0 (struct CUgraph_st, 1);
  (*graph)->ops = g_steal_pointer (&stream->captured);
  fake_device.n_live++;
  return cudaSuccess;
}

cudaError_t
cudaGraphDestroy (cudaGraph_t graph)
{
  g_array_unref (graph->ops);
  g_free (graph);
  fake_device.n_live--;
  return cudaSuccess;
}

cudaError_t
cudaGraphInstantiate (
    cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags)
{
  if (outcome (cudaErrorUnknown) != cudaSuccess)
    return cudaErrorUnknown;
  *executable = g_new0 (struct CUgraphExec_st, 1);
  (*executable)->ops = g_array_ref (graph->ops);
  fake_device.n_live++;
  return cudaSuccess;
}

cudaError_t
cudaGraphExecDestroy (cudaGraphExec_t executable)
{
  g_array_unref (executable->ops);
  g_free (executable);
  fake_device.n_live--;
  return cudaSuccess;
}

cudaError_t
cudaGraphUpload (cudaGraphExec_t executable, cudaStream_t stream)
{
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaGraphLaunch (cudaGraphExec_t executable, cudaStream_t stream)
{
  const cudaError_t result = outcome (cudaErrorLaunchFailure);

  if (result != cudaSuccess)
    return result;
  fake_device.n_graphs++;
  append_ops (stream, (const Op *) executable->ops->data, executable->ops->len);
  return cudaSuccess;
}

/* ------------------------------------------------------------- devices */

cudaError_t
cudaDriverGetVersion (int *version)
{
  *version = fake_device.driver;
  return cudaSuccess;
}

cudaError_t
cudaRuntimeGetVersion (int *version)
{
  *version = fake_device.runtime;
  return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount (int *count)
{
  *count = fake_device.n_devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t
cudaGetDeviceProperties (struct cudaDeviceProp *properties, int device)
{
  memset (properties, 0, sizeof *properties);
  strcpy (properties->name, "Fake device");
  properties->major = fake_device.capability / 10;
  properties->minor = fake_device.capability % 10;
  return outcome (cudaErrorUnknown);
}

cudaError_t
cudaSetDevice (int device)
{
  return outcome (cudaErrorDevicesUnavailable);
}

cudaError_t
cudaGetLastError (void)
{
  return cudaSuccess;
}

const char *
cudaGetErrorString (cudaError_t error)
{
  return "fake failure";
}

const char *
cudaGetErrorName (cudaError_t error)
{
  return "cudaErrorFake";
}
