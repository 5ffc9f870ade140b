/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Notes in, notes out. What is decoded and what is reported are written alike:
 * "+1:0.50:60@40" is the onset of note 1, "-1:0.90" its end, "d2:0.70:36" a
 * drum hit; ">2.04" is an advance and "$" the finish.
 */
#include "notes/note-shaper.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_ID 16
#define VELOCITY 100

typedef struct {
  Mt3NoteShaper *shaper;
  Mt3Note notes[MAX_ID]; /* by id: as they began */
  GString *out;
} Run;

static void
log_note (const Mt3Note *note, gboolean ended, gpointer user_data)
{
  GString *out = ((Run *) user_data)->out;

  if (ended && note->is_drum)
    return;
  if (out->len > 0)
    g_string_append_c (out, ' ');
  if (note->is_drum)
    g_string_append_printf (
        out, "d%u:%.2f:%u", note->id, note->onset, note->pitch);
  else if (ended)
    g_string_append_printf (out, "-%u:%.2f", note->id, note->offset);
  else
    g_string_append_printf (out, "+%u:%.2f:%u@%u", note->id, note->onset,
        note->pitch, note->program);
  ck_assert (ended || isnan (note->offset));
  if (!ended && note->velocity != VELOCITY)
    g_string_append_printf (out, "v%u", note->velocity);
}

static void
play_drum (Run *run, guint id, gdouble onset, guint key)
{
  Mt3Note note = {.id = id,
      .onset = onset,
      .offset = NAN,
      .pitch = (guint8) key,
      .velocity = VELOCITY,
      .is_drum = TRUE};

  mt3_note_shaper_note (&note, FALSE, run->shaper);
  note.offset = onset + 0.01;
  mt3_note_shaper_note (&note, TRUE, run->shaper);
}

static void
play_word (Run *run, const gchar *word)
{
  guint id, pitch, program;
  gdouble time;

  if (sscanf (word, "+%u:%lf:%u@%u", &id, &time, &pitch, &program) == 4) {
    run->notes[id] = (Mt3Note){.id = id,
        .onset = time,
        .offset = NAN,
        .pitch = (guint8) pitch,
        .velocity = VELOCITY,
        .program = (guint8) program};
    mt3_note_shaper_note (&run->notes[id], FALSE, run->shaper);
  } else if (sscanf (word, "-%u:%lf", &id, &time) == 2) {
    run->notes[id].offset = time;
    mt3_note_shaper_note (&run->notes[id], TRUE, run->shaper);
  } else if (sscanf (word, "d%u:%lf:%u", &id, &time, &pitch) == 3) {
    play_drum (run, id, time, pitch);
  } else if (sscanf (word, ">%lf", &time) == 1) {
    mt3_note_shaper_advance (run->shaper, time);
  } else {
    ck_assert_str_eq (word, "$");
    mt3_note_shaper_finish (run->shaper);
  }
}

static void
play (Run *run, const gchar *text)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);

  for (gchar **word = words; *word; word++)
    play_word (run, *word);
}

static void
run_init (Run *run, gdouble min_duration)
{
  *run = (Run){.out = g_string_new (NULL)};
  run->shaper = mt3_note_shaper_new (min_duration, log_note, run);
}

static void
run_clear (Run *run)
{
  mt3_note_shaper_free (run->shaper);
  g_string_free (run->out, TRUE);
}

