/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/draw.h"
#include "training/note-encoder.h"

#include <math.h>
#include <string.h>

#define END_TOKEN 1
#define GRID_SECONDS 0.01f
/* Parts with fewer notes make poor melodies. */
#define MIN_MELODY_NOTES 30
/* General MIDI */
#define FIRST_GUITAR 24
#define FIRST_SYNTHESISER 80

static gint
draw_transpose (Mt3Draw *draw)
{
  return (gint) mt3_random_below (&draw->scene.random, 12) - 6;
}

/* Where a window may start, a little silence before the first note included. */
static gfloat
draw_start (Mt3Draw *draw, gfloat duration)
{
  return mt3_random_range (
      &draw->scene.random, -0.3f, MAX (duration - 0.5f, 0));
}

static Mt3Setting
draw_setting (Mt3Draw *draw)
{
  return mt3_random_chance (&draw->scene.random, draw->source->recipe.recorded)
             ? MT3_SETTING_RECORDED
             : MT3_SETTING_RENDERED;
}

static void
play_part (Mt3Draw *draw, const Mt3Player *player, guint part, gfloat start)
{
  const Mt3Corpus *corpus = &draw->source->corpus;

  mt3_scene_play (
      &draw->scene, player, corpus->notes, &corpus->parts[part], start);
}

static void
play_piano (Mt3Draw *draw)
{
  static const guint8 others[] = {4, 5, 6, 24, 25, 26, 46, 11, 16, 19, 48};
  const Mt3Corpus *corpus = &draw->source->corpus;
  Mt3Random *random = &draw->scene.random;
  const guint *index = mt3_draw_pick (random, draw->source->pieces[0]);
  guint program = mt3_random_below (random, 2);
  gint transpose = draw_transpose (draw);
  Mt3Player player;

  if (index == NULL)
    return;
  draw->setting = draw_setting (draw);
  if (draw->setting == MT3_SETTING_RENDERED && mt3_random_chance (random, 0.3f))
    program = others[mt3_random_below (random, G_N_ELEMENTS (others))];
  if (!mt3_draw_player (draw, program, 0, &player))
    return;
  player.transpose = transpose;

  const Mt3CorpusPiece *piece = &corpus->pieces[*index];
  gfloat start = draw_start (draw, piece->duration);
  for (guint i = 0; i < piece->n_parts; i++)
    if (!corpus->parts[piece->first_part + i].is_drum)
      play_part (draw, &player, piece->first_part + i, start);
}

static void
play_drums (Mt3Draw *draw, gfloat decibels)
{
  const Mt3Corpus *corpus = &draw->source->corpus;
  const guint *index = mt3_draw_pick (
      &draw->scene.random, draw->source->pieces[MT3_PIECE_DRUMS]);
  Mt3Player player;

  if (index == NULL || !mt3_draw_drummer (draw, decibels, &player))
    return;
  const Mt3CorpusPiece *piece = &corpus->pieces[*index];
  play_part (
      draw, &player, piece->first_part, draw_start (draw, piece->duration));
}

/* Parts of one program share their player. */
static void
play_band_part (Mt3Draw *draw, guint part_index, gfloat start, gint transpose,
    Mt3Player players[128])
{
  const Mt3CorpusPart *part = &draw->source->corpus.parts[part_index];
  Mt3Player *player = &players[part->program];

  if (player->instrument == NULL) {
    guint program = mt3_draw_substitute (draw, part->program);

    if (!mt3_draw_player (draw, program,
            mt3_random_range (&draw->scene.random, -9, 2), player))
      return;
  }
  player->transpose = player->instrument->program / 8 == part->program / 8
                          ? transpose
                          : mt3_draw_octave (part->mean_pitch,
                                player->instrument->program, transpose);
  play_part (draw, player, part_index, start);
}

