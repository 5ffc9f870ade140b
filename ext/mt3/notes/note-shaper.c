/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note-shaper.c: reports pass through a queue, whose head waits while it is the
 * onset of a note that may still turn out too short.
 */
#include "notes/note-shaper.h"

#include <math.h>

/* Of times that are sums of steps of 10 ms. */
#define ROUNDING 1e-6

/* A note that sounds, out of one or more decoded ones. */
typedef struct {
  Mt3Note note;
  guint n_sources; /* decoded notes that it stands for and that still sound */
  gdouble last_offset; /* of those that do not */
  gboolean ended; /* another of its key began */
  GList *onset; /* its report while it waits, else NULL */
} ShapedNote;

typedef struct {
  Mt3Note note;
  gboolean ended;
  ShapedNote *undecided; /* an onset that waits for its note to last; or NULL */
} Report;

struct _Mt3NoteShaper {
  gdouble min_duration;
  Mt3NoteCallback callback;
  gpointer user_data;
  Mt3ProgramMap map;
  guint velocity;

  GHashTable *by_id; /* decoded id to ShapedNote; sources of one share it */
  GHashTable *by_key; /* (pitch, program) to the ShapedNote that sounds */
  GQueue reports; /* Report */
  GHashTable *numbers; /* of the notes told and not ended: decoded id to id */
  guint last_id;
};

static gpointer
note_key (const Mt3Note *note)
{
  return GUINT_TO_POINTER ((guint) note->program << 7 | note->pitch);
}

static gpointer
note_id (const Mt3Note *note)
{
  return GUINT_TO_POINTER (note->id);
}

/* Queue */

/* Numbers the notes anew: those that are left out leave no gaps. */
static void
tell (Mt3NoteShaper *self, const Mt3Note *note, gboolean ended)
{
  Mt3Note numbered = *note;

  if (ended) {
    gpointer number = NULL;

    g_hash_table_steal_extended (self->numbers, note_id (note), NULL, &number);
    numbered.id = GPOINTER_TO_UINT (number);
  } else {
    numbered.id = ++self->last_id;
    g_hash_table_insert (self->numbers, note_id (note), note_id (&numbered));
  }
  self->callback (&numbered, ended, self->user_data);
}

static Report *
queue_report (Mt3NoteShaper *self, const Mt3Note *note, gboolean ended)
{
  Report *report = g_new0 (Report, 1);

  report->note = *note;
  report->ended = ended;
  g_queue_push_tail (&self->reports, report);
  return report;
}

/* Tells it at once if nothing waits before it. */
static void
report (Mt3NoteShaper *self, const Mt3Note *note, gboolean ended)
{
  if (self->reports.length == 0)
    tell (self, note, ended);
  else
    queue_report (self, note, ended);
}

static void
queue_undecided (Mt3NoteShaper *self, ShapedNote *shaped)
{
  queue_report (self, &shaped->note, FALSE)->undecided = shaped;
  shaped->onset = self->reports.tail;
}

static void
decide (ShapedNote *shaped)
{
  if (!shaped->onset)
    return;
  ((Report *) shaped->onset->data)->undecided = NULL;
  shaped->onset = NULL;
}

static void
drop (Mt3NoteShaper *self, ShapedNote *shaped)
{
  GList *link = shaped->onset;

  decide (shaped);
  g_free (link->data);
  g_queue_delete_link (&self->reports, link);
}

static gboolean
is_long_enough (
    const Mt3NoteShaper *self, const ShapedNote *shaped, gdouble until)
{
  return until - shaped->note.onset >= self->min_duration - ROUNDING;
}

static void
release_decided (Mt3NoteShaper *self)
{
  Report *report;

  while ((report = g_queue_peek_head (&self->reports)) && !report->undecided) {
    g_queue_pop_head (&self->reports);
    tell (self, &report->note, report->ended);
    g_free (report);
  }
}

/* Notes */

static void
end_shaped (Mt3NoteShaper *self, ShapedNote *shaped, gdouble offset)
{
  shaped->ended = TRUE;
  shaped->note.offset = offset;
  g_hash_table_remove (self->by_key, note_key (&shaped->note));
  if (shaped->onset && !is_long_enough (self, shaped, offset)) {
    drop (self, shaped);
    return;
  }
  decide (shaped);
  report (self, &shaped->note, TRUE);
}

