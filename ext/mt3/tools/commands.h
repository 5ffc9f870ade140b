/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * commands.h: the commands of mt3-model. Each parses its own arguments
 * (argv[0] is the command's name) and returns an exit code.
 */
#pragma once

#include "checkpoint/report.h"

G_BEGIN_DECLS

typedef enum {
  EXIT_SOUND = 0, /* done; the model is sound */
  EXIT_UNSOUND = 1, /* the model differs from what was expected */
  EXIT_USAGE = 2, /* wrong arguments */
  EXIT_FILE = 3, /* a file cannot be read or written */
} ExitCode;

ExitCode mt3_command_inspect (int argc, char **argv);
ExitCode mt3_command_verify (int argc, char **argv);
ExitCode mt3_command_convert (int argc, char **argv);
ExitCode mt3_command_fetch (int argc, char **argv);

/**
 * mt3_command_parse:
 * @parameters: what follows the options in the usage line ("MODEL")
 * @entries: (nullable): the command's options
 * @n_parameters: how many arguments must remain
 *
 * Returns: %FALSE when the arguments are wrong; the message is printed
 */
gboolean mt3_command_parse (int *argc, char ***argv, const gchar *parameters,
    const gchar *summary, const GOptionEntry *entries, int n_parameters);

/* Writes the model @path as safetensors to @out, whole or not at all. */
ExitCode mt3_convert_model (
    const gchar *path, const gchar *out, Mt3DType dtype, GError **error);

/* Prints "mt3-model: MESSAGE" to stderr. */
void mt3_command_complain (const GError *error);

G_END_DECLS
