/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cpu/memory.h"

#include <sys/mman.h>

#include "error.h"

#define HUGE_PAGE ((gsize) 2 << 20)

gsize
mt3_memory_round_up (gsize n_bytes)
{
  return (n_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

/* mmap() aligns to small pages only: map more and trim both ends. */
gpointer
mt3_memory_new (gsize n_bytes, const gchar *what, GError **error)
{
  gsize size = mt3_memory_round_up (MAX (n_bytes, 1));
  guint8 *mapped = mmap (NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  guint8 *start;

  if (mapped == MAP_FAILED) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY,
        "Not enough memory for %s (%" G_GSIZE_FORMAT
        " MiB): close other programs or use a smaller batch-size",
        what, size >> 20);
    return NULL;
  }
  start = (guint8 *) (((guintptr) mapped + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
  if (start > mapped)
    munmap (mapped, start - mapped);
  if (start < mapped + HUGE_PAGE)
    munmap (start + size, mapped + HUGE_PAGE - start);
#ifdef MADV_HUGEPAGE
  madvise (start, size, MADV_HUGEPAGE);
#endif
  return start;
}

void
mt3_memory_free (gpointer memory, gsize n_bytes)
{
  if (memory != NULL)
    munmap (memory, mt3_memory_round_up (MAX (n_bytes, 1)));
}

void
mt3_memory_discard (gpointer start, gsize n_bytes)
{
  guintptr first = ((guintptr) start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
  guintptr end = ((guintptr) start + n_bytes) & ~(HUGE_PAGE - 1);

  if (first < end)
    madvise ((gpointer) first, end - first, MADV_DONTNEED);
}
