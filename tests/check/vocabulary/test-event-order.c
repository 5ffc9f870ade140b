/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * test-event-order.c: which events may follow which, in models that keep an
 * order, and that what samplers and searches write keeps it and ends.
 */
#include "engine/beam.h"
#include "engine/sampler.h"
#include "vocabulary/event-order.h"
#include "vocabulary/vocabulary.h"

#include <check.h>
#include <stdlib.h>

#define BINS 8
#define VOCAB 1408
#define MAX_TOKENS 1024
#define N_TEXTS 100

static Mt3Config
make_config (gboolean ties)
{
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.velocity_bins = BINS;
  config.vocab_size = VOCAB;
  config.ties = ties;
  config.ordered_events = TRUE;
  return config;
}

/* "pitch:60", "tie" or "end". */
static guint
parse_token (const gchar *word)
{
  const gchar *colon = strchr (word, ':');
  Mt3Event event = {MT3_EVENT_INVALID, 0};

  if (g_str_equal (word, "end"))
    return MT3_TOKEN_EOS;
  if (colon != NULL)
    event.value = g_ascii_strtoull (colon + 1, NULL, 10);
  for (guint type = MT3_EVENT_SHIFT; type <= MT3_EVENT_DRUM; type++)
    if (g_str_has_prefix (word, mt3_event_type_name (type)))
      event.type = type;
  return mt3_vocabulary_token (BINS, event);
}

static Mt3TokenState
read_text (const Mt3TokenOrder *order, const gchar *text)
{
  Mt3TokenState state = mt3_token_order_start (order);
  g_auto (GStrv) words = g_strsplit (text, " ", -1);

  for (gchar **word = words; *word != NULL; word++) {
    gint token = (gint) parse_token (*word);

    ck_assert_msg (mt3_token_order_permits (order, &state, token, 1),
        "%s: %s is not permitted", text, *word);
    mt3_token_order_follow (order, &state, token);
  }
  return state;
}

static void
check_words (const Mt3TokenOrder *order, const gchar *text, const gchar *list,
    gboolean permitted)
{
  Mt3TokenState state = read_text (order, text);
  g_auto (GStrv) words = g_strsplit (list, " ", -1);

  for (gchar **word = words; *word != NULL; word++)
    ck_assert_msg (mt3_token_order_permits (order, &state,
                       (gint) parse_token (*word), 1) == permitted,
        "%s behind \"%s\"", *word, text);
}

#define ONSET "tie shift:10 program:8 velocity:3 pitch:60"
#define ENDING "program:8 pitch:60 pitch:64 tie shift:10 velocity:0 pitch:60"
#define HIT "tie shift:10 velocity:3 drum:36"

