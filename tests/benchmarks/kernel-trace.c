/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kernel-trace.c: when each kernel of a program ran, also those of graphs. The
 * CUDA driver loads it into any program ("CUPTI", Activity API, injection):
 *
 *   CUDA_INJECTION64_PATH=libmt3kerneltrace.so MT3_KERNEL_TRACE=FILE PROGRAM
 *
 * kernel-times.py reads FILE. CUPTI's own library has to be where the loader
 * looks. Launching a graph takes the host longer than without: what a kernel
 * takes is right, what lies between runs is not.
 */
#include <cupti.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_BYTES (8u << 20)

static FILE *trace;

static void CUPTIAPI
take_buffer (uint8_t **buffer, size_t *size, size_t *max_records)
{
  *buffer = aligned_alloc (ACTIVITY_RECORD_ALIGNMENT, BUFFER_BYTES);
  *size = *buffer != NULL ? BUFFER_BYTES : 0;
  *max_records = 0;
}

static void
write_kernel (const CUpti_ActivityKernel9 *kernel)
{
  fprintf (trace, "%llu %llu %u %d %d %d %s\n",
      (unsigned long long) kernel->start, (unsigned long long) kernel->end,
      kernel->streamId, kernel->gridX, kernel->gridY,
      kernel->registersPerThread, kernel->name);
}

static void CUPTIAPI
write_buffer (CUcontext context, uint32_t stream, uint8_t *buffer, size_t size,
    size_t n_valid)
{
  CUpti_Activity *record = NULL;

  (void) context;
  (void) stream;
  (void) size;
  while (cuptiActivityGetNextRecord (buffer, n_valid, &record) == CUPTI_SUCCESS)
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
      write_kernel ((const CUpti_ActivityKernel9 *) record);
  free (buffer);
}

static void
end (void)
{
  cuptiActivityFlushAll (CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  fclose (trace);
}

/* Called by the driver, by this name. Returns 1 if all is well. */
__attribute__ ((visibility ("default"))) int InitializeInjection (void);

int
InitializeInjection (void)
{
  const char *path = getenv ("MT3_KERNEL_TRACE");

  trace = path != NULL ? fopen (path, "w") : NULL;
  if (trace == NULL) {
    fprintf (stderr, "kernel-trace: set MT3_KERNEL_TRACE to a file that can be "
                     "written\n");
    return 0;
  }
  if (cuptiActivityRegisterCallbacks (take_buffer, write_buffer) !=
          CUPTI_SUCCESS ||
      cuptiActivityEnable (CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) !=
          CUPTI_SUCCESS) {
    fprintf (stderr, "kernel-trace: CUPTI does not trace kernels here\n");
    return 0;
  }
  return atexit (end) == 0;
}
