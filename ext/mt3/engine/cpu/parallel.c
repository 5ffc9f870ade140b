/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cpu/parallel.h"

/* More tasks than threads, so that one who is late can be helped out. */
#define TASKS_PER_THREAD 2

/* Rows that are worth a task of their own. */
#define NORM_ROWS 32

typedef struct {
  const Mt3CpuKernels *kernels;
  Mt3Product product;
  gsize n_rows;
  gsize row_parts, panel_parts;
} MultiplyTask;

static void
multiply_part (gpointer data, gsize i, gsize thread)
{
  const MultiplyTask *task = data;
  gsize n_panels = task->product.matrix->n_panels;
  gsize r = i % task->row_parts, p = i / task->row_parts;
  gsize row = task->n_rows * r / task->row_parts;
  gsize panel = n_panels * p / task->panel_parts;

  task->kernels->multiply (&task->product, row,
      task->n_rows * (r + 1) / task->row_parts - row, panel,
      n_panels * (p + 1) / task->panel_parts - panel);
}

typedef struct {
  const Mt3CpuForward *forward;
  const Mt3Rows *in;
  gsize n_columns, stride;
} HalveTask;

static void
halve_row (gpointer data, gsize i, gsize thread)
{
  const HalveTask *task = data;

  task->forward->kernels->to_bf16 (mt3_row (task->in, i), task->n_columns,
      task->forward->halves + i * task->stride);
}

/* Panels divide the weights; rows are divided only when there are more threads
 * than panels. For few rows the weights are what takes time, and they come
 * fastest in long stretches. */
void
mt3_cpu_multiply (Mt3CpuForward *forward, const Mt3Matrix *matrix,
    const Mt3Rows *in, const Mt3Rows *out, guint n_rows, Mt3Epilogue epilogue)
{
  gsize n_threads = mt3_pool_n_threads (forward->pool);
  gsize n_tiles =
      (n_rows + forward->kernels->tile_rows - 1) / forward->kernels->tile_rows;
  gsize n_tasks = n_tiles > 1 ? n_threads * TASKS_PER_THREAD : n_threads;
  MultiplyTask task = {
      .kernels = forward->kernels,
      .product = {matrix, epilogue, in->data, in->stride, out->data,
          out->stride},
      .n_rows = n_rows,
  };

  if (matrix->type == MT3_PANEL_BF16) {
    gsize n =
        matrix->n_rows + matrix->block_stride * (MAX (matrix->n_blocks, 1) - 1);
    HalveTask halve = {forward, in, n, mt3_round_up (n, 2)};

    mt3_pool_run (forward->pool, halve_row, &halve, n_rows);
    task.product.in = forward->halves;
    task.product.in_stride = halve.stride;
  }
  task.panel_parts = MIN (n_tasks, matrix->n_panels);
  task.row_parts = CLAMP (n_tasks / task.panel_parts, 1, n_tiles);
  mt3_pool_run (
      forward->pool, multiply_part, &task, task.panel_parts * task.row_parts);
}

typedef struct {
  const Mt3CpuForward *forward;
  const gfloat *scale;
  gsize n_rows;
} NormTask;

static void
norm_rows (gpointer data, gsize i, gsize thread)
{
  const NormTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  gsize end = MIN ((i + 1) * NORM_ROWS, task->n_rows);

  for (gsize row = i * NORM_ROWS; row < end; row++)
    forward->kernels->rms_norm (mt3_row (&forward->x, row), task->scale,
        forward->config.d_model, mt3_row (&forward->normed, row));
}

void
mt3_cpu_norm (Mt3CpuForward *forward, const gfloat *scale, guint n_rows)
{
  NormTask task = {forward, scale, n_rows};

  mt3_pool_run (
      forward->pool, norm_rows, &task, (n_rows + NORM_ROWS - 1) / NORM_ROWS);
}
