/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Too little memory for a model is an error that says so, and no end of the
 * process. Each try is a process of its own.
 */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.h"
#include "error.h"

enum { OPENED, NO_MEMORY, OTHER_ERROR };

/* Address space of this process. */
static gsize
used_bytes (void)
{
  g_autofree gchar *text = NULL;

  ck_assert (g_file_get_contents ("/proc/self/statm", &text, NULL, NULL));
  return (gsize) g_ascii_strtoull (text, NULL, 10) * sysconf (_SC_PAGESIZE);
}

static int
open_model (void)
{
  g_autoptr (GError) error = NULL;
  Mt3EngineOptions options = {.model_file = g_getenv ("MT3_TINY_MODEL"),
      .device = MT3_DEVICE_CPU,
      .n_threads = 4};
  Mt3Engine *engine = mt3_engine_open (&options, &error);

  if (engine != NULL) {
    mt3_engine_unref (engine);
    return OPENED;
  }
  g_printerr ("%s\n", error->message);
  return g_error_matches (error, MT3_ERROR, MT3_ERROR_MEMORY) ? NO_MEMORY
                                                              : OTHER_ERROR;
}

/* GLib ends the process when it does not get a few bytes. */
static void
provide_small_blocks (void)
{
  mallopt (M_TOP_PAD, 4 << 20);
  g_free (g_malloc (100 * 1000));
}

/* With @room for all that it takes. */
static int
try_with (gsize room)
{
  pid_t child = fork ();
  int status;

  if (child == 0) {
    struct rlimit limit = {.rlim_max = RLIM_INFINITY};

    provide_small_blocks ();
    limit.rlim_cur = used_bytes () + room;
    setrlimit (RLIMIT_AS, &limit);
    _exit (open_model ());
  }
  ck_assert_int_eq (waitpid (child, &status, 0), child);
  ck_assert_msg (WIFEXITED (status), "killed by signal %d with %zu MiB",
      WTERMSIG (status), room >> 20);
  return WEXITSTATUS (status);
}

START_TEST (any_limit_is_an_error_or_enough)
{
  guint n[] = {0, 0, 0};

  for (gsize mib = 1; mib <= 1024; mib += 1 + mib / 16)
    n[try_with (mib << 20)]++;
  ck_assert_uint_gt (n[OPENED], 0);
  ck_assert_uint_gt (n[NO_MEMORY], 0);
  ck_assert_uint_eq (n[OTHER_ERROR], 0);
}
END_TEST

int
main (void)
{
  Suite *suite;
  TCase *tcase;
  SRunner *runner;
  int failed;

  /* valgrind.sh: it takes address space of its own. */
  if (g_strcmp0 (g_getenv ("CK_FORK"), "no") == 0)
    return 77;
  suite = suite_create ("memory");
  tcase = tcase_create ("memory");
  tcase_add_test (tcase, any_limit_is_an_error_or_enough);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