static const struct {
  const gchar *rule;
  const gchar *map; /* NULL: as decoded */
  guint velocity;
  gdouble min_duration;
  const gchar *in, *out;
} rules[] = {
    {"nothing changes by itself", NULL, 0, 0.0,
        "+1:0.00:60@0 d2:0.10:36 d3:0.10:36 -1:0.50 +4:0.50:60@0 +5:0.50:64@9 "
        "-5:0.51 +6:0.50:64@9 -4:0.60 -6:0.60",
        "+1:0.00:60@0 d2:0.10:36 d3:0.10:36 -1:0.50 +4:0.50:60@0 +5:0.50:64@9 "
        "-5:0.51 +6:0.50:64@9 -4:0.60 -6:0.60"},

    /* Programs */
    {"a part moves to another program", "1=40", 0, 0.0,
        "+1:0.00:60@1 +2:0.00:60@2 -1:0.50 -2:0.60",
        "+1:0.00:60@40 +2:0.00:60@2 -1:0.50 -2:0.60"},
    {"a part is left out", "1=off", 0, 0.0,
        "+1:0.00:60@1 +2:0.00:60@2 -1:0.50 -2:0.60", "+1:0.00:60@2 -1:0.60"},
    {"drums are left out", "drums=off", 0, 0.0,
        "d1:0.00:36 +2:0.00:60@0 d3:0.10:38 -2:0.60", "+1:0.00:60@0 -1:0.60"},
    {"drums are no part of program 0", "0=off", 0, 0.0, "d1:0.00:36",
        "d1:0.00:36"},

    /* Two parts in one */
    {"other keys do not matter", "1=2", 0, 0.0,
        "+1:0.00:60@1 +2:0.20:61@2 -1:0.50 -2:0.60",
        "+1:0.00:60@2 +2:0.20:61@2 -1:0.50 -2:0.60"},
    {"the later ends the earlier at its onset", "1=2", 0, 0.0,
        "+1:0.00:60@1 +2:0.20:60@2 -1:0.50 -2:0.60",
        "+1:0.00:60@2 -1:0.20 +2:0.20:60@2 -2:0.60"},
    {"and ends itself although the earlier would go on", "1=2", 0, 0.0,
        "+1:0.00:60@1 +2:0.20:60@2 -2:0.40 -1:0.60",
        "+1:0.00:60@2 -1:0.20 +2:0.20:60@2 -2:0.40"},
    {"two that begin together are one as long as the longer", "1=2", 0, 0.0,
        "+1:0.00:60@1 +2:0.00:60@2 -1:0.50 -2:0.60", "+1:0.00:60@2 -1:0.60"},
    {"whichever ends first", "1=2", 0, 0.0,
        "+1:0.00:60@1 +2:0.00:60@2 -2:0.50 -1:0.60", "+1:0.00:60@2 -1:0.60"},
    {"a third ends both", "1-2=3", 0, 0.0,
        "+1:0.00:60@1 +2:0.00:60@2 +3:0.30:60@3 -1:0.50 -3:0.55 -2:0.60",
        "+1:0.00:60@3 -1:0.30 +2:0.30:60@3 -2:0.55"},
    {"an end ahead of the reports counts", "1=2", 0, 0.0,
        "+1:0.00:60@1 +2:0.00:60@2 -2:0.51 -1:0.50", "+1:0.00:60@2 -1:0.51"},

    /* Velocity */
    {"all are equally loud", NULL, 64, 0.0, "+1:0.00:60@0 d2:0.00:36 -1:0.50",
        "+1:0.00:60@0v64 d2:0.00:36v64 "
        "-1:0.50"},

    /* Duration */
    {"short notes are left out", NULL, 0, 0.05,
        "+1:0.00:60@0 -1:0.04 +2:0.10:60@0 -2:0.30 $", "+1:0.10:60@0 -1:0.30"},
    {"not those of exactly the duration", NULL, 0, 0.05,
        "+1:0.30:60@0 -1:0.35 $", "+1:0.30:60@0 -1:0.35"},
    {"drum hits stay", NULL, 0, 0.05, "d1:0.30:36 $", "d1:0.30:36"},
    {"an onset is held back", NULL, 0, 0.05, "+1:0.30:60@0 >0.34", ""},
    {"until its note has lasted", NULL, 0, 0.05, "+1:0.30:60@0 >0.35",
        "+1:0.30:60@0"},
    {"or has ended", NULL, 0, 0.05, "+1:0.30:60@0 -1:0.40",
        "+1:0.30:60@0 -1:0.40"},
    {"what comes after it waits with it", NULL, 0, 0.05,
        "+1:0.30:60@0 d2:0.31:36 +3:0.32:62@0 -3:0.39 >0.34", ""},
    {"and comes in order", NULL, 0, 0.05,
        "+1:0.30:60@0 d2:0.31:36 +3:0.32:62@0 -3:0.39 >0.35",
        "+1:0.30:60@0 d2:0.31:36 +3:0.32:62@0 -3:0.39"},
    {"or when it is left out", NULL, 0, 0.05,
        "+1:0.30:60@0 d2:0.31:36 +3:0.32:62@0 -1:0.34 >0.36", "d1:0.31:36"},
    {"what the key's next note makes short is left out", "1=2", 0, 0.05,
        "+1:0.30:60@1 +2:0.33:60@2 -1:0.60 -2:0.50", "+1:0.33:60@2 -1:0.50"},
    {"at the end all is known", NULL, 0, 1.00,
        "+1:0.30:60@0 d2:0.40:36 -1:2.00 +3:2.00:61@0 -3:2.01 d4:2.50:36 $",
        "+1:0.30:60@0 d2:0.40:36 -1:2.00 d3:2.50:36"},
};

