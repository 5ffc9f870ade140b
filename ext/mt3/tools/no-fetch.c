/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * no-fetch.c: the command fetch of a build without libcurl.
 */
#include "error.h"
#include "tools/commands.h"

ExitCode
mt3_command_fetch (int argc, char **argv)
{
  g_autoptr (GError) error = g_error_new (MT3_ERROR, MT3_ERROR_UNSUPPORTED,
      "built without libcurl, and cannot download; fetch the model by other "
      "means and run mt3-model convert, or build with -Dfetch=enabled");

  mt3_command_complain (error);
  return EXIT_FILE;
}
