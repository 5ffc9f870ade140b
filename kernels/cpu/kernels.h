/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernels.h: the tables that this build has; see mt3_cpu_kernels().
 */
#pragma once

#include "cpu-kernels.h"

extern const Mt3CpuKernels mt3_kernels_scalar;
#ifdef MT3_KERNELS_X86
extern const Mt3CpuKernels mt3_kernels_avx2;
extern const Mt3CpuKernels mt3_kernels_avx512;
#endif
#ifdef MT3_KERNELS_BF16
extern const Mt3CpuKernels mt3_kernels_avx512bf16;
#endif
