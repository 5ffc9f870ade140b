/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "golden-notes.h"

#include <math.h>
#include <string.h>

#include "clip.h"

#define STEPS_PER_SECOND 100

static gint
compare_notes (gconstpointer a, gconstpointer b)
{
  const gint *x = a, *y = b;

  for (guint i = 0; i < sizeof (GoldenNote) / sizeof (gint); i++)
    if (x[i] != y[i])
      return x[i] < y[i] ? -1 : 1;
  return 0;
}

void
golden_notes_sort (GArray *notes)
{
  g_array_sort (notes, compare_notes);
}

static gint
time_step (gdouble seconds)
{
  return (gint) lround (seconds * STEPS_PER_SECOND);
}

GArray *
golden_notes_read (const gchar *path, GError **error)
{
  g_autoptr (JsonArray) all = golden_read_array (path, "notes", error);
  GArray *notes;

  if (all == NULL)
    return NULL;
  notes = g_array_new (FALSE, FALSE, sizeof (GoldenNote));
  for (guint i = 0; i < json_array_get_length (all); i++) {
    JsonArray *one = json_array_get_array_element (all, i);
    const GoldenNote note = {
        .onset = time_step (json_array_get_double_element (one, 0)),
        .end = time_step (json_array_get_double_element (one, 1)),
        .pitch = (gint) json_array_get_int_element (one, 2),
        .velocity = (gint) json_array_get_int_element (one, 3),
        .program = (gint) json_array_get_int_element (one, 4),
        .is_drum = json_array_get_boolean_element (one, 5),
    };

    g_array_append_val (notes, note);
  }
  golden_notes_sort (notes);
  return notes;
}

void
golden_notes_add (GArray *notes, const GstMt3Note *note)
{
  const GoldenNote golden = {
      .onset = time_step ((gdouble) note->onset / GST_SECOND),
      .end = time_step ((gdouble) note->end / GST_SECOND),
      .pitch = note->pitch,
      .velocity = note->velocity,
      .program = note->program,
      .is_drum = note->is_drum,
  };

  g_array_append_val (notes, golden);
}

gboolean
golden_notes_equal (const GArray *a, const GArray *b)
{
  return a->len == b->len &&
         memcmp (a->data, b->data, a->len * sizeof (GoldenNote)) == 0;
}