static const struct {
  const gchar *text, *permitted, *refused;
} rules[] = {
    /* What sounds already, by program and pitch */
    {"", "tie program:0 program:127",
        "end shift:1 pitch:60 velocity:0 velocity:1 drum:36"},
    {"program:8", "pitch:0 pitch:127", "tie end program:9 velocity:1 drum:36"},
    {"program:8 pitch:60", "pitch:61 program:9 tie",
        "pitch:60 pitch:59 program:8 program:7 end shift:1 velocity:1"},

    /* A window's first events */
    {"tie", "end shift:1 shift:204 program:0 velocity:1 velocity:8",
        "tie shift:0 shift:205 pitch:60 drum:36 velocity:0"},
    {"program:8 pitch:60 tie", "velocity:0 velocity:1 program:7 program:9 end",
        "program:8 pitch:60 pitch:61 drum:36"},

    /* Time goes forward, and something happens then */
    {"tie shift:10", "program:0 velocity:1", "end tie shift:11 velocity:0"},
    {ONSET, "shift:11 shift:204 end", "shift:10 shift:9 shift:0 tie"},
    {ONSET " shift:20", "pitch:60 pitch:59 program:7 velocity:0 drum:36",
        "program:8 velocity:3 shift:21 end"},

    /* Programs and velocities are written when they change, in this order, and
     * for something */
    {"tie program:8", "velocity:0 velocity:1",
        "end shift:1 program:9 pitch:60 drum:36"},
    {"tie program:8 velocity:1", "pitch:0", "velocity:2 program:9 drum:36 end"},
    {"tie velocity:1", "drum:0", "velocity:2 program:8 pitch:60 shift:1 end"},
    {ONSET, "program:9 velocity:2", "program:8 velocity:3"},
    {ONSET " program:9", "pitch:0 velocity:4", "drum:36 velocity:0"},

    /* Within a moment: ends, onsets, drums; each note once */
    {ENDING, "pitch:64 program:9 program:7 velocity:1 shift:11 end",
        "pitch:60 pitch:59 drum:36"},
    {ENDING " velocity:1", "pitch:60 pitch:0 drum:36", "velocity:0 program:9"},
    {ENDING " program:7", "velocity:1", "pitch:0 velocity:0"},
    {ONSET, "pitch:61 program:9 drum:36",
        "pitch:60 pitch:59 velocity:0 program:7"},
    {HIT, "drum:37 velocity:4 shift:11 end",
        "drum:36 drum:35 velocity:0 velocity:3 program:8 pitch:61"},

    /* The last of its kind */
    {"tie shift:204 velocity:1 drum:127", "end",
        "shift:204 velocity:2 program:0 drum:127"},
    {"tie program:127 velocity:1 pitch:127", "velocity:2 drum:0 shift:1 end",
        "pitch:127 velocity:0"},
};

START_TEST (test_this_may_follow)
{
  const Mt3Config config = make_config (TRUE);
  const Mt3TokenOrder order = mt3_event_order (&config, NULL);

  check_words (&order, rules[_i].text, rules[_i].permitted, TRUE);
  check_words (&order, rules[_i].text, rules[_i].refused, FALSE);
}
END_TEST

START_TEST (test_without_ties_a_text_begins_with_events)
{
  const Mt3Config config = make_config (FALSE);
  const Mt3TokenOrder order = mt3_event_order (&config, NULL);

  check_words (&order, "", "end shift:1 velocity:1 program:0", TRUE);
  check_words (&order, "", "tie pitch:60 velocity:0", FALSE);
}
END_TEST

START_TEST (test_a_model_that_does_not_say_so_has_no_order)
{
  Mt3Config config = make_config (TRUE);
  Mt3TokenOrder order;

  config.ordered_events = FALSE;
  order = mt3_event_order (&config, NULL);
  ck_assert (!mt3_token_order_exists (&order));
}
END_TEST

/* All tokens but those of @without. */
static Mt3TokenSet *
set_without (Mt3EventType without, guint from)
{
  Mt3TokenSet *set = mt3_token_set_new (VOCAB);

  for (guint token = 0; token < VOCAB; token++) {
    Mt3Event event = mt3_vocabulary_event (BINS, token);

    if (event.type != without || event.value < from)
      mt3_token_set_add (set, token);
  }
  return set;
}

static const struct {
  Mt3EventType without;
  guint from;
  const gchar *text, *permitted, *refused;
} partial[] = {
    {MT3_EVENT_PITCH, 0, "tie", "velocity:1 shift:1 end", "program:0"},
    {MT3_EVENT_PITCH, 0, "", "tie", "program:0"},
    {MT3_EVENT_PITCH, 0, HIT " shift:20", "drum:36 velocity:1", "velocity:0"},
    {MT3_EVENT_DRUM, 0, "tie", "program:0 shift:1", "velocity:1"},
    {MT3_EVENT_DRUM, 0, "tie program:127 velocity:1 pitch:127", "shift:1 end",
        "velocity:2"},
    {MT3_EVENT_PITCH, 65, ONSET " pitch:64", "program:9", "velocity:0"},
    {MT3_EVENT_DRUM, 40, HIT " drum:39", "shift:11 end", "velocity:1"},
};