START_TEST (test_rule)
{
  Mt3ProgramMap map;
  Run run;

  run_init (&run, rules[_i].min_duration);
  mt3_program_map_init (&map);
  if (rules[_i].map)
    ck_assert (mt3_program_map_parse (rules[_i].map, &map, NULL));
  mt3_note_shaper_set (run.shaper, &map, rules[_i].velocity);
  play (&run, rules[_i].in);
  ck_assert_msg (g_strcmp0 (run.out->str, rules[_i].out) == 0, "%s: %s",
      rules[_i].rule, run.out->str);
  run_clear (&run);
}
END_TEST

START_TEST (test_a_change_counts_for_notes_that_begin_later)
{
  Mt3ProgramMap map;
  Run run;

  run_init (&run, 0.0);
  play (&run, "+1:0.00:60@1 +2:0.00:60@2");
  mt3_program_map_parse ("1=9, 2=off", &map, NULL);
  mt3_note_shaper_set (run.shaper, &map, 50);
  play (&run, "-1:0.50 +3:0.50:60@1 -2:0.60 +4:0.60:60@2 -3:0.70 -4:0.80");
  ck_assert_str_eq (run.out->str, "+1:0.00:60@1 +2:0.00:60@2 -1:0.50 "
                                  "+3:0.50:60@9v50 -2:0.60 -3:0.70");
  run_clear (&run);
}
END_TEST

/* What the shaper promises, whatever it is given. */
typedef struct {
  gdouble min_duration;
  gdouble last_onset;
  gdouble settled; /* of the last advance: nothing comes before it */
  guint n_begun, n_ended;
  GHashTable *sounding; /* id to Mt3Note (owned) */
} Promise;

static void
check_onset (Promise *promise, const Mt3Note *note)
{
  GHashTableIter iter;
  gpointer other;

  ck_assert_uint_eq (note->id, ++promise->n_begun);
  ck_assert_double_ge (note->onset, promise->last_onset);
  ck_assert_double_ge (note->onset, promise->settled);
  promise->last_onset = note->onset;
  g_hash_table_iter_init (&iter, promise->sounding);
  while (g_hash_table_iter_next (&iter, NULL, &other))
    ck_assert (note->is_drum || ((Mt3Note *) other)->pitch != note->pitch ||
               ((Mt3Note *) other)->program != note->program);
  g_hash_table_insert (promise->sounding, GUINT_TO_POINTER (note->id),
      g_memdup2 (note, sizeof *note));
}

static void
check_promise (const Mt3Note *note, gboolean ended, gpointer user_data)
{
  Promise *promise = user_data;

  if (!ended) {
    check_onset (promise, note);
    return;
  }
  ck_assert_double_ge (note->offset, promise->settled);
  ck_assert (note->is_drum ||
             note->offset - note->onset >= promise->min_duration - 1e-6);
  ck_assert (
      g_hash_table_remove (promise->sounding, GUINT_TO_POINTER (note->id)));
  promise->n_ended++;
}

#define N_PITCHES 3
#define N_PARTS 3

