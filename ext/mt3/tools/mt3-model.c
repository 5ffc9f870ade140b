/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-model: looks at, verifies, converts and downloads MT3 checkpoints.
 */
#include "config.h"
#include "error.h"
#include "tools/commands.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const gchar usage[] =
    "Usage:\n"
    "  mt3-model COMMAND [OPTION...] [MODEL]\n"
    "\n"
    "Looks at, verifies, converts and downloads MT3 checkpoints. MODEL is a\n"
    "T5X checkpoint directory, a .safetensors file or a PyTorch state dict\n"
    "(.pth), the latter two under T5X or Hugging Face names.\n"
    "\n"
    "Commands:\n"
    "  inspect MODEL                   what the model is, how its tensors map "
    "to\n"
    "                                  MT3's, and where it differs from MT3\n"
    "  verify MODEL                    check every name, shape, dtype and "
    "value;\n"
    "                                  print the SHA-256 of the files\n"
    "  convert MODEL OUT.safetensors   write a .safetensors file\n"
    "  fetch                           download the published model and "
    "install\n"
    "                                  it where mt3transcribe finds it\n"
    "\n"
    "\"mt3-model COMMAND --help\" explains a command, \"mt3-model --version\"\n"
    "tells the version.\n"
    "\n"
    "Exit codes:\n"
    "  0  done, the model is sound\n"
    "  1  the model differs from MT3, or from the SHA-256 given\n"
    "  2  wrong arguments\n"
    "  3  a file cannot be read, written or downloaded\n";

static const struct {
  const gchar *name;
  ExitCode (*run) (int argc, char **argv);
} commands[] = {
    {"inspect", mt3_command_inspect},
    {"verify", mt3_command_verify},
    {"convert", mt3_command_convert},
    {"fetch", mt3_command_fetch},
};

/* GOption leaves "--" where an argument with a dash follows. */
static void
drop_separator (int *argc, char **argv)
{
  for (int i = 1; i < *argc; i++)
    if (g_str_equal (argv[i], "--")) {
      for (int next = i; next < *argc; next++)
        argv[next] = argv[next + 1];
      (*argc)--;
      return;
    }
}

gboolean
mt3_command_parse (int *argc, char ***argv, const gchar *parameters,
    const gchar *summary, const GOptionEntry *entries, int n_parameters)
{
  g_autofree gchar *program = g_strconcat ("mt3-model ", (*argv)[0], NULL);
  g_autoptr (GOptionContext) context = g_option_context_new (parameters);
  g_autoptr (GError) error = NULL;

  g_set_prgname (program);
  g_option_context_set_summary (context, summary);
  if (entries != NULL)
    g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error)) {
    if (*argc == 2 + n_parameters)
      drop_separator (argc, *argv);
    if (*argc == 1 + n_parameters)
      return TRUE;
  }
  g_printerr ("%s: %s; see %s --help\n", program,
      error != NULL ? error->message : "wrong number of arguments", program);
  return FALSE;
}

void
mt3_command_complain (const GError *error)
{
  g_autofree gchar *message = mt3_printable (error->message);

  g_printerr ("mt3-model: %s\n", message);
}

/* g_print() does not tell. At exit, since the --help of a command exits itself.
 */
static void
check_output (void)
{
  if (fflush (stdout) == 0 && !ferror (stdout))
    return;
  g_printerr ("mt3-model: cannot write to standard output\n");
  _exit (EXIT_FILE);
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "");
  (void) atexit (check_output);
  if (argc >= 2) {
    if (g_str_equal (argv[1], "--help") || g_str_equal (argv[1], "-h")) {
      g_print ("%s", usage);
      return EXIT_SOUND;
    }
    if (g_str_equal (argv[1], "--version")) {
      g_print ("mt3-model %s\n", VERSION);
      return EXIT_SOUND;
    }
    for (gsize i = 0; i < G_N_ELEMENTS (commands); i++)
      if (g_str_equal (argv[1], commands[i].name))
        return commands[i].run (argc - 1, argv + 1);
    g_printerr ("mt3-model: no command %s\n\n", argv[1]);
  }
  g_printerr ("%s", usage);
  return EXIT_USAGE;
}
