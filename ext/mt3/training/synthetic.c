/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/synthetic.h"
#include "training/general-midi.h"
#include "training/random.h"

#include <math.h>

#define MAX_PARTIALS 40
#define HIGHEST_HERTZ 7600.0f
#define N_RESONANCES 3
#define N_BODY_RESONANCES 14 /* the most */
#define FIRST_KEY 24
#define LAST_KEY 102
#define KEY_STEP 3
#define SUSTAINED_SECONDS 3
#define DECAYING_SECONDS 5
#define DRUM_SECONDS 2

/* @slope: decibels an octave; @odd: 1 leaves out the even partials (clarinet);
 * @stiffness: inharmonicity of a string; @decay: seconds at middle C, 0 holds
 * on; @noise: breath, bow or hammer; @voice: formants of a mouth */
typedef struct {
  guint8 program;
  gfloat attack, slope, odd, stiffness, decay, noise, voice;
} Timbre;

static const Timbre timbres[] = {
    {0, 0.002f, -7, 0, 4e-4f, 1.6f, 0.04f, 0}, /* pianos */
    {1, 0.002f, -5, 0, 6e-4f, 1.2f, 0.06f, 0},
    {4, 0.002f, -11, 0.3f, 0, 1.4f, 0.02f, 0},
    {6, 0.001f, -3, 0, 2e-4f, 0.8f, 0.05f, 0},
    {11, 0.002f, -12, 0.5f, 2e-2f, 1.2f, 0.03f, 0}, /* mallets */
    {16, 0.005f, -4, 0.2f, 0, 0, 0.005f, 0}, /* organs */
    {19, 0.03f, -6, 0.1f, 0, 0, 0.02f, 0}, {21, 0.02f, -3, 0, 0, 0, 0.02f, 0},
    {24, 0.002f, -7, 0, 5e-5f, 0.9f, 0.03f, 0}, /* guitars */
    {25, 0.001f, -5, 0, 8e-5f, 1.1f, 0.03f, 0},
    {27, 0.002f, -7, 0, 5e-5f, 1.3f, 0.02f, 0},
    {30, 0.003f, -2, 0.1f, 0, 3.0f, 0.05f, 0},
    {32, 0.005f, -9, 0, 1e-4f, 0.7f, 0.04f, 0}, /* basses */
    {33, 0.003f, -7, 0, 1e-4f, 1.0f, 0.02f, 0},
    {38, 0.002f, -4, 0.2f, 0, 0.8f, 0, 0},
    {40, 0.06f, -4, 0, 0, 0, 0.05f, 0}, /* strings */
    {40, 0.02f, -3, 0, 0, 0, 0.10f, 0}, {40, 0.10f, -7, 0, 0, 0, 0.03f, 0},
    {41, 0.05f, -5, 0, 0, 0, 0.06f, 0}, {42, 0.07f, -5, 0, 0, 0, 0.05f, 0},
    {42, 0.03f, -4, 0, 0, 0, 0.10f, 0},
    {46, 0.002f, -9, 0, 3e-5f, 0.9f, 0.02f, 0},
    {48, 0.15f, -5, 0, 0, 0, 0.04f, 0},
    {52, 0.08f, -7, 0, 0, 0, 0.04f, 1}, /* voices */
    {56, 0.03f, -3, 0, 0, 0, 0.02f, 0}, /* brass */
    {60, 0.05f, -7, 0, 0, 0, 0.02f, 0},
    {65, 0.03f, -4, 0.1f, 0, 0, 0.06f, 0}, /* reeds */
    {68, 0.03f, -2, 0, 0, 0, 0.03f, 0}, {71, 0.03f, -6, 0.85f, 0, 0, 0.03f, 0},
    {73, 0.05f, -11, 0, 0, 0, 0.10f, 0}, /* flutes */
    {80, 0.003f, -6, 0.95f, 0, 0, 0, 0}, /* leads and pads */
    {81, 0.003f, -6, 0, 0, 0, 0, 0}, {88, 0.2f, -7, 0.1f, 0, 0, 0.02f, 0},
    {112, 0.001f, -5, 0.3f, 5e-2f, 0.7f, 0.05f, 0},
    {120, 0.03f, -5, 0, 0, 0, 0.15f, 1}, /* speech, to be ignored */
    {122, 0.10f, -1, 0, 0, 0, 2.00f, 0}, /* noise, likewise */
};

