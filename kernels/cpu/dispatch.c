/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * dispatch.c: chooses the kernels that this CPU runs.
 */
#include "kernels.h"

#include <string.h>
#ifdef MT3_KERNELS_X86
#include <cpuid.h>
#endif

typedef struct {
  const char *name;
  const Mt3CpuKernels *kernels;
  bool (*runs) (void);
} Variant;

static bool
runs_always (void)
{
  return true;
}

#ifdef MT3_KERNELS_X86
/* __builtin_cpu_supports() of clang does not know it. */
static bool
has_f16c (void)
{
  unsigned eax, ebx, ecx, edx;

  return __get_cpuid (1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

static bool
runs_avx2 (void)
{
  return __builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("fma") &&
         has_f16c ();
}

static bool
runs_avx512 (void)
{
  return runs_avx2 () && __builtin_cpu_supports ("avx512f") &&
         __builtin_cpu_supports ("avx512bw") &&
         __builtin_cpu_supports ("avx512vl") &&
         __builtin_cpu_supports ("avx512dq");
}
#endif

#ifdef MT3_KERNELS_BF16
static bool
runs_avx512bf16 (void)
{
  return runs_avx512 () && __builtin_cpu_supports ("avx512bf16");
}
#endif

/* Best first. */
static const Variant variants[] = {
#ifdef MT3_KERNELS_BF16
    {"avx512bf16", &mt3_kernels_avx512bf16, runs_avx512bf16},
#endif
#ifdef MT3_KERNELS_X86
    {"avx512", &mt3_kernels_avx512, runs_avx512},
    {"avx2", &mt3_kernels_avx2, runs_avx2},
#endif
    {"scalar", &mt3_kernels_scalar, runs_always},
};

const Mt3CpuKernels *
mt3_cpu_kernels (const char *name)
{
  for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
    if ((name == NULL || strcmp (name, variants[i].name) == 0) &&
        variants[i].runs ())
      return variants[i].kernels;
  return NULL;
}

size_t
mt3_attention_scratch (const Mt3CpuKernels *kernels, size_t n_tokens)
{
  return kernels->tile_rows * mt3_round_up (n_tokens, MT3_PANEL);
}
