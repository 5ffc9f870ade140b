/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cpu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include "error.h"

#define HUGE_PAGE ((gsize) 2 << 20)

/* Whole huge pages, so that a block can be aligned to them. */
static gsize
block_size (gsize n_bytes)
{
  return (MAX (n_bytes, 1) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

/* mmap() aligns to small pages only: map more and trim both ends. */
gpointer
mt3_memory_new (
    gsize n_bytes, Mt3Pages pages, const gchar *what, GError **error)
{
  gsize size = block_size (n_bytes);
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
  madvise (
      start, size, pages == MT3_PAGES_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
  return start;
}

void
mt3_memory_free (gpointer memory, gsize n_bytes)
{
  if (memory != NULL)
    munmap (memory, block_size (n_bytes));
}

void
mt3_memory_discard (gpointer start, gsize n_bytes)
{
  guintptr page = sysconf (_SC_PAGESIZE);
  guintptr first = ((guintptr) start + page - 1) & ~(page - 1);
  guintptr end = ((guintptr) start + n_bytes) & ~(page - 1);

  if (first < end)
    madvise ((gpointer) first, end - first, MADV_DONTNEED);
}
