/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels.c: the table of one instruction set. The build compiles this file
 * once for each, with its compiler flags and MT3_KERNELS naming the table.
 */
#include "kernels.h"

#include "attention.c"
#include "log-mel.c"
#include "multiply.c"
#include "rows.c"

const Mt3CpuKernels MT3_KERNELS = {
    .name = V16_NAME,
    .fast_bf16 = V16_FAST_BF16,
    .tile_rows = V16_TILE_ROWS,
    .multiply = multiply,
    .pack_panel = pack_panel,
    .to_bf16 = to_bf16,
    .rms_norm = rms_norm,
    .put_key_values = put_key_values,
    .put_row = put_row,
    .attend = attend,
    .attend_rows = attend_rows,
    .log_mel = log_mel,
    .log_sum_exp = log_sum_exp,
};