guint
mt3_synthetic_n_timbres (void)
{
  return G_N_ELEMENTS (timbres) + 1; /* and a drum kit */
}

static gfloat
vary (Mt3Random *random, gfloat value, gfloat factor)
{
  return value * expf (logf (factor) * mt3_random_range (random, -1, 1));
}

/* One instrument of a kind. */
typedef struct {
  Timbre timbre;
  guint n_resonances;
  gfloat hertz[N_BODY_RESONANCES], decibels[N_BODY_RESONANCES];
  gfloat sharpness; /* 1 is a width of an octave */
  gfloat ensemble; /* detuning between two players, as a ratio */
} Body;

static gboolean
is_bowed (const Timbre *timbre)
{
  return timbre->program >= 40 && timbre->program <= 42;
}

static Body
draw_body (Mt3Random *random, const Timbre *timbre)
{
  Body body = {.timbre = *timbre};

  body.timbre.attack = vary (random, timbre->attack, 2);
  body.timbre.slope += mt3_random_range (random, -3, 3);
  body.timbre.odd =
      CLAMP (timbre->odd + mt3_random_range (random, -0.15f, 0.15f), 0, 1);
  body.timbre.stiffness = vary (random, timbre->stiffness, 2);
  body.timbre.decay = vary (random, timbre->decay, 1.7f);
  body.timbre.noise = vary (random, timbre->noise, 2);
  body.ensemble = 1 + mt3_random_range (random, 0, 0.002f);
  /* What tells a bowed string from a wind is its wooden body: every partial is
   * as loud as the resonance that it meets. */
  body.n_resonances = is_bowed (timbre) ? N_BODY_RESONANCES : N_RESONANCES;
  body.sharpness = is_bowed (timbre) ? 9 : 2.5f;
  for (guint i = 0; i < body.n_resonances; i++) {
    body.hertz[i] = expf (mt3_random_range (random, logf (250), logf (5000)));
    body.decibels[i] = timbre->voice > 0   ? mt3_random_range (random, 15, 25)
                       : is_bowed (timbre) ? mt3_random_range (random, -14, 12)
                                           : mt3_random_range (random, -9, 9);
  }
  return body;
}

static gfloat
partial_gain (const Body *body, guint number, gfloat hertz, gfloat velocity)
{
  const Timbre *timbre = &body->timbre;
  gfloat octaves = log2f (number);
  /* Played softly, the treble goes first. */
  gfloat decibels = (timbre->slope - 5 * (1 - velocity)) * octaves;

  if (number % 2 == 0)
    decibels += 20 * log10f (1.001f - timbre->odd);
  for (guint i = 0; i < body->n_resonances; i++) {
    gfloat distance = log2f (hertz / body->hertz[i]) * body->sharpness;

    decibels += body->decibels[i] * expf (-distance * distance);
  }
  return powf (10, decibels / 20);
}

/* Adds a sine that dies away by exp (-t / @decay). */
static void
add_sine (gfloat *samples, guint n, gfloat hertz, gfloat gain, gfloat phase,
    gfloat decay)
{
  gdouble angle = 2 * G_PI * hertz / MT3_BANK_RATE;
  gdouble shrink =
      decay > 0 ? exp ((gdouble) (-1 / (decay * MT3_BANK_RATE))) : 1;
  gdouble turn_re = shrink * cos (angle), turn_im = shrink * sin (angle);
  gdouble re = gain * cos (phase), im = gain * sin (phase);

  for (guint i = 0; i < n; i++) {
    gdouble next = re * turn_re - im * turn_im;

    samples[i] += im;
    im = re * turn_im + im * turn_re;
    re = next;
  }
}

/* White noise through a one-pole low-pass at @hertz; @high gives what that
 * takes away. */
