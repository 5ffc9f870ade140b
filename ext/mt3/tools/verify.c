/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/commands.h"
#include "tools/digest.h"

static gboolean
check_digest (const gchar *path, const gchar *expected, GError **error)
{
  g_autofree gchar *found = mt3_digest_print (path, error);

  if (found == NULL)
    return FALSE;
  if (expected != NULL && g_ascii_strcasecmp (found, expected) != 0) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "%s: expected SHA-256 %s, found %s", path, expected, found);
    return FALSE;
  }
  return TRUE;
}

static ExitCode
check_model (const gchar *path, GError **error)
{
  g_autoptr (Mt3Archive) archive = mt3_archive_read (path, error);
  g_autoptr (Mt3Report) report = NULL;

  if (archive == NULL)
    return EXIT_FILE;
  report = mt3_report_new (archive);
  mt3_report_check_values (report);
  for (guint i = 0; i < report->problems->len; i++)
    g_printerr ("mt3-model: %s: %s\n", path,
        (const gchar *) g_ptr_array_index (report->problems, i));
  if (report->problems->len > 0)
    return EXIT_UNSOUND;
  g_print ("%s: %u tensors sound\n", path, report->tensors->len);
  return EXIT_SOUND;
}

ExitCode
mt3_command_verify (int argc, char **argv)
{
  g_autofree gchar *sha256 = NULL;
  const GOptionEntry entries[] = {
      {"sha256", 0, 0, G_OPTION_ARG_STRING, &sha256,
          "Fail unless the digest is this one", "HEX"},
      {NULL},
  };
  g_autoptr (GError) error = NULL;
  ExitCode code;

  if (!mt3_command_parse (&argc, &argv, "MODEL",
          "Checks every name, shape, dtype and value of a model and prints "
          "the\n"
          "SHA-256 of its files. The digest of a directory is that of the\n"
          "printed list, as \"sha256sum FILES | sha256sum\" gives it.\n"
          "A file " MT3_DIGEST_LIST " in it, which may hold that list, is "
          "left out.",
          entries, 1))
    return EXIT_USAGE;
  if (sha256 != NULL && !mt3_is_sha256 (sha256)) {
    g_printerr ("mt3-model verify: --sha256 takes 64 hexadecimal digits; see "
                "mt3-model verify --help\n");
    return EXIT_USAGE;
  }
  if (!check_digest (argv[1], sha256, &error)) {
    mt3_command_complain (error);
    return error->domain == G_OPTION_ERROR ? EXIT_UNSOUND : EXIT_FILE;
  }
  code = check_model (argv[1], &error);
  if (error != NULL)
    mt3_command_complain (error);
  return code;
}
