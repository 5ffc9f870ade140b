/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * replay.c: a fuzz target as a test. Without arguments it runs the target on
 * its seeds and on damaged copies of them, always the same ones; with files, on
 * those (what libFuzzer found); with --write DIR it writes the seeds as a
 * corpus to start from.
 */
#include "fuzz.h"

/* Damaged copies of each seed. */
#ifndef COPIES
#define COPIES 2000
#endif

static void
run (const guint8 *data, gsize size)
{
  LLVMFuzzerTestOneInput (data, size);
}

/* Cuts the copy, and changes up to three bytes. */
static void
run_damaged (const guint8 *data, gsize size, GRand *random)
{
  g_autofree guint8 *copy = g_memdup2 (data, size);
  guint32 changes = g_rand_int (random) % 4;

  if (changes == 0)
    size = g_rand_int (random) % size;
  for (guint32 i = 0; i < changes; i++)
    copy[g_rand_int (random) % size] ^= 1u << g_rand_int (random) % 8;
  run (copy, size);
}

static void
replay_seed (GBytes *seed)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  gsize size;
  const guint8 *data = g_bytes_get_data (seed, &size);

  run (data, size);
  for (guint i = 0; size > 0 && i < COPIES; i++)
    run_damaged (data, size, random);
}

static int
replay_files (int n, char **paths)
{
  for (int i = 0; i < n; i++) {
    g_autofree gchar *data = NULL;
    g_autoptr (GError) error = NULL;
    gsize size;

    if (!g_file_get_contents (paths[i], &data, &size, &error)) {
      g_printerr ("%s\n", error->message);
      return 1;
    }
    run ((const guint8 *) data, size);
  }
  return 0;
}

static int
write_seeds (GPtrArray *seeds, const gchar *folder)
{
  for (guint i = 0; i < seeds->len; i++) {
    g_autofree gchar *name = g_strdup_printf ("seed-%02u", i);
    g_autofree gchar *path = g_build_filename (folder, name, NULL);
    g_autoptr (GError) error = NULL;
    gsize size;
    const gchar *data = g_bytes_get_data (seeds->pdata[i], &size);

    if (!g_file_set_contents (path, data, (gssize) size, &error)) {
      g_printerr ("%s\n", error->message);
      return 1;
    }
  }
  return 0;
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) seeds =
      g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);

  fuzz_seeds (seeds);
  if (argc == 3 && g_str_equal (argv[1], "--write"))
    return write_seeds (seeds, argv[2]);
  if (argc > 1)
    return replay_files (argc - 1, argv + 1);
  for (guint i = 0; i < seeds->len; i++)
    replay_seed (seeds->pdata[i]);
  g_print ("%u seeds and %u damaged copies of each\n", seeds->len, COPIES);
  return seeds->len > 0 ? 0 : 1;
}