static void
add_noise (Mt3Random *random, gfloat *samples, guint n, gfloat gain,
    gfloat hertz, gboolean high, gfloat decay)
{
  gfloat keep = expf (-2 * (gfloat) G_PI * hertz / MT3_BANK_RATE);
  gfloat shrink = decay > 0 ? expf (-1 / (decay * MT3_BANK_RATE)) : 1;
  gfloat low = 0;

  for (guint i = 0; i < n; i++, gain *= shrink) {
    gfloat white = mt3_random_range (random, -1, 1);

    low = low * keep + white * (1 - keep);
    samples[i] += gain * (high ? white - low : low);
  }
}

static void
fade_in (gfloat *samples, guint n, gfloat seconds)
{
  gfloat keep = expf (-1 / (seconds * MT3_BANK_RATE)), missing = 1;

  for (guint i = 0; i < n; i++) {
    missing *= keep;
    samples[i] *= 1 - missing;
  }
}

static gfloat *
synthesise (Mt3Random *random, const Body *body, guint key, guint midi_velocity,
    guint n)
{
  const Timbre *timbre = &body->timbre;
  gfloat *samples = g_new0 (gfloat, n);
  gfloat fundamental = 440 * exp2f (((gfloat) key - 69) / 12);
  gfloat velocity = midi_velocity / 127.0f;
  gfloat decay = timbre->decay * exp2f ((60 - (gfloat) key) / 24);

  for (guint i = 1; i <= MAX_PARTIALS; i++) {
    gfloat hertz =
        i * fundamental * sqrtf (1 + timbre->stiffness * (gfloat) (i * i));
    gfloat gain = partial_gain (body, i, hertz, velocity);
    gfloat partial_decay = decay / (1 + 0.15f * (i - 1));

    if (hertz * body->ensemble > HIGHEST_HERTZ)
      break;
    for (guint player = 0; player < 2; player++)
      add_sine (samples, n, player ? hertz * body->ensemble : hertz,
          gain * velocity, mt3_random_range (random, 0, 2 * (gfloat) G_PI),
          partial_decay);
  }
  add_noise (random, samples, n, 4 * timbre->noise * velocity, 2500, FALSE,
      timbre->decay > 0 ? 0.03f : 0);
  fade_in (samples, n, timbre->attack);
  return samples;
}

static void
record_melodic (Mt3Random *random, const Timbre *timbre, guint8 source,
    Mt3BankWriter *writer)
{
  Body body = draw_body (random, timbre);
  gboolean sustains = timbre->decay == 0;
  guint n = (sustains ? SUSTAINED_SECONDS : DECAYING_SECONDS) * MT3_BANK_RATE;
  g_autoptr (Mt3Recorder) recorder = mt3_recorder_new (sustains);
  Mt3BankInstrument instrument = {.program = timbre->program, .source = source};

  for (guint layer = 0; layer < MT3_BANK_LAYERS; layer++)
    for (guint key = FIRST_KEY; key <= LAST_KEY; key += KEY_STEP)
      mt3_recorder_add (recorder, key, mt3_bank_velocities[layer],
          synthesise (random, &body, key, mt3_bank_velocities[layer], n), n);
  mt3_recorder_finish (recorder, writer, &instrument);
}

/* A drum: a skin whose pitch falls, and noise. @tone and @noise are gains. */
typedef struct {
  guint8 key;
  gfloat tone, hertz, tone_decay, noise, noise_hertz, noise_decay;
  gboolean metal; /* many unrelated partials; the noise is treble */
} Drum;

