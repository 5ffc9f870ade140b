/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "mt3-cuda-kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* mt3_cuda_attention() for compute capability 9.0. */
cudaError_t mt3_cuda_attention_hopper (
    const Mt3CudaAttention *args, int n_processors, Mt3CudaLaunch launch);

#ifdef __cplusplus
}
#endif