START_TEST (test_nothing_leads_to_what_is_not_allowed)
{
  const Mt3Config config = make_config (TRUE);
  g_autoptr (Mt3TokenSet) allowed =
      set_without (partial[_i].without, partial[_i].from);
  const Mt3TokenOrder order = mt3_event_order (&config, allowed);

  check_words (&order, partial[_i].text, partial[_i].permitted, TRUE);
  check_words (&order, partial[_i].text, partial[_i].refused, FALSE);
}
END_TEST

/* An event as its place: when, what (end, onset, drum), which. */
static guint64
place_of (guint shift, const Mt3Event *event, guint velocity, guint program)
{
  guint kind = event->type == MT3_EVENT_DRUM ? 2 : velocity > 0;

  return (((guint64) shift * 3 + kind) << 14 | (kind == 2 ? 0 : program) << 7 |
             event->value) +
         1;
}

/* In other words than those of the rule: behind the tie the places of events
 * ascend, and nothing else stands before the next event but one shift, program
 * and velocity at most. */
static void
must_keep_order (const guint16 *tokens, guint n_tokens)
{
  guint shift = 0, program = 0, velocity = 0, i = 0;
  guint64 last = 0;

  while (mt3_vocabulary_event (BINS, tokens[i]).type != MT3_EVENT_TIE)
    ck_assert_uint_lt (++i, n_tokens);
  for (i++; i < n_tokens;) {
    guint first = i;
    guint64 place;
    Mt3Event event;

    while (event = mt3_vocabulary_event (BINS, tokens[i]),
        event.type != MT3_EVENT_PITCH && event.type != MT3_EVENT_DRUM) {
      if (event.type == MT3_EVENT_SHIFT)
        shift = event.value;
      else if (event.type == MT3_EVENT_PROGRAM)
        program = event.value;
      else
        velocity = event.value;
      ck_assert_uint_lt (++i, n_tokens);
    }
    ck_assert_uint_le (i++ - first, 3);
    place = place_of (shift, &event, velocity, program);
    ck_assert_uint_gt (place, last);
    last = place;
  }
}

/* As a model that knows nothing; @end: how much it likes to end. */
static void
fill_logits (GRand *random, gfloat end, gfloat logits[VOCAB])
{
  for (guint i = 0; i < VOCAB; i++)
    logits[i] = (gfloat) g_rand_double_range (random, -5, 5);
  logits[MT3_TOKEN_EOS] = end;
}

/* Greedily, or drawn when @decoding has a temperature. */
static guint
write_text (
    const Mt3Decoding *decoding, GRand *random, gfloat end, guint16 *tokens)
{
  Mt3TokenState state = mt3_token_order_start (&decoding->order);
  Mt3Candidate candidates[VOCAB];
  gfloat logits[VOCAB];

  for (guint n = 0; n < MAX_TOKENS; n++) {
    fill_logits (random, end, logits);
    tokens[n] = decoding->temperature > 0.0f
                    ? mt3_sampler_draw (
                          logits, VOCAB, decoding, &state, 0, n, candidates)
                    : mt3_sampler_best (logits, VOCAB, decoding, &state);
    if (tokens[n] == MT3_TOKEN_EOS)
      return n;
    mt3_token_order_follow (&decoding->order, &state, tokens[n]);
  }
  ck_abort_msg ("a text without an end");
}

/* Even a model that would rather not. */
static const struct {
  gfloat end, temperature;
} writers[] = {
    {5.0f, 0.0f},
    {-1000.0f, 0.0f},
    {5.0f, 1.0f},
    {-1000.0f, 1.0f},
};

