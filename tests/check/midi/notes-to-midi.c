/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * notes-to-midi NOTES.json OUT.mid: writes a file for the readers' test.
 */
#include "midi/midi-writer.h"

#include <json-glib/json-glib.h>
#include <stdlib.h>

/* [onset_s, offset_s, pitch, velocity, program, is_drum] */
static Mt3Note
read_note (JsonArray *note)
{
  return (Mt3Note){
      .onset = json_array_get_double_element (note, 0),
      .offset = json_array_get_double_element (note, 1),
      .pitch = json_array_get_int_element (note, 2),
      .velocity = json_array_get_int_element (note, 3),
      .program = json_array_get_int_element (note, 4),
      .is_drum = json_array_get_boolean_element (note, 5),
  };
}

int
main (int argc, char **argv)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;

  if (argc != 3) {
    g_printerr ("Usage: notes-to-midi NOTES.json OUT.mid\n");
    return EXIT_FAILURE;
  }
  if (!json_parser_load_from_file (parser, argv[1], &error)) {
    g_printerr ("%s\n", error->message);
    return EXIT_FAILURE;
  }

  JsonArray *list = json_object_get_array_member (
      json_node_get_object (json_parser_get_root (parser)), "notes");
  guint n_notes = json_array_get_length (list);
  g_autofree Mt3Note *notes = g_new (Mt3Note, n_notes);
  for (guint i = 0; i < n_notes; i++)
    notes[i] = read_note (json_array_get_array_element (list, i));

  g_autoptr (GByteArray) file = mt3_midi_write (notes, n_notes, "readers");
  if (!g_file_set_contents (
          argv[2], (const gchar *) file->data, file->len, &error)) {
    g_printerr ("%s\n", error->message);
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