/* As a decoder reports: a key ends before it begins again. */
typedef struct {
  GRand *rand;
  Mt3NoteShaper *shaper;
  gint steps; /* of 10 ms */
  guint last_id;
  Mt3Note keys[N_PARTS][N_PITCHES]; /* id 0: silent */
} Player;

static void
end_key (Player *player, Mt3Note *key)
{
  if (key->id == 0)
    return;
  key->offset = MAX (player->steps * 0.01, key->onset + 0.01);
  mt3_note_shaper_note (key, TRUE, player->shaper);
  key->id = 0;
}

static void
play_anything (Player *player)
{
  guint part = (guint) g_rand_int_range (player->rand, 0, N_PARTS);
  guint pitch = (guint) g_rand_int_range (player->rand, 0, N_PITCHES);
  Mt3Note *key = &player->keys[part][pitch];
  Mt3Note note = {.id = player->last_id + 1,
      .onset = player->steps * 0.01,
      .offset = NAN,
      .pitch = (guint8) pitch,
      .velocity = VELOCITY,
      .program = (guint8) part};

  end_key (player, key);
  if (g_rand_int_range (player->rand, 0, 3) == 0)
    return;
  player->last_id++;
  note.is_drum = g_rand_int_range (player->rand, 0, 5) == 0;
  mt3_note_shaper_note (&note, FALSE, player->shaper);
  if (note.is_drum) {
    note.offset = note.onset + 0.01;
    mt3_note_shaper_note (&note, TRUE, player->shaper);
  } else {
    *key = note;
  }
}

START_TEST (test_any_notes_keep_the_promises)
{
  static const gchar *const maps[] = {"0=0", "0-2=5", "0=1,1=2", "1=off,2=0"};
  Promise promise = {.min_duration = 0.03 * (_i % 3)};
  Player player = {.rand = g_rand_new_with_seed ((guint32) _i)};
  Mt3ProgramMap map;

  promise.sounding = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  player.shaper =
      mt3_note_shaper_new (promise.min_duration, check_promise, &promise);
  for (guint i = 0; i < 2000; i++) {
    if (i % 100 == 0) {
      mt3_program_map_parse (
          maps[g_rand_int_range (player.rand, 0, 4)], &map, NULL);
      mt3_note_shaper_set (player.shaper, &map, 0);
    }
    play_anything (&player);
    player.steps += g_rand_int_range (player.rand, 0, 4);
    if (g_rand_int_range (player.rand, 0, 20) == 0) {
      mt3_note_shaper_advance (player.shaper, player.steps * 0.01);
      promise.settled = player.steps * 0.01 - promise.min_duration - 1e-6;
    }
  }
  for (guint i = 0; i < N_PARTS * N_PITCHES; i++)
    end_key (&player, &player.keys[i / N_PITCHES][i % N_PITCHES]);
  mt3_note_shaper_finish (player.shaper);
  ck_assert_uint_gt (promise.n_begun, 300);
  ck_assert_uint_eq (promise.n_ended, promise.n_begun);
  mt3_note_shaper_free (player.shaper);
  g_hash_table_unref (promise.sounding);
  g_rand_free (player.rand);
}
END_TEST

START_TEST (test_it_can_be_freed_while_notes_sound_and_wait)
{
  Mt3ProgramMap map;
  Run run;

  run_init (&run, 0.05);
  mt3_program_map_parse ("1=2", &map, NULL);
  mt3_note_shaper_set (run.shaper, &map, 0);
  play (&run, "+1:0.00:60@1 +2:0.00:60@2 +3:0.30:61@1 +4:0.32:61@2 d5:0.33:36");
  run_clear (&run);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("note-shaper");
  TCase *tcase = tcase_create ("note-shaper");
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_rule, 0, G_N_ELEMENTS (rules));
  tcase_add_test (tcase, test_a_change_counts_for_notes_that_begin_later);
  tcase_add_loop_test (tcase, test_any_notes_keep_the_promises, 0, 24);
  tcase_add_test (tcase, test_it_can_be_freed_while_notes_sound_and_wait);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
