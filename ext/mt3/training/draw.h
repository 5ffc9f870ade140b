/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * draw.h: draws who plays in a scene: programs, instruments, manners.
 */
#pragma once

#include "training/player.h"

G_BEGIN_DECLS

/* Programs from here on are noises rather than instruments. */
#define MT3_FIRST_EFFECT 119

/* Indexes, of guint, of everything that is drawn from, by kind. */
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

/* A scene while it is drawn. @detune: cents, of everything in it. */
typedef struct {
  const Mt3SceneSource *source;
  Mt3Scene scene;
  Mt3Setting setting;
  gfloat detune;
} Mt3Draw;

/* One of @indexes (a guint), or NULL when there is none. */
gpointer mt3_draw_pick (Mt3Random *random, const GArray *indexes);

/* 0 to @n - 1, each as often as its weight says. */
guint mt3_draw_weighted (Mt3Random *random, const gfloat *weights, guint n);

/* Any program, common classes more often. */
guint mt3_draw_program (Mt3Draw *draw);

/* The program that plays a part written for @program. */
guint mt3_draw_substitute (Mt3Draw *draw, guint program);

/* Somebody who plays @program; FALSE when the bank has nobody. */
gboolean mt3_draw_player (
    Mt3Draw *draw, guint program, gfloat decibels, Mt3Player *player);
gboolean mt3_draw_drummer (Mt3Draw *draw, gfloat decibels, Mt3Player *player);

/* Gives @player a vibrato of up to @deepest_cents to either side. */
void mt3_draw_vibrato (Mt3Draw *draw, Mt3Player *player, gfloat deepest_cents);

/* @transpose, moved by octaves into the range of who plays the part. */
gint mt3_draw_octave (guint mean_pitch, guint program, gint transpose);

G_END_DECLS
