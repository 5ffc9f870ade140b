/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/note-encoder.h"
#include "training/player.h"
#include "training/scene.h"

#include <math.h>
#include <string.h>

#define END_TOKEN 1
#define GRID_SECONDS 0.01f
/* Parts with fewer notes make poor melodies. */
#define MIN_MELODY_NOTES 30
#define N_CLASSES 16
#define FIRST_EFFECT 119

/* Indexes of everything that is drawn from, by kind. */
struct _Mt3SceneSource {
  Mt3Corpus corpus;
  Mt3Recipe recipe;
  const Mt3BankSound *sounds;
  const Mt3BankInstrument *instruments;
  GArray *pieces[MT3_N_PIECE_KINDS];
  GArray *melodies; /* parts */
  GArray *by_program[128]; /* instruments */
  GArray *kits[2]; /* others, acoustic */
};

typedef struct {
  const Mt3SceneSource *source;
  Mt3Scene scene;
  gfloat detune;
} Draw;

/* What a class of General MIDI programs plays: the middle of its range, and
 * how often it is asked to play somebody else's part. */
static const struct {
  guint8 low, high;
  gfloat weight;
} classes[N_CLASSES] = {
    {27, 102, 1.5f}, /* piano */
    {54, 102, 0.5f}, /* chromatic percussion */
    {42, 90, 0.8f}, /* organ */
    {46, 82, 1.3f}, /* guitar */
    {34, 58, 1.2f}, /* bass */
    {42, 94, 1.6f}, /* strings */
    {42, 90, 1.2f}, /* ensemble */
    {46, 84, 1.0f}, /* brass */
    {46, 84, 1.0f}, /* reed */
    {61, 90, 1.0f}, /* pipe */
    {42, 90, 0.8f}, /* synth lead */
    {42, 90, 0.6f}, /* synth pad */
    {42, 90, 0.1f}, /* synth effects */
    {46, 84, 0.3f}, /* ethnic */
    {46, 84, 0.2f}, /* percussive */
    {0, 0, 0.0f}, /* sound effects */
};

static gpointer
array_pick (Mt3Random *random, const GArray *indexes)
{
  if (indexes->len == 0)
    return NULL;
  return &g_array_index (
      indexes, guint, mt3_random_below (random, indexes->len));
}

static guint
draw_weighted (Mt3Random *random, const gfloat *weights, guint n)
{
  gfloat total = 0, at;

  for (guint i = 0; i < n; i++)
    total += weights[i];
  at = mt3_random_range (random, 0, total);
  for (guint i = 0; i < n; i++) {
    if (at < weights[i])
      return i;
    at -= weights[i];
  }
  return 0;
}

static gboolean
dies_away (const Draw *draw, const Mt3BankInstrument *instrument)
{
  for (guint pitch = 0; pitch < 128; pitch++)
    if (instrument->sounds[1][pitch] >= 0)
      return draw->scene.sounds[instrument->sounds[1][pitch]].loop < 0;
  return TRUE;
}

/* An instrument of @program, or of the one below it that the bank has. */
static const Mt3BankInstrument *
draw_instrument (Draw *draw, guint program)
{
  for (guint i = 0; i < 128; i++) {
    const guint *index = array_pick (&draw->scene.random,
        draw->source->by_program[(program + 128 - i) % 128]);

    if (index)
      return &draw->source->instruments[*index];
  }
  return NULL;
}

static guint
draw_program (Draw *draw)
{
  gfloat weights[N_CLASSES];

  for (guint i = 0; i < N_CLASSES; i++)
    weights[i] = classes[i].weight;
  return 8 * draw_weighted (&draw->scene.random, weights, N_CLASSES) +
         mt3_random_below (&draw->scene.random, 8);
}

static guint
substitute_program (Draw *draw, guint program)
{
  const Mt3Recipe *recipe = &draw->source->recipe;
  gfloat at = mt3_random_range (&draw->scene.random, 0, 1);

  if (program >= FIRST_EFFECT)
    return draw_program (draw);
  if (at < recipe->same_program)
    return program;
  if (at < recipe->same_program + recipe->near_program)
    return program / 8 * 8 + mt3_random_below (&draw->scene.random, 8);
  return draw_program (draw);
}

static gfloat
from_decibels (gfloat decibels)
{
  return powf (10, decibels / 20);
}

static gboolean
may_have_vibrato (guint program)
{
  return (program >= 40 && program <= 43) || (program >= 48 && program <= 79);
}