static void
play_band (Mt3Draw *draw, const Mt3CorpusPiece *piece)
{
  const Mt3Corpus *corpus = &draw->source->corpus;
  Mt3Random *random = &draw->scene.random;
  Mt3Player players[128] = {0}, drummer;
  gfloat start = draw_start (draw, piece->duration);
  gfloat drums = mt3_random_range (random, -8, 4);
  gint transpose = draw_transpose (draw);
  gfloat drop =
      mt3_random_chance (random, 0.5f)
          ? mt3_random_range (random, 0, draw->source->recipe.drop_part)
          : 0;
  gboolean has_drums = FALSE,
           has_drummer = mt3_draw_drummer (draw, drums, &drummer);

  for (guint i = 0; i < piece->n_parts; i++) {
    guint part = piece->first_part + i;

    if (mt3_random_chance (random, drop))
      continue;
    if (!corpus->parts[part].is_drum) {
      play_band_part (draw, part, start, transpose, players);
    } else if (has_drummer) {
      play_part (draw, &drummer, part, start);
      has_drums = TRUE;
    }
  }
  if (!has_drums && piece->kind == MT3_PIECE_BAND &&
      mt3_random_chance (random, 0.35f))
    play_drums (draw, drums);
}

static void
play_melody (Mt3Draw *draw, guint program, gfloat decibels)
{
  const guint *index =
      mt3_draw_pick (&draw->scene.random, draw->source->melodies);
  Mt3Player player;

  if (index == NULL || !mt3_draw_player (draw, program, decibels, &player))
    return;
  const Mt3CorpusPart *part = &draw->source->corpus.parts[*index];
  player.transpose = mt3_draw_octave (
      part->mean_pitch, player.instrument->program, draw_transpose (draw));
  play_part (draw, &player, *index, draw_start (draw, part->duration));
}

static void
play_medley (Mt3Draw *draw)
{
  Mt3Random *random = &draw->scene.random;
  guint n = 1 + mt3_random_below (random, 4);

  /* What plays alone or with one other in a recording is in play_lines(): a
   * violin in a hall is no synthesiser's pad. */
  if (n <= 2)
    draw->setting = MT3_SETTING_RENDERED;
  for (guint i = 0; i < n; i++)
    play_melody (
        draw, mt3_draw_program (draw), mt3_random_range (random, -9, 0));
  if (mt3_random_chance (random, 0.45f))
    play_drums (draw, mt3_random_range (random, -8, 4));
}

/* Strings and winds by themselves, as chamber music has them. */
static void
play_lines (Mt3Draw *draw)
{
  Mt3Random *random = &draw->scene.random;
  const guint *quartet =
      mt3_draw_pick (random, draw->source->pieces[MT3_PIECE_STRINGS]);
  guint n =
      1 + mt3_random_chance (random, 0.35f) + mt3_random_chance (random, 0.2f);
  gfloat at = mt3_random_range (random, 0, 1);
  gfloat strings = 0.55f;

  /* Recordings of one to three instruments that are no piano are of strings. */
  if (draw_setting (draw) == MT3_SETTING_RECORDED) {
    draw->setting = MT3_SETTING_RECORDED;
    strings = 0.85f;
  }
  if (quartet && mt3_random_chance (random, 0.45f)) {
    play_band (draw, &draw->source->corpus.pieces[*quartet]);
    return;
  }
  for (guint i = 0; i < n; i++) {
    guint program = at < strings ? 40 + mt3_random_below (random, 4)
                    : at < 0.9f  ? 56 + mt3_random_below (random, 24)
                                 : mt3_draw_program (draw);

    /* No microphone hears a synthesiser. */
    if (draw->setting == MT3_SETTING_RECORDED && program >= FIRST_SYNTHESISER)
      program = FIRST_GUITAR + program % 8;
    play_melody (draw, program, mt3_random_range (random, -5, 0));
  }
}

/* Voices and noises that are no instrument's: nothing to write down. */
static void
play_distractors (Mt3Draw *draw)
{
  Mt3Random *random = &draw->scene.random;
  guint n = 1 + mt3_random_below (random, 4);
  Mt3Player player;

  if (!mt3_draw_player (draw, 120 + mt3_random_below (random, 8),
          mt3_random_range (random, -22, -6), &player) ||
      player.instrument->program < MT3_FIRST_EFFECT)
    return;
  player.label = -1;
  mt3_draw_vibrato (draw, &player, 120);
  for (guint i = 0; i < n; i++) {
    gfloat onset = mt3_random_range (random, -0.5f, draw->scene.seconds);
    gfloat end = onset + mt3_random_range (random, 0.1f, 1);

    mt3_scene_play_note (&draw->scene, &player,
        45 + mt3_random_below (random, 35), 64, onset, end, end);
  }
}