static const Drum drums[] = {
    {35, 1, 50, 0.20f, 0.2f, 2000, 0.01f, FALSE},
    {36, 1, 60, 0.15f, 0.3f, 3000, 0.01f, FALSE},
    {37, 0.5f, 1700, 0.02f, 0.4f, 3000, 0.015f, TRUE},
    {38, 0.5f, 190, 0.08f, 1, 2500, 0.09f, FALSE},
    {39, 0, 200, 0.05f, 1, 1500, 0.08f, FALSE},
    {40, 0.6f, 230, 0.07f, 1, 3500, 0.11f, FALSE},
    {41, 1, 80, 0.25f, 0.2f, 1000, 0.03f, FALSE},
    {42, 0.1f, 5000, 0.03f, 0.6f, 5500, 0.03f, TRUE},
    {43, 1, 95, 0.23f, 0.2f, 1000, 0.03f, FALSE},
    {44, 0.1f, 4500, 0.03f, 0.4f, 5000, 0.04f, TRUE},
    {45, 1, 115, 0.21f, 0.2f, 1000, 0.03f, FALSE},
    {46, 0.2f, 5000, 0.30f, 0.6f, 5500, 0.25f, TRUE},
    {47, 1, 140, 0.19f, 0.2f, 1200, 0.03f, FALSE},
    {48, 1, 165, 0.17f, 0.2f, 1200, 0.03f, FALSE},
    {49, 0.3f, 3500, 0.60f, 0.8f, 4500, 0.60f, TRUE},
    {50, 1, 195, 0.15f, 0.2f, 1200, 0.03f, FALSE},
    {51, 0.4f, 4000, 0.50f, 0.3f, 5500, 0.20f, TRUE},
    {53, 0.8f, 2500, 0.50f, 0.1f, 5500, 0.10f, TRUE},
    {55, 0.3f, 4500, 0.30f, 0.8f, 5000, 0.30f, TRUE},
    {57, 0.3f, 3000, 0.70f, 0.8f, 4000, 0.70f, TRUE},
    {59, 0.4f, 3600, 0.60f, 0.3f, 5000, 0.25f, TRUE},
};

static gfloat *
strike (Mt3Random *random, const Drum *drum, gfloat velocity, guint n)
{
  gfloat *samples = g_new0 (gfloat, n);
  guint n_partials = drum->metal ? 8 : 4;

  for (guint i = 0; i < n_partials; i++) {
    gfloat ratio = drum->metal ? mt3_random_range (random, 0.5f, 1.5f)
                               : 1 + 0.55f * i + 0.03f * i * i;

    add_sine (samples, n, MIN (drum->hertz * ratio, HIGHEST_HERTZ),
        drum->tone * velocity / (1 + i), 0, drum->tone_decay / (1 + 0.5f * i));
  }
  add_noise (random, samples, n, drum->noise * velocity, drum->noise_hertz,
      drum->metal, drum->noise_decay * (0.7f + 0.3f * velocity));
  fade_in (samples, n, 0.0007f);
  return samples;
}

static void
record_kit (Mt3Random *random, guint8 source, Mt3BankWriter *writer)
{
  guint n = DRUM_SECONDS * MT3_BANK_RATE;
  g_autoptr (Mt3Recorder) recorder = mt3_recorder_new (FALSE);
  Mt3BankInstrument instrument = {.is_drum = TRUE, .source = source};
  gfloat size = vary (random, 1, 1.25f), damping = vary (random, 1, 1.6f);

  for (gsize i = 0; i < G_N_ELEMENTS (drums); i++) {
    Drum drum = drums[i];

    drum.hertz = vary (random, drum.hertz, 1.1f) * size;
    drum.noise_hertz = MIN (vary (random, drum.noise_hertz, 1.3f), 7000);
    drum.tone_decay = vary (random, drum.tone_decay, 1.2f) * damping;
    drum.noise_decay = vary (random, drum.noise_decay, 1.2f) * damping;
    for (guint layer = 0; layer < MT3_BANK_LAYERS; layer++) {
      guint velocity = mt3_bank_velocities[layer];

      mt3_recorder_add (recorder, drum.key, velocity,
          strike (random, &drum, velocity / 127.0f, n), n);
    }
  }
  mt3_recorder_finish (recorder, writer, &instrument);
}

void
mt3_synthetic_record (
    guint index, guint variant, guint8 source, Mt3BankWriter *writer)
{
  guint timbre = index % mt3_synthetic_n_timbres ();
  Mt3Random random = {((guint64) timbre << 32) + variant};

  if (timbre < G_N_ELEMENTS (timbres))
    record_melodic (&random, &timbres[timbre], source, writer);
  else
    record_kit (&random, source, writer);
}