static void
draw_vibrato (Draw *draw, Mt3Player *player, gfloat deepest_cents)
{
  Mt3Random *random = &draw->scene.random;
  gfloat hertz = mt3_random_range (random, 4.3f, 7);
  gfloat cents = mt3_random_range (random, 4, deepest_cents);

  player->vibrato_rate = 2 * (gfloat) G_PI * hertz / MT3_BANK_RATE;
  player->vibrato_depth = exp2f (cents / 1200) - 1;
}

/* Somebody who plays @program; FALSE when the bank has nobody. */
static gboolean
draw_player (Draw *draw, guint program, gfloat decibels, Mt3Player *player)
{
  const Mt3Recipe *recipe = &draw->source->recipe;
  Mt3Random *random = &draw->scene.random;

  *player = (Mt3Player){
      .instrument = draw_instrument (draw, program),
      .gain = from_decibels (decibels),
      .detune_cents = draw->detune,
  };
  if (player->instrument == NULL)
    return FALSE;
  program = player->instrument->program;
  player->label = recipe->labels[program];
  player->key_up = mt3_random_chance (random, recipe->unpedalled);
  if (dies_away (draw, player->instrument)) {
    player->release = mt3_random_range (random, 0.02f, 0.12f);
  } else {
    player->release = mt3_random_range (random, 0.03f, 0.2f);
    if (mt3_random_chance (random, 0.4f))
      player->attack = mt3_random_range (random, 0, 0.07f);
  }
  if (may_have_vibrato (program) && mt3_random_chance (random, recipe->vibrato))
    draw_vibrato (draw, player, 35);
  return TRUE;
}

static gboolean
draw_drummer (Draw *draw, gfloat decibels, Mt3Player *player)
{
  Mt3Random *random = &draw->scene.random;
  gboolean acoustic =
      mt3_random_chance (random, draw->source->recipe.acoustic_kit);
  const guint *kit = array_pick (random, draw->source->kits[acoustic]);

  if (kit == NULL)
    kit = array_pick (random, draw->source->kits[!acoustic]);
  if (kit == NULL)
    return FALSE;
  *player = (Mt3Player){
      .instrument = &draw->source->instruments[*kit],
      .drum_labels = draw->source->recipe.drum_labels,
      .gain = from_decibels (decibels),
      .detune_cents = mt3_random_range (random, -100, 100),
      .release = 0.1f,
  };
  return TRUE;
}

/* Moves a part by octaves into the range of who plays it. */
static gint
fit_octave (guint mean_pitch, guint program, gint transpose)
{
  gint low = classes[program / 8].low, high = classes[program / 8].high;

  if (high == 0)
    return transpose;
  while ((gint) mean_pitch + transpose < low)
    transpose += 12;
  while ((gint) mean_pitch + transpose > high)
    transpose -= 12;
  return transpose;
}

static gint
draw_transpose (Draw *draw)
{
  return (gint) mt3_random_below (&draw->scene.random, 12) - 6;
}

/* Where a window may start, a little silence before the first note included. */
static gfloat
draw_start (Draw *draw, gfloat duration)
{
  return mt3_random_range (
      &draw->scene.random, -0.3f, MAX (duration - 0.5f, 0));
}

static void
play_part (Draw *draw, const Mt3Player *player, guint part, gfloat start)
{
  const Mt3Corpus *corpus = &draw->source->corpus;

  mt3_scene_play (
      &draw->scene, player, corpus->notes, &corpus->parts[part], start);
}

static void
play_piano (Draw *draw)
{
  static const guint8 others[] = {4, 5, 6, 24, 25, 26, 46, 11, 16, 19, 48};
  const Mt3Corpus *corpus = &draw->source->corpus;
  Mt3Random *random = &draw->scene.random;
  const guint *index = array_pick (random, draw->source->pieces[0]);
  guint program = mt3_random_below (random, 2);
  gint transpose = draw_transpose (draw);
  Mt3Player player;

  if (index == NULL)
    return;
  if (mt3_random_chance (random, 0.14f))
    program = others[mt3_random_below (random, G_N_ELEMENTS (others))];
  if (!draw_player (draw, program, 0, &player))
    return;
  player.transpose = transpose;

  const Mt3CorpusPiece *piece = &corpus->pieces[*index];
  gfloat start = draw_start (draw, piece->duration);
  for (guint i = 0; i < piece->n_parts; i++)
    if (!corpus->parts[piece->first_part + i].is_drum)
      play_part (draw, &player, piece->first_part + i, start);
}

