/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/draw.h"

#include <math.h>

#define N_CLASSES 16

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

gpointer
mt3_draw_pick (Mt3Random *random, const GArray *indexes)
{
  if (indexes->len == 0)
    return NULL;
  return &g_array_index (
      indexes, guint, mt3_random_below (random, indexes->len));
}

guint
mt3_draw_weighted (Mt3Random *random, const gfloat *weights, guint n)
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
dies_away (const Mt3Draw *draw, const Mt3BankInstrument *instrument)
{
  for (guint pitch = 0; pitch < 128; pitch++)
    if (instrument->sounds[1][pitch] >= 0)
      return draw->scene.sounds[instrument->sounds[1][pitch]].loop < 0;
  return TRUE;
}

static gboolean
any_acoustic (const Mt3SceneSource *source, const GArray *indexes)
{
  for (guint i = 0; i < indexes->len; i++)
    if (source->instruments[g_array_index (indexes, guint, i)].is_acoustic)
      return TRUE;
  return FALSE;
}

/* One of @indexes, among the sampled ones when @sampled and there is one. */
static const guint *
pick_instrument (Mt3Draw *draw, const GArray *indexes, gboolean sampled)
{
  const Mt3SceneSource *source = draw->source;
  const guint *index;

  sampled = sampled && any_acoustic (source, indexes);
  do
    index = mt3_draw_pick (&draw->scene.random, indexes);
  while (sampled && !source->instruments[*index].is_acoustic);
  return index;
}

/* An instrument of @program, or of the one below it that the bank has. */
static const Mt3BankInstrument *
draw_instrument (Mt3Draw *draw, guint program)
{
  gboolean sampled =
      mt3_random_chance (&draw->scene.random, draw->source->recipe.sampled);

  for (guint i = 0; i < 128; i++) {
    const guint *index = pick_instrument (
        draw, draw->source->by_program[(program + 128 - i) % 128], sampled);

    if (index)
      return &draw->source->instruments[*index];
  }
  return NULL;
}

guint
mt3_draw_program (Mt3Draw *draw)
{
  gfloat weights[N_CLASSES];

  for (guint i = 0; i < N_CLASSES; i++)
    weights[i] = classes[i].weight;
  return 8 * mt3_draw_weighted (&draw->scene.random, weights, N_CLASSES) +
         mt3_random_below (&draw->scene.random, 8);
}

guint
mt3_draw_substitute (Mt3Draw *draw, guint program)
{
  const Mt3Recipe *recipe = &draw->source->recipe;
  gfloat at = mt3_random_range (&draw->scene.random, 0, 1);

  if (program >= MT3_FIRST_EFFECT)
    return mt3_draw_program (draw);
  if (at < recipe->same_program || draw->setting == MT3_SETTING_RECORDED)
    return program;
  if (at < recipe->same_program + recipe->near_program)
    return program / 8 * 8 + mt3_random_below (&draw->scene.random, 8);
  return mt3_draw_program (draw);
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

void
mt3_draw_vibrato (Mt3Draw *draw, Mt3Player *player, gfloat deepest_cents)
{
  Mt3Random *random = &draw->scene.random;
  gfloat hertz = mt3_random_range (random, 4.3f, 7);
  gfloat cents = mt3_random_range (random, 4, deepest_cents);

  player->vibrato_rate = 2 * (gfloat) G_PI * hertz / MT3_BANK_RATE;
  player->vibrato_depth = exp2f (cents / 1200) - 1;
}

gboolean
mt3_draw_player (
    Mt3Draw *draw, guint program, gfloat decibels, Mt3Player *player)
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
  /* Where a key is let go under the pedal nobody hears, only the next note:
   * that is what a label there must follow. The references of recordings end at
   * one to a hundredth of a second, pedal or not, those of strings too. */
  player->key_labels = draw->setting == MT3_SETTING_RECORDED;
  if (dies_away (draw, player->instrument)) {
    gfloat longest = player->key_labels ? 0.25f : 0.12f;

    player->release = mt3_random_range (random, 0.02f, longest);
  } else {
    player->legato = mt3_random_chance (random, recipe->legato);
    player->release = mt3_random_range (random, 0.03f, 0.2f);
    if (mt3_random_chance (random, 0.4f))
      player->attack = mt3_random_range (random, 0, 0.07f);
  }
  player->legato = player->legato || player->key_labels;
  if (may_have_vibrato (program) && mt3_random_chance (random, recipe->vibrato))
    mt3_draw_vibrato (draw, player, 35);
  return TRUE;
}

gboolean
mt3_draw_drummer (Mt3Draw *draw, gfloat decibels, Mt3Player *player)
{
  Mt3Random *random = &draw->scene.random;
  gboolean acoustic =
      mt3_random_chance (random, draw->source->recipe.acoustic_kit);
  const guint *kit = mt3_draw_pick (random, draw->source->kits[acoustic]);

  if (kit == NULL)
    kit = mt3_draw_pick (random, draw->source->kits[!acoustic]);
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

gint
mt3_draw_octave (guint mean_pitch, guint program, gint transpose)
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