static void
play_scene (Mt3Draw *draw, Mt3SceneKind kind)
{
  const Mt3SceneSource *source = draw->source;
  Mt3Random *random = &draw->scene.random;
  const guint *band = mt3_draw_pick (random, source->pieces[MT3_PIECE_BAND]);

  switch (kind) {
    case MT3_SCENE_PIANO:
      play_piano (draw);
      break;
    case MT3_SCENE_BAND:
      if (band)
        play_band (draw, &source->corpus.pieces[*band]);
      break;
    case MT3_SCENE_MEDLEY:
      play_medley (draw);
      break;
    case MT3_SCENE_LINES:
      play_lines (draw);
      break;
    case MT3_SCENE_DRUMS:
      play_drums (draw, 0);
      break;
    case MT3_SCENE_EMPTY:
    case MT3_N_SCENE_KINDS:
      break;
  }
  if (mt3_random_chance (random, source->recipe.distractor))
    play_distractors (draw);
}

/* Ends the audio inside the window, and the notes with it. */
static gint
truncate_scene (Mt3Scene *scene, gfloat probability, guint window_samples)
{
  guint kept = 0;
  gfloat cut;

  if (!mt3_random_chance (&scene->random, probability))
    return window_samples;
  cut = mt3_random_range (&scene->random, 0.02f, scene->seconds - 0.03f);
  for (guint i = 0; i < scene->n_notes; i++) {
    Mt3Note note = scene->notes[i];

    if (note.onset > cut - 2 * GRID_SECONDS)
      continue;
    note.offset = MIN (note.offset, cut);
    scene->notes[kept++] = note;
  }
  scene->n_notes = kept;
  return (gint) (cut * MT3_BANK_RATE);
}

static guint
write_roll (const Mt3Scene *scene, gint16 *roll)
{
  gint end = mt3_note_encoder_step (scene->seconds);

  for (guint i = 0; i < scene->n_notes; i++, roll += 4) {
    const Mt3Note *note = &scene->notes[i];

    roll[0] = note->pitch;
    roll[1] = MAX (mt3_note_encoder_step (note->onset), -1);
    roll[2] = CLAMP (mt3_note_encoder_step (note->offset), 0, end);
    roll[3] = note->is_drum;
  }
  return scene->n_notes;
}

/* A window starts anywhere between two steps of the decoder's grid. */
static guint
write_tokens (
    Mt3Draw *draw, guint velocity_bins, gint16 *tokens, guint max_tokens)
{
  Mt3Scene *scene = &draw->scene;
  gfloat phase = mt3_random_range (&scene->random, 0, GRID_SECONDS);
  Mt3NoteEncoding encoding = {
      .velocity_bins = velocity_bins,
      .ties = TRUE,
      .first_step = 0,
      .end_step = (gint64) ((scene->seconds + phase) / GRID_SECONDS),
  };

  for (guint i = 0; i < scene->n_notes; i++) {
    scene->notes[i].onset += phase;
    scene->notes[i].offset += phase;
  }
  memset (tokens, 0, max_tokens * sizeof *tokens);
  guint n = mt3_note_encoder_encode (
      &encoding, scene->notes, scene->n_notes, (guint16 *) tokens, max_tokens);
  if (n < max_tokens)
    tokens[n] = END_TOKEN;
  return n + 1;
}