static void
play_drums (Draw *draw, gfloat decibels)
{
  const Mt3Corpus *corpus = &draw->source->corpus;
  const guint *index =
      array_pick (&draw->scene.random, draw->source->pieces[MT3_PIECE_DRUMS]);
  Mt3Player player;

  if (index == NULL || !draw_drummer (draw, decibels, &player))
    return;
  const Mt3CorpusPiece *piece = &corpus->pieces[*index];
  play_part (
      draw, &player, piece->first_part, draw_start (draw, piece->duration));
}

/* Parts of one program share their player. */
static void
play_band_part (Draw *draw, guint part_index, gfloat start, gint transpose,
    Mt3Player players[128])
{
  const Mt3CorpusPart *part = &draw->source->corpus.parts[part_index];
  Mt3Player *player = &players[part->program];

  if (player->instrument == NULL) {
    guint program = substitute_program (draw, part->program);

    if (!draw_player (draw, program,
            mt3_random_range (&draw->scene.random, -9, 2), player))
      return;
  }
  player->transpose = player->instrument->program / 8 == part->program / 8
                          ? transpose
                          : fit_octave (part->mean_pitch,
                                player->instrument->program, transpose);
  play_part (draw, player, part_index, start);
}

static void
play_band (Draw *draw, const Mt3CorpusPiece *piece)
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
           has_drummer = draw_drummer (draw, drums, &drummer);

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
play_melody (Draw *draw, guint program, gfloat decibels)
{
  const guint *index = array_pick (&draw->scene.random, draw->source->melodies);
  Mt3Player player;

  if (index == NULL || !draw_player (draw, program, decibels, &player))
    return;
  const Mt3CorpusPart *part = &draw->source->corpus.parts[*index];
  player.transpose = fit_octave (
      part->mean_pitch, player.instrument->program, draw_transpose (draw));
  play_part (draw, &player, *index, draw_start (draw, part->duration));
}

static void
play_medley (Draw *draw)
{
  Mt3Random *random = &draw->scene.random;
  guint n = 1 + mt3_random_below (random, 4);

  for (guint i = 0; i < n; i++)
    play_melody (draw, draw_program (draw), mt3_random_range (random, -9, 0));
  if (mt3_random_chance (random, 0.45f))
    play_drums (draw, mt3_random_range (random, -8, 4));
}

/* Strings and winds by themselves, as chamber music has them. */
static void
play_lines (Draw *draw)
{
  Mt3Random *random = &draw->scene.random;
  const guint *quartet =
      array_pick (random, draw->source->pieces[MT3_PIECE_STRINGS]);
  guint n =
      1 + mt3_random_chance (random, 0.4f) + mt3_random_chance (random, 0.25f);
  gfloat at = mt3_random_range (random, 0, 1);

  if (quartet && mt3_random_chance (random, 0.5f)) {
    play_band (draw, &draw->source->corpus.pieces[*quartet]);
    return;
  }
  for (guint i = 0; i < n; i++) {
    guint program = at < 0.55f   ? 40 + mt3_random_below (random, 4)
                    : at < 0.85f ? 56 + mt3_random_below (random, 24)
                                 : draw_program (draw);
    play_melody (draw, program, mt3_random_range (random, -5, 0));
  }
}

/* Voices and noises that are no instrument's: nothing to write down. */
static void
play_distractors (Draw *draw)
{
  Mt3Random *random = &draw->scene.random;
  guint n = 1 + mt3_random_below (random, 4);
  Mt3Player player;

  if (!draw_player (draw, 120 + mt3_random_below (random, 8),
          mt3_random_range (random, -22, -6), &player) ||
      player.instrument->program < FIRST_EFFECT)
    return;
  player.label = -1;
  draw_vibrato (draw, &player, 120);
  for (guint i = 0; i < n; i++) {
    gfloat onset = mt3_random_range (random, -0.5f, draw->scene.seconds);

    mt3_scene_play_note (&draw->scene, &player,
        45 + mt3_random_below (random, 35), 64, onset,
        onset + mt3_random_range (random, 0.1f, 1));
  }
}

static void
play_scene (Draw *draw, Mt3SceneKind kind)
{
  const Mt3SceneSource *source = draw->source;
  Mt3Random *random = &draw->scene.random;
  const guint *band = array_pick (random, source->pieces[MT3_PIECE_BAND]);

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
write_tokens (Draw *draw, guint velocity_bins, gint16 *tokens, guint max_tokens)
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
  Draw draw = {
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
  play_scene (
      &draw, draw_weighted (&scene->random, recipe->scenes, MT3_N_SCENE_KINDS));
  batch->cut[index] =
      truncate_scene (scene, recipe->truncated, batch->window_samples);
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