START_TEST (test_what_samplers_write_keeps_the_order_and_ends)
{
  const Mt3Config config = make_config (TRUE);
  g_autoptr (GRand) random = g_rand_new_with_seed (_i);
  Mt3Decoding decoding = MT3_DECODING_GREEDY;
  guint16 tokens[MAX_TOKENS];

  decoding.order = mt3_event_order (&config, NULL);
  decoding.temperature = writers[_i].temperature;
  for (decoding.seed = 0; decoding.seed < N_TEXTS; decoding.seed++) {
    guint n = write_text (&decoding, random, writers[_i].end, tokens);

    must_keep_order (tokens, n);
  }
}
END_TEST

static gboolean
step_search (Mt3BeamSearch *search, GRand *random)
{
  guint n = mt3_beam_search_n_candidates (search), n_live = search->n_live;
  g_autofree Mt3BeamCandidate *candidates =
      g_new (Mt3BeamCandidate, n * n_live);
  gfloat logits[VOCAB];

  for (guint beam = 0; beam < n_live; beam++) {
    fill_logits (random, 5.0f, logits);
    mt3_beam_search_rank (
        search, beam, logits, VOCAB, 10.0f, candidates + beam * n);
  }
  return mt3_beam_search_step (search, candidates, n * n_live);
}

START_TEST (test_what_a_search_finds_keeps_the_order_and_ends)
{
  const Mt3Config config = make_config (TRUE);
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  Mt3Decoding decoding = MT3_DECODING_GREEDY;
  guint16 tokens[MAX_TOKENS];
  gfloat log_probs[MAX_TOKENS];

  decoding.order = mt3_event_order (&config, NULL);
  decoding.max_tokens = MAX_TOKENS;
  decoding.beam_size = 4;
  decoding.beam_alpha = 3.0f; /* long texts */
  for (guint i = 0; i < N_TEXTS; i++) {
    g_autoptr (Mt3BeamSearch) search = mt3_beam_search_new (&decoding);
    gboolean ended;

    while (step_search (search, random))
      continue;
    must_keep_order (
        tokens, mt3_beam_search_read (search, tokens, log_probs, &ended));
    ck_assert (ended);
  }
}
END_TEST

/* A set that leaves no way on. */
START_TEST (test_where_nothing_is_permitted_a_text_ends)
{
  const Mt3Config config = make_config (TRUE);
  g_autoptr (Mt3TokenSet) none = mt3_token_set_new (VOCAB);
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  Mt3Decoding decoding = MT3_DECODING_GREEDY;
  g_autoptr (Mt3BeamSearch) search = NULL;
  guint16 tokens[MAX_TOKENS];

  decoding.max_tokens = MAX_TOKENS;
  decoding.allowed = none;
  decoding.order = mt3_event_order (&config, none);
  ck_assert_uint_eq (write_text (&decoding, random, 0.0f, tokens), 0);
  search = mt3_beam_search_new (&decoding);
  ck_assert (!step_search (search, random));
  ck_assert_uint_eq (search->n_finished, 1);
  decoding.temperature = 1.0f;
  ck_assert_uint_eq (write_text (&decoding, random, 0.0f, tokens), 0);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("event order");
  TCase *rule = tcase_create ("rule");
  TCase *texts = tcase_create ("texts");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_add_loop_test (rule, test_this_may_follow, 0, G_N_ELEMENTS (rules));
  tcase_add_test (rule, test_without_ties_a_text_begins_with_events);
  tcase_add_test (rule, test_a_model_that_does_not_say_so_has_no_order);
  tcase_add_loop_test (rule, test_nothing_leads_to_what_is_not_allowed, 0,
      G_N_ELEMENTS (partial));
  suite_add_tcase (suite, rule);
  tcase_add_loop_test (texts, test_what_samplers_write_keeps_the_order_and_ends,
      0, G_N_ELEMENTS (writers));
  tcase_add_test (texts, test_what_a_search_finds_keeps_the_order_and_ends);
  tcase_add_test (texts, test_where_nothing_is_permitted_a_text_ends);
  suite_add_tcase (suite, texts);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
