/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-parity.c: a window's tokens and log-probabilities are the same bits
 * whatever shares the device with it: number of slots, which slot, steps a
 * call, dependent launch (and with those the kernels' tiles). Every third
 * window may have some tokens only, and a model's texts keep their order. And
 * in exact precision they are the CPU engine's tokens. Runs on a machine with a
 * GPU, with any model that the CUDA engine takes, and its draft network if
 * there is one (see draft-search.h). The first two ways share the fewest
 * kernels; one way alone is enough for a tool that watches every access, and
 * fewer slots, in one of the four modes, for one that is slow at it.
 *
 * usage: gpu-parity MODEL [N_WINDOWS [MAX_TOKENS [N_WAYS [MOST_SLOTS [MODE]]]]]
 *
 * MODE: 0 fast, 1 exact, 2 and 3 the same with tokens that are drawn
 */
#include "engine/cuda/cuda-backend.h"
#include "engine/draft-search.h"
#include "vocabulary/event-order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What float32 sums in another order differ by. */
#define TOLERANCE_LOG_PROB 2e-3

#define N_CPU_WINDOWS 12

/* Unless told: so many that lanes of all sizes have work; few tokens of each.
 */
#define N_WINDOWS 400
#define MAX_TOKENS 12

typedef struct {
  guint n_tokens;
  gboolean ended, rerun_exact;
  guint16 *tokens;
  gfloat *log_probs;
} Result;

/* How a set of windows is run. */
typedef struct {
  const gchar *name;
  guint n_slots;
  guint n_steps; /* 0: the backend's wish */
  gboolean backwards; /* windows and slots in reverse */
  const gchar *dependent; /* NULL: on the CPU */
} Way;

typedef struct {
  Mt3Model *model;
  Mt3Draft *draft;
  Mt3Precision precision;
  gfloat temperature;
  guint n_windows, max_tokens, n_ways, most_slots;
  gfloat **samples;
  Mt3TokenSet *allowed;
} Test;

/* Most windows are not full. */
static guint
count_frames (const Mt3Config *config, guint index)
{
  return config->window_frames - index % 7;
}

/* Two tones and noise, other ones in each window. */
static gfloat *
make_window (const Mt3Config *config, guint index)
{
  const gsize n = (gsize) count_frames (config, index) * config->hop_length;
  gfloat *samples = g_new0 (gfloat, mt3_config_window_samples (config));
  guint32 noise = index * 2654435761u + 1;

  for (gsize i = 0; i < n; i++) {
    gdouble t = (gdouble) i / config->sample_rate;

    noise = noise * 1664525u + 1013904223u;
    samples[i] = (gfloat) (0.3 * sin (2 * G_PI * (110 + 13 * index) * t) +
                           0.2 * sin (2 * G_PI * (331 + 29 * index) * t) +
                           0.05 * (noise / 4294967296.0 - 0.5));
  }
  return samples;
}

static Mt3TokenSet *
every_third_token (const Mt3Config *config)
{
  Mt3TokenSet *set = mt3_token_set_new (config->vocab_size);

  for (guint token = MT3_TOKEN_EOS; token < config->vocab_size; token += 3)
    mt3_token_set_add (set, token);
  return set;
}

static void
fill (const Test *test, Mt3Backend *backend, const Way *way, guint *next,
    gint *window_of)
{
  GError *error = NULL;

  for (guint i = 0; i < backend->n_slots && *next < test->n_windows; i++) {
    const guint slot = way->backwards ? backend->n_slots - 1 - i : i;
    const guint index = way->backwards ? test->n_windows - 1 - *next : *next;
    const Mt3Config *config = mt3_model_config (test->model);
    const Mt3TokenSet *allowed = index % 3 == 0 ? test->allowed : NULL;
    const Mt3BackendWindow window = {
        .slot = slot,
        .n_frames = count_frames (config, index),
        .index = index,
        .samples = test->samples[index],
        .decoding = {test->max_tokens, test->temperature, 40, 0.95f, 7, allowed,
            .order = mt3_event_order (config, allowed)},
    };

    if (window_of[slot] >= 0)
      continue;
    if (!backend->prefill (backend, &window, 1, &error))
      g_error ("%s", error->message);
    window_of[slot] = (gint) index;
    (*next)++;
  }
}

static void
keep (Mt3Backend *backend, guint slot, Result *result)
{
  Mt3BackendResult r = {0};

  backend->result (backend, slot, &r);
  result->n_tokens = r.n_tokens;
  result->ended = r.ended;
  result->rerun_exact = r.rerun_exact;
  result->tokens = g_memdup2 (r.tokens, r.n_tokens * sizeof (guint16));
  result->log_probs = g_memdup2 (r.log_probs, r.n_tokens * sizeof (gfloat));
  backend->release (backend, slot);
}

static Mt3Backend *
open_backend (const Test *test, const Way *way)
{
  const Mt3BackendOptions options = {
      .precision = test->precision,
      .n_slots = way->n_slots,
      .draft = test->draft,
  };
  GError *error = NULL;
  Mt3Backend *backend;

  if (way->dependent == NULL) {
    backend = mt3_cpu_backend_open (test->model, &options, &error);
  } else {
    g_setenv ("GST_MT3_CUDA_DEPENDENT_LAUNCH", way->dependent, TRUE);
    backend = mt3_cuda_backend_open (test->model, &options, &error);
  }
  if (backend == NULL)
    g_error ("%s", error->message);
  return backend;
}

/* @wanted: with as many slots as there may be */
static Result *
run (const Test *test, const Way *wanted)
{
  const Way limited = {wanted->name, MIN (wanted->n_slots, test->most_slots),
      wanted->n_steps, wanted->backwards, wanted->dependent};
  const Way *way = &limited;
  Result *results = g_new0 (Result, test->n_windows);
  g_autofree gint *window_of = g_new (gint, way->n_slots);
  g_autofree guint *finished = g_new (guint, way->n_slots);
  guint next = 0, done = 0;
  GError *error = NULL;
  Mt3Backend *backend = open_backend (test, way);

  for (guint i = 0; i < way->n_slots; i++)
    window_of[i] = -1;
  while (done < test->n_windows) {
    guint n = 0;

    fill (test, backend, way, &next, window_of);
    if (!backend->decode (backend,
            way->n_steps > 0 ? way->n_steps : backend->decode_steps, finished,
            &n, &error))
      g_error ("%s", error->message);
    for (guint i = 0; i < n; i++) {
      keep (backend, finished[i], &results[window_of[finished[i]]]);
      window_of[finished[i]] = -1;
    }
    done += n;
  }
  backend->close (backend);
  return results;
}

static gboolean
same (const Result *a, const Result *b)
{
  return a->n_tokens == b->n_tokens && a->ended == b->ended &&
         memcmp (a->tokens, b->tokens, a->n_tokens * sizeof (guint16)) == 0 &&
         memcmp (a->log_probs, b->log_probs, a->n_tokens * sizeof (gfloat)) ==
             0;
}

/* Where the first window that is not the same differs. */
static void
print_difference (const Test *test, const Result *a, const Result *b)
{
  guint i = 0, t = 0;

  while (i < test->n_windows && same (&a[i], &b[i]))
    i++;
  if (i == test->n_windows)
    return;
  while (t < MIN (a[i].n_tokens, b[i].n_tokens) &&
         a[i].tokens[t] == b[i].tokens[t] &&
         a[i].log_probs[t] == b[i].log_probs[t])
    t++;
  printf ("    window %u: %u and %u tokens, differs at %u", i, a[i].n_tokens,
      b[i].n_tokens, t);
  if (t < MIN (a[i].n_tokens, b[i].n_tokens))
    printf (": %u (%g), %u (%g)", a[i].tokens[t], a[i].log_probs[t],
        b[i].tokens[t], b[i].log_probs[t]);
  printf ("\n");
}

static void
free_results (Result *results, guint n)
{
  for (guint i = 0; i < n; i++) {
    g_free (results[i].tokens);
    g_free (results[i].log_probs);
  }
  g_free (results);
}

/* Whether both have the same tokens; @largest: of the differences between their
 * log-probabilities, so far. */
static gboolean
same_tokens (const Result *a, const Result *b, gfloat *largest)
{
  if (a->n_tokens != b->n_tokens ||
      memcmp (a->tokens, b->tokens, a->n_tokens * sizeof (guint16)) != 0)
    return FALSE;
  for (guint t = 0; t < a->n_tokens; t++)
    *largest = MAX (*largest, fabsf (a->log_probs[t] - b->log_probs[t]));
  return TRUE;
}

/* A window that left float16 is what the exact engine makes of it, bit for bit
 * where that had to go step by step, too. */
static guint
check_reruns (const Test *test, const Way *way, const Result *fast)
{
  Test exact = *test;
  Result *results;
  guint reruns = 0, equal = 0;
  gfloat largest = 0.0f;

  exact.precision = MT3_PRECISION_EXACT;
  results = run (&exact, way);
  for (guint i = 0; i < test->n_windows; i++) {
    if (!fast[i].rerun_exact)
      continue;
    reruns++;
    equal +=
        (results[i].rerun_exact ? same (&fast[i], &results[i])
                                : same_tokens (&fast[i], &results[i], &largest))
            ? 1
            : 0;
  }
  free_results (results, test->n_windows);
  printf ("  %u of %u reruns are what the exact engine makes: %s\n", equal,
      reruns,
      equal == reruns && largest <= TOLERANCE_LOG_PROB ? "ok" : "FAILED");
  return equal == reruns && largest <= TOLERANCE_LOG_PROB ? 0 : 1;
}

/* The first windows against the CPU engine, which the oracle has checked. */
static guint
check_cpu (const Test *test, const Result *results)
{
  const Way on_cpu = {"the CPU", N_CPU_WINDOWS, 0, FALSE, NULL};
  Test few = *test;
  Result *expected;
  guint equal = 0;
  gfloat largest = 0.0f;

  few.n_windows = MIN (test->n_windows, N_CPU_WINDOWS);
  expected = run (&few, &on_cpu);
  for (guint i = 0; i < few.n_windows; i++)
    equal += same_tokens (&results[i], &expected[i], &largest) ? 1 : 0;
  free_results (expected, few.n_windows);
  printf ("  %u of %u windows have the CPU's tokens, log-probabilities differ "
          "by at most %.1e: %s\n",
      equal, few.n_windows, largest,
      equal == few.n_windows && largest <= TOLERANCE_LOG_PROB ? "ok"
                                                              : "FAILED");
  return equal == few.n_windows && largest <= TOLERANCE_LOG_PROB ? 0 : 1;
}

static guint
check_allowed (const Test *test, const Result *results)
{
  guint tokens = 0, foreign = 0;

  for (guint i = 0; i < test->n_windows; i += 3)
    for (guint t = 0; t < results[i].n_tokens; t++) {
      tokens++;
      foreign +=
          mt3_token_set_contains (test->allowed, results[i].tokens[t]) ? 0 : 1;
    }
  printf ("  %u of %u tokens of constrained windows are allowed: %s\n",
      tokens - foreign, tokens, foreign == 0 ? "ok" : "FAILED");
  return foreign == 0 ? 0 : 1;
}

static guint
check_ways (const Test *test)
{
  static const Way ways[] = {
      {"four hundred slots", 400, 0, FALSE, "1"},
      {"one slot", 1, 0, FALSE, "1"},
      {"one slot, one step a call", 1, 1, FALSE, "1"},
      {"three slots, three steps a call", 3, 3, FALSE, "1"},
      {"twenty slots", 20, 0, FALSE, "1"},
      {"twenty slots, backwards", 20, 0, TRUE, "1"},
      {"forty slots, no dependent launch", 40, 0, FALSE, "0"},
  };
  Result *first = run (test, &ways[0]);
  guint failed = 0, tokens = 0, reruns = 0;

  for (guint i = 0; i < test->n_windows; i++) {
    tokens += first[i].n_tokens;
    reruns += first[i].rerun_exact ? 1 : 0;
  }
  printf ("%s, temperature %g: %u windows, %u tokens, %u reruns\n",
      test->precision == MT3_PRECISION_EXACT ? "exact" : "fast",
      test->temperature, test->n_windows, tokens, reruns);
  for (guint w = 1; w < MIN (test->n_ways, G_N_ELEMENTS (ways)); w++) {
    Result *results = run (test, &ways[w]);
    guint equal = 0;

    for (guint i = 0; i < test->n_windows; i++)
      equal += same (&first[i], &results[i]) ? 1 : 0;
    printf ("  %-34s %u of %u windows are the same bits: %s\n", ways[w].name,
        equal, test->n_windows, equal == test->n_windows ? "ok" : "FAILED");
    print_difference (test, first, results);
    failed += equal == test->n_windows ? 0 : 1;
    free_results (results, test->n_windows);
  }
  failed += check_allowed (test, first);
  if (test->precision == MT3_PRECISION_EXACT)
    failed += check_cpu (test, first);
  if (reruns > 0)
    failed += check_reruns (test, &ways[0], first);
  free_results (first, test->n_windows);
  return failed;
}

int
main (int argc, char **argv)
{
  Test test = {.n_windows = argc > 2 ? (guint) atoi (argv[2]) : N_WINDOWS,
      .max_tokens = argc > 3 ? (guint) atoi (argv[3]) : MAX_TOKENS,
      .n_ways = argc > 4 ? (guint) atoi (argv[4]) : G_MAXUINT,
      .most_slots = argc > 5 ? (guint) atoi (argv[5]) : G_MAXUINT};
  g_autoptr (GError) error = NULL;
  const guint first = argc > 6 ? (guint) atoi (argv[6]) : 0;
  const guint last = argc > 6 ? first : 3;
  guint failed = 0;

  if (argc < 2)
    g_error ("usage: gpu-parity MODEL [N_WINDOWS [MAX_TOKENS [N_WAYS "
             "[MOST_SLOTS [MODE]]]]]");
  test.model = mt3_model_open (argv[1], &error);
  if (test.model == NULL)
    g_error ("%s", error->message);
  test.draft = mt3_draft_search (test.model, &error);
  if (error != NULL)
    g_error ("%s", error->message);
  printf ("%s draft network\n", test.draft != NULL ? "with a" : "without a");
  test.samples = g_new (gfloat *, test.n_windows);
  for (guint i = 0; i < test.n_windows; i++)
    test.samples[i] = make_window (mt3_model_config (test.model), i);
  test.allowed = every_third_token (mt3_model_config (test.model));
  for (guint i = first; i <= last; i++) {
    test.precision = i % 2 ? MT3_PRECISION_EXACT : MT3_PRECISION_FAST;
    test.temperature = i < 2 ? 0.0f : 1.3f;
    failed += check_ways (&test);
  }
  for (guint i = 0; i < test.n_windows; i++)
    g_free (test.samples[i]);
  g_free (test.samples);
  mt3_token_set_unref (test.allowed);
  g_clear_pointer (&test.draft, mt3_draft_free);
  mt3_model_unref (test.model);
  return failed == 0 ? 0 : 1;
}
