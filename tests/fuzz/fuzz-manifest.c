/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A list of files and their SHA-256, which may come from the network. No name
 * in it may lead out of the folder.
 */
#include "fuzz.h"
#include "tools/digest.h"
#include "tools/manifest.h"

#include <string.h>

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) files =
      mt3_manifest_parse ((const gchar *) data, size, "input", &error);

  g_assert ((files == NULL) == (error != NULL));
  for (guint i = 0; files != NULL && i < files->len; i++) {
    const Mt3ManifestFile *file = g_ptr_array_index (files, i);
    g_autofree gchar *path = g_canonicalize_filename (file->name, "/folder");

    g_assert_true (g_str_has_prefix (path, "/folder/"));
    g_assert_true (mt3_is_sha256 (file->sha256));
  }
  return 0;
}

void
fuzz_seeds (GPtrArray *seeds)
{
  static const gchar lines[] =
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"
      "  checkpoint\n"
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
      " *target.encoder/.zarray\n";

  g_ptr_array_add (seeds, g_bytes_new_static (lines, strlen (lines)));
}