static void
draw_window (const Mt3SceneSource *source, Mt3Random *random,
    const Mt3SceneBatch *batch, guint index)
{
  const Mt3Recipe *recipe = &source->recipe;
  gsize voices = (gsize) index * MT3_SCENE_MAX_VOICES;
  Mt3Draw draw = {
      .source = source,
      .scene =
          {
              .sounds = source->sounds,
              .seconds = (gfloat) batch->window_samples / MT3_BANK_RATE,
              .first = batch->first + voices,
              .voices =
                  (gpointer) (batch->voices + voices * MT3_SCENE_VOICE_FIELDS),
          },
  };
  Mt3Scene *scene = &draw.scene;

  scene->random.state = mt3_random_next (random);
  scene->stretch = expf (
      mt3_random_range (&scene->random, -recipe->stretch, recipe->stretch));
  scene->velocity_power = mt3_random_range (&scene->random, 0.5f, 1.2f);
  draw.detune = mt3_random_range (&scene->random, -1, 1) *
                (mt3_random_chance (&scene->random, 0.5f) ? recipe->detune : 8);
  play_scene (&draw,
      mt3_draw_weighted (&scene->random, recipe->scenes, MT3_N_SCENE_KINDS));
  batch->cut[index] =
      truncate_scene (scene, recipe->truncated, batch->window_samples);
  batch->setting[index] = draw.setting;
  batch->n_voices[index] = scene->n_voices;
  batch->n_roll[index] = write_roll (scene, batch->roll + voices * 4);
  batch->n_tokens[index] = write_tokens (&draw, recipe->velocity_bins,
      batch->tokens + (gsize) index * batch->max_tokens, batch->max_tokens);
}

/* A window with more tokens than there is room for would teach the model to
 * stop early: another one is drawn in its place. */
void
mt3_scene_source_draw (
    const Mt3SceneSource *source, guint64 seed, const Mt3SceneBatch *batch)
{
  Mt3Random random = {seed};

  for (guint i = 0; i < batch->n_windows; i++) {
    do
      draw_window (source, &random, batch, i);
    while ((guint) batch->n_tokens[i] > batch->max_tokens);
  }
}

static void
index_corpus (Mt3SceneSource *source)
{
  const Mt3Corpus *corpus = &source->corpus;

  for (guint i = 0; i < corpus->n_pieces; i++) {
    const Mt3CorpusPiece *piece = &corpus->pieces[i];

    g_array_append_val (source->pieces[piece->kind], i);
    if (piece->kind != MT3_PIECE_BAND && piece->kind != MT3_PIECE_STRINGS)
      continue;
    for (guint j = 0; j < piece->n_parts; j++) {
      guint part = piece->first_part + j;

      if (!corpus->parts[part].is_drum &&
          corpus->parts[part].n_notes >= MIN_MELODY_NOTES)
        g_array_append_val (source->melodies, part);
    }
  }
}

static void
index_instruments (Mt3SceneSource *source, guint n_instruments)
{
  for (guint i = 0; i < n_instruments; i++) {
    const Mt3BankInstrument *instrument = &source->instruments[i];

    if (instrument->is_drum)
      g_array_append_val (source->kits[instrument->is_acoustic], i);
    else
      g_array_append_val (source->by_program[instrument->program], i);
  }
}

static GArray *
indexes_new (void)
{
  return g_array_new (FALSE, FALSE, sizeof (guint));
}

Mt3SceneSource *
mt3_scene_source_new (const Mt3Corpus *corpus, const Mt3BankSound *sounds,
    const Mt3BankInstrument *instruments, guint n_instruments,
    const Mt3Recipe *recipe)
{
  Mt3SceneSource *source = g_new0 (Mt3SceneSource, 1);

  source->corpus = *corpus;
  source->recipe = *recipe;
  source->sounds = sounds;
  source->instruments = instruments;
  source->melodies = indexes_new ();
  for (guint i = 0; i < G_N_ELEMENTS (source->pieces); i++)
    source->pieces[i] = indexes_new ();
  for (guint i = 0; i < G_N_ELEMENTS (source->by_program); i++)
    source->by_program[i] = indexes_new ();
  for (guint i = 0; i < G_N_ELEMENTS (source->kits); i++)
    source->kits[i] = indexes_new ();
  index_corpus (source);
  index_instruments (source, n_instruments);
  return source;
}

void
mt3_scene_source_free (Mt3SceneSource *source)
{
  g_array_unref (source->melodies);
  for (guint i = 0; i < G_N_ELEMENTS (source->pieces); i++)
    g_array_unref (source->pieces[i]);
  for (guint i = 0; i < G_N_ELEMENTS (source->by_program); i++)
    g_array_unref (source->by_program[i]);
  for (guint i = 0; i < G_N_ELEMENTS (source->kits); i++)
    g_array_unref (source->kits[i]);
  g_free (source);
}