static void
begin_shaped (Mt3NoteShaper *self, const Mt3Note *note)
{
  ShapedNote *shaped = g_hash_table_lookup (self->by_key, note_key (note));

  if (!shaped || shaped->note.onset < note->onset) {
    if (shaped)
      end_shaped (self, shaped, note->onset);
    shaped = g_new0 (ShapedNote, 1);
    shaped->note = *note;
    g_hash_table_insert (self->by_key, note_key (note), shaped);
    if (self->min_duration > 0.0)
      queue_undecided (self, shaped);
    else
      report (self, note, FALSE);
  }
  shaped->n_sources++;
  g_hash_table_insert (self->by_id, note_id (note), shaped);
}

static void
end_source (Mt3NoteShaper *self, const Mt3Note *note)
{
  gpointer source;
  ShapedNote *shaped;

  if (!g_hash_table_steal_extended (self->by_id, note_id (note), NULL, &source))
    return;
  shaped = source;
  shaped->last_offset = MAX (shaped->last_offset, note->offset);
  if (--shaped->n_sources > 0)
    return;
  if (!shaped->ended)
    end_shaped (self, shaped, shaped->last_offset);
  g_free (shaped);
}

/* FALSE: @note is left out. */
static gboolean
reshape (const Mt3NoteShaper *self, Mt3Note *note)
{
  if (self->velocity > 0)
    note->velocity = (guint8) self->velocity;
  if (note->is_drum)
    return self->map.drums;
  if (self->map.programs[note->program] == MT3_PROGRAM_OFF)
    return FALSE;
  note->program = (guint8) self->map.programs[note->program];
  return TRUE;
}

void
mt3_note_shaper_note (const Mt3Note *note, gboolean ended, gpointer shaper)
{
  Mt3NoteShaper *self = shaper;
  Mt3Note shaped = *note;

  if (note->is_drum) {
    if (reshape (self, &shaped))
      report (self, &shaped, ended);
  } else if (ended) {
    end_source (self, note);
  } else if (reshape (self, &shaped)) {
    begin_shaped (self, &shaped);
  }
  release_decided (self);
}

void
mt3_note_shaper_set (
    Mt3NoteShaper *self, const Mt3ProgramMap *map, guint velocity)
{
  self->map = *map;
  self->velocity = velocity;
}

void
mt3_note_shaper_advance (Mt3NoteShaper *self, gdouble seconds)
{
  for (GList *l = self->reports.head; l; l = l->next) {
    const Report *report = l->data;

    if (report->undecided && is_long_enough (self, report->undecided, seconds))
      decide (report->undecided);
  }
  release_decided (self);
}

void
mt3_note_shaper_finish (Mt3NoteShaper *self)
{
  mt3_note_shaper_advance (self, INFINITY);
}

Mt3NoteShaper *
mt3_note_shaper_new (
    gdouble min_duration, Mt3NoteCallback callback, gpointer user_data)
{
  Mt3NoteShaper *self = g_new0 (Mt3NoteShaper, 1);

  self->min_duration = min_duration;
  self->callback = callback;
  self->user_data = user_data;
  mt3_program_map_init (&self->map);
  self->by_id = g_hash_table_new (NULL, NULL);
  self->by_key = g_hash_table_new (NULL, NULL);
  self->numbers = g_hash_table_new (NULL, NULL);
  return self;
}

static gboolean
release_source (gpointer id, gpointer shaped, gpointer user_data)
{
  if (--((ShapedNote *) shaped)->n_sources == 0)
    g_free (shaped);
  return TRUE;
}

void
mt3_note_shaper_free (Mt3NoteShaper *self)
{
  g_hash_table_foreach_remove (self->by_id, release_source, NULL);
  g_hash_table_unref (self->by_id);
  g_hash_table_unref (self->by_key);
  g_hash_table_unref (self->numbers);
  g_queue_clear_full (&self->reports, g_free);
  g_free (self);
}
