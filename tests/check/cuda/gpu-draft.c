/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-draft.c: what lies between a step of several places and the next: which
 * places count, where rows go on, and what is left for a draft network's passes
 * and the next step. Runs on a machine with a GPU: see tests/benchmarks/gpu.sh.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device-arrays.h"
#include "engine/sampler.h"
#include "vocabulary/event-order.h"

#define D_MODEL 576 /* more than a block's threads take at once */
#define N_SQUARES (D_MODEL / MT3_CUDA_DECODE_SQUARES)
#define N_POSITIONS 64
#define N_STEPS 3
#define VOCAB 1536
#define WRONG 500 /* tokens beside the right one */
#define NOWHERE -1

static const Mt3CudaLaunch in_order;

/**
 * Case: what a step of the most places made of a row
 * @n_drafts_right: before the first wrong one; those behind it are right again
 * @end, @overflow: places that made the end, and that left float16
 * @n_right: places that count
 */
typedef struct {
  gint remaining, n_drafts_right;
  gint end, overflow;
  gint n_right;
} Case;

static const Case cases[] = {
    /* up to the first wrong draft */
    {20, 0, NOWHERE, NOWHERE, 1},
    {20, 1, NOWHERE, NOWHERE, 2},
    {20, 2, NOWHERE, NOWHERE, 3},
    {20, 3, NOWHERE, NOWHERE, 4},
    /* up to the end */
    {20, 3, 0, NOWHERE, 1},
    {20, 3, 1, NOWHERE, 2},
    {20, 3, 3, NOWHERE, 4},
    {20, 0, 1, NOWHERE, 1},
    /* up to what is no result */
    {20, 3, NOWHERE, 0, 1},
    {20, 3, NOWHERE, 2, 3},
    {20, 1, NOWHERE, 2, 2},
    /* as many as remain */
    {0, 3, NOWHERE, NOWHERE, 0},
    {1, 3, NOWHERE, NOWHERE, 1},
    {2, 3, NOWHERE, NOWHERE, 2},
    {3, 3, NOWHERE, NOWHERE, 3},
    {4, 3, NOWHERE, NOWHERE, 4},
    /* with fewer behind them than a step has places */
    {2, 0, NOWHERE, NOWHERE, 1},
    {3, 0, NOWHERE, NOWHERE, 1},
    {4, 0, NOWHERE, NOWHERE, 1},
    {5, 0, NOWHERE, NOWHERE, 1},
    {5, 3, NOWHERE, NOWHERE, 4},
    {6, 3, NOWHERE, NOWHERE, 4},
};

#define N_ROWS ((gint) G_N_ELEMENTS (cases))

/* Launches behind a pass, of a step with so many places. */
static const struct {
  gint places, place;
} passes[] = {{2, 1}, {3, 1}, {4, 1}, {3, 2}, {4, 2}, {4, 3}};

#define N_PASSES ((gint) G_N_ELEMENTS (passes))

/* One launch, and on the host what it is given. */
typedef struct {
  gint places, place, n_lines;
  Mt3CudaRow rows[G_N_ELEMENTS (cases)];
  Mt3CudaRecord *records;
  gfloat *embedding, *positions, *pass_squares;
  guint16 *pass;
  Mt3CudaDraft args;
} Scene;

/* -------------------------------------------------------- what is expected */

static gint
made_token (gint i, gint place)
{
  return cases[i].end == place ? MT3_TOKEN_EOS : 100 + 10 * i + place;
}

static gint
first_position (gint i)
{
  return 2 * i;
}

static gint
n_right (const Scene *s, gint i)
{
  return MIN (cases[i].n_right, s->places);
}

/* What remains behind the step. */
static gint
n_left (const Scene *s, gint i)
{
  const gint n = n_right (s, i);
  const gboolean ends =
      n > 0 && (cases[i].end == n - 1 || cases[i].overflow == n - 1);

  return ends ? 0 : cases[i].remaining - n;
}

/* Where a row stands behind the step. */
static gint
next_position (const Scene *s, gint i)
{
  return first_position (i) + n_right (s, i);
}

/* The most probable token of a line of logits; of two the lower one. */
static gint
best_token (gint line)
{
  return 40 + 7 * line;
}

/* The draft that the launch makes for a row. */
static gint
drafted_token (const Scene *s, gint i)
{
  return best_token (s->place == 1 ? i * s->places + n_right (s, i) - 1 : i);
}

/* ------------------------------------------------------------ what is given */

static gfloat *
make_logits (gint n_lines)
{
  gfloat *logits = random_floats ((gsize) n_lines * VOCAB, 6.0f);

  for (gint line = 0; line < n_lines; line++) {
    gfloat *own = logits + (gsize) line * VOCAB;

    own[best_token (line)] = own[best_token (line) + 300] = 10.0f;
  }
  return logits;
}

static Mt3CudaRow
make_row (const Scene *s, gint i)
{
  Mt3CudaRow row = {
      .slot = i,
      .position = first_position (i),
      .token = 7 + i,
      .remaining = cases[i].remaining,
      .n_right = s->place > 0 ? n_right (s, i) : -1,
      .step = i % N_STEPS,
      .overflow = 5,
  };

  for (gint place = 0; place < MT3_CUDA_MOST_PLACES - 1; place++)
    row.drafts[place] =
        made_token (i, place) + (place == cases[i].n_drafts_right ? WRONG : 0);
  if (s->place > 1 && row.remaining > 0) {
    row.position = next_position (s, i);
    row.token = made_token (i, row.n_right - 1);
    row.remaining = n_left (s, i);
    row.step++;
    row.overflow = 0;
  }
  return row;
}

/* Of the row's step. */
static Mt3CudaRecord *
record_of (const Scene *s, Mt3CudaRecord *records, gint i, gint place)
{
  return records + (i % N_STEPS * N_ROWS + i) * s->places + place;
}

static gsize
records_bytes (const Scene *s)
{
  return (gsize) N_STEPS * s->n_lines * sizeof (Mt3CudaRecord);
}

static Mt3CudaRecord *
make_records (const Scene *s)
{
  Mt3CudaRecord *records = g_malloc0 (records_bytes (s));

  for (gint i = 0; i < N_ROWS; i++)
    for (gint place = 0; place < s->places; place++)
      *record_of (s, records, i, place) = (Mt3CudaRecord){
          .log_prob = -1.0f - place,
          .token = (guint16) made_token (i, place),
          .flags = (cases[i].overflow == place ? MT3_CUDA_OVERFLOW : 0) |
                   ((i + place) % 2 ? MT3_CUDA_DOUBT : 0),
      };
  return records;
}

static gpointer
floats_to_device (const gfloat *values, gsize n)
{
  return to_device (values, n * sizeof (gfloat));
}

static gpointer
device_floats (gsize n)
{
  return device_bytes (n * sizeof (gfloat));
}

static void
scene_init (Scene *s, gint places, gint place)
{
  const gsize n_lines = (gsize) N_ROWS * places;
  g_autofree gfloat *logits = make_logits ((gint) n_lines);
  g_autofree gfloat *pass = random_floats (n_lines * D_MODEL, 5.0f);

  *s = (Scene){
      .places = places,
      .place = place,
      .n_lines = (gint) n_lines,
      .embedding = random_floats (VOCAB * D_MODEL, 3.0f),
      .positions = random_floats (N_POSITIONS * D_MODEL, 1.0f),
      .pass_squares = random_floats (n_lines * N_SQUARES, 9.0f),
  };
  s->records = make_records (s);
  for (gint i = 0; i < N_ROWS; i++)
    s->rows[i] = make_row (s, i);
  s->args = (Mt3CudaDraft){
      .logits = place > 0 ? floats_to_device (logits, n_lines * VOCAB) : NULL,
      .vocab = VOCAB,
      .rows = to_device (s->rows, sizeof s->rows),
      .n_rows = N_ROWS,
      .places = places,
      .place = place,
      .records = to_device (s->records, records_bytes (s)),
      .embedding = floats_to_device (s->embedding, VOCAB * D_MODEL),
      .positions = floats_to_device (s->positions, N_POSITIONS * D_MODEL),
      .d_model = D_MODEL,
      .x = device_floats (n_lines * D_MODEL),
      .out = empty_activations (n_lines * D_MODEL, FALSE),
      .out_squares = device_floats (n_lines * N_SQUARES),
      .pass = activations (pass, n_lines * D_MODEL, FALSE),
      .state = empty_activations (N_ROWS * D_MODEL, FALSE),
      .pass_squares = floats_to_device (s->pass_squares, n_lines * N_SQUARES),
      .state_squares = device_floats (N_ROWS * N_SQUARES),
      .draft_x = device_floats (n_lines * D_MODEL),
  };
  s->pass = to_host (s->args.pass.hi, n_lines * D_MODEL * sizeof (guint16));
}

static void
scene_launch (Scene *s)
{
  check_cuda (mt3_cuda_draft (&s->args, in_order));
}

static void
scene_clear (Scene *s)
{
  g_free (s->records);
  g_free (s->embedding);
  g_free (s->positions);
  g_free (s->pass_squares);
  g_free (s->pass);
}

/* --------------------------------------------------------------- checks */

/* All but the drafts and the text's state. */
static void
check_row (const Mt3CudaRow *got, const Mt3CudaRow *expected, gint i)
{
  ck_assert_msg (
      got->position == expected->position && got->token == expected->token &&
          got->remaining == expected->remaining &&
          got->n_right == expected->n_right && got->step == expected->step &&
          got->overflow == expected->overflow,
      "row %d: position %d (%d), token %d (%d), remaining %d (%d), n_right %d "
      "(%d), step %d (%d), overflow %d (%d)",
      i, got->position, expected->position, got->token, expected->token,
      got->remaining, expected->remaining, got->n_right, expected->n_right,
      got->step, expected->step, got->overflow, expected->overflow);
}

/* A line of x that is the sum of a token's and a position's vector. */
static void
check_embedded (const Scene *s, const gfloat *x, const gfloat *embedding,
    gint token, gint position)
{
  for (gint c = 0; c < D_MODEL; c++) {
    const gfloat expected =
        embedding[token * D_MODEL + c] + s->positions[position * D_MODEL + c];

    if (x[c] != expected)
      ck_abort_msg ("column %d of token %d at position %d is %g, not %g", c,
          token, position, x[c], expected);
  }
}

static void
check_untouched (const gfloat *x, gint n)
{
  for (gint c = 0; c < n; c++)
    if (!isnan (x[c]))
      ck_abort_msg ("column %d is %g", c, x[c]);
}

/* What products take instead of x. */
static void
check_planes_and_squares (
    const gfloat *x, const gfloat *planes, const gfloat *squares)
{
  for (gint i = 0; i < N_SQUARES; i++) {
    gdouble sum = 0.0;

    for (gint c = i * MT3_CUDA_DECODE_SQUARES;
         c < (i + 1) * MT3_CUDA_DECODE_SQUARES; c++) {
      sum += (gdouble) x[c] * x[c];
      if (!(fabs ((gdouble) planes[c] - x[c]) <= fabs (x[c]) / 2048 + 1e-7))
        ck_abort_msg ("column %d is %g, in float16 %g", c, x[c], planes[c]);
    }
    ck_assert_double_eq_tol (squares[i], sum, 2e-6 * sum);
  }
}

/* ------------------------------------------------- before the first step */

START_TEST (test_first_step_starts_from_the_token_and_the_drafts)
{
  Scene s;
  Mt3CudaSample sample;
  g_autofree gint *overflow = g_new0 (gint, N_ROWS);
  g_autofree gfloat *x = NULL, *planes = NULL, *squares = NULL;

  scene_init (&s, _i, 0);
  sample = (Mt3CudaSample){
      .vocab = VOCAB,
      .rows = s.args.rows,
      .n_rows = N_ROWS,
      .places = s.places,
      .embedding = s.args.embedding,
      .positions = s.args.positions,
      .d_model = D_MODEL,
      .overflow = to_device (overflow, N_ROWS * sizeof (gint)),
      .x = s.args.x,
      .out = s.args.out,
      .out_squares = s.args.out_squares,
  };
  check_cuda (mt3_cuda_sample (&sample, in_order));
  x = to_host (s.args.x, s.n_lines * D_MODEL * sizeof (gfloat));
  planes = read_activations (s.args.out, s.n_lines * D_MODEL);
  squares =
      to_host (s.args.out_squares, s.n_lines * N_SQUARES * sizeof (gfloat));
  for (gint line = 0; line < s.n_lines; line++) {
    const gint place = line % s.places;
    const Mt3CudaRow *row = &s.rows[line / s.places];

    if (row->remaining <= place)
      continue;
    check_embedded (&s, x + line * D_MODEL, s.embedding,
        place == 0 ? row->token : row->drafts[place - 1],
        row->position + place);
    check_planes_and_squares (x + line * D_MODEL, planes + line * D_MODEL,
        squares + line * N_SQUARES);
  }
  scene_clear (&s);
}
END_TEST

/* ------------------------------------------------------- before the passes */

START_TEST (test_places_count_up_to_the_first_draft_that_did_not_come)
{
  Scene s;
  g_autofree Mt3CudaRow *got = NULL;

  scene_init (&s, _i, 0);
  scene_launch (&s);
  got = to_host (s.args.rows, sizeof s.rows);
  for (gint i = 0; i < N_ROWS; i++) {
    s.rows[i].n_right = n_right (&s, i);
    check_row (&got[i], &s.rows[i], i);
  }
  scene_clear (&s);
}
END_TEST

START_TEST (test_records_of_places_that_do_not_count_have_nothing)
{
  Scene s;
  g_autofree Mt3CudaRecord *got = NULL;

  scene_init (&s, _i, 0);
  scene_launch (&s);
  got = to_host (s.args.records, records_bytes (&s));
  for (gint i = 0; i < N_ROWS; i++)
    for (gint place = n_right (&s, i);
         place < s.places && cases[i].remaining > 0; place++)
      record_of (&s, s.records, i, place)->flags = MT3_CUDA_NONE;
  ck_assert_mem_eq (got, s.records, records_bytes (&s));
  scene_clear (&s);
}
END_TEST

START_TEST (test_first_pass_starts_from_the_tokens_that_count)
{
  Scene s;
  g_autofree gfloat *x = NULL;

  scene_init (&s, _i, 0);
  scene_launch (&s);
  x = to_host (s.args.draft_x, s.n_lines * D_MODEL * sizeof (gfloat));
  for (gint i = 0; i < N_ROWS; i++)
    for (gint place = 0; place < n_right (&s, i); place++)
      check_embedded (&s, x + (i * s.places + place) * D_MODEL, s.embedding,
          made_token (i, place), first_position (i) + place);
  scene_clear (&s);
}
END_TEST

/* -------------------------------------------------- behind the first pass */

START_TEST (test_rows_go_on_behind_the_last_place_that_counts)
{
  Scene s;
  g_autofree Mt3CudaRow *got = NULL;

  scene_init (&s, _i, 1);
  scene_launch (&s);
  got = to_host (s.args.rows, sizeof s.rows);
  for (gint i = 0; i < N_ROWS; i++) {
    Mt3CudaRow expected = s.rows[i];

    if (expected.remaining > 0) {
      expected.position = next_position (&s, i);
      expected.token = made_token (i, n_right (&s, i) - 1);
      expected.remaining = n_left (&s, i);
      expected.step++;
      expected.overflow = 0;
    }
    check_row (&got[i], &expected, i);
  }
  scene_clear (&s);
}
END_TEST

START_TEST (test_text_follows_the_tokens_that_count)
{
  Scene s;
  Mt3Config config;
  g_autofree Mt3CudaRow *got = NULL;

  mt3_config_init_multitrack (&config);
  config.ordered_events = TRUE;
  scene_init (&s, _i, 1);
  for (gint i = 0; i < N_ROWS; i++) {
    s.rows[i].order = mt3_event_order (&config, NULL);
    s.rows[i].state = mt3_token_order_start (&s.rows[i].order);
  }
  s.args.rows = to_device (s.rows, sizeof s.rows);
  s.args.ordered = TRUE;
  scene_launch (&s);
  got = to_host (s.args.rows, sizeof s.rows);
  for (gint i = 0; i < N_ROWS; i++) {
    for (gint place = 0; place < n_right (&s, i); place++)
      mt3_token_order_follow (
          &s.rows[i].order, &s.rows[i].state, made_token (i, place));
    ck_assert_mem_eq (&got[i].state, &s.rows[i].state, sizeof (Mt3TokenState));
  }
  scene_clear (&s);
}
END_TEST

START_TEST (test_next_pass_has_the_state_of_the_last_place_that_counts)
{
  Scene s;
  g_autofree guint16 *state = NULL;
  g_autofree gfloat *squares = NULL;

  scene_init (&s, _i, 1);
  scene_launch (&s);
  state = to_host (s.args.state.hi, N_ROWS * D_MODEL * sizeof (guint16));
  squares =
      to_host (s.args.state_squares, N_ROWS * N_SQUARES * sizeof (gfloat));
  for (gint i = 0; i < N_ROWS; i++) {
    const gint line = i * s.places + n_right (&s, i) - 1;

    if (n_left (&s, i) < 2)
      continue;
    ck_assert_mem_eq (state + i * D_MODEL, s.pass + line * D_MODEL,
        D_MODEL * sizeof (guint16));
    ck_assert_mem_eq (squares + i * N_SQUARES,
        s.pass_squares + line * N_SQUARES, N_SQUARES * sizeof (gfloat));
  }
  scene_clear (&s);
}
END_TEST

/* ------------------------------------------------------ behind each pass */

START_TEST (test_draft_is_the_most_probable_token)
{
  Scene s;
  g_autofree Mt3CudaRow *got = NULL;

  scene_init (&s, passes[_i].places, passes[_i].place);
  scene_launch (&s);
  got = to_host (s.args.rows, sizeof s.rows);
  for (gint i = 0; i < N_ROWS; i++)
    for (gint place = 1; place < MT3_CUDA_MOST_PLACES; place++)
      if (place != s.place)
        ck_assert_int_eq (
            got[i].drafts[place - 1], s.rows[i].drafts[place - 1]);
      else if (n_left (&s, i) > place)
        ck_assert_int_eq (got[i].drafts[place - 1], drafted_token (&s, i));
  scene_clear (&s);
}
END_TEST

START_TEST (test_record_has_the_draft_above_its_flags)
{
  Scene s;
  g_autofree Mt3CudaRecord *got = NULL;

  scene_init (&s, passes[_i].places, passes[_i].place);
  scene_launch (&s);
  got = to_host (s.args.records, records_bytes (&s));
  for (gint i = 0; i < N_ROWS; i++) {
    Mt3CudaRecord *record = record_of (&s, got, i, s.place);
    const guint draft = record->flags >> MT3_CUDA_FLAG_BITS;

    /* Nobody asks for the draft of a place that the row does not reach. */
    if (n_left (&s, i) > s.place)
      ck_assert_uint_eq (draft, drafted_token (&s, i));
    record->flags -= draft << MT3_CUDA_FLAG_BITS;
  }
  ck_assert_mem_eq (got, s.records, records_bytes (&s));
  scene_clear (&s);
}
END_TEST

/* Its first place has what was made last; that and the first draft come
 * together. */
START_TEST (test_next_step_starts_from_what_was_made_and_the_drafts)
{
  Scene s;
  g_autofree gfloat *x = NULL, *planes = NULL, *squares = NULL;

  scene_init (&s, passes[_i].places, passes[_i].place);
  scene_launch (&s);
  x = to_host (s.args.x, s.n_lines * D_MODEL * sizeof (gfloat));
  planes = read_activations (s.args.out, s.n_lines * D_MODEL);
  squares =
      to_host (s.args.out_squares, s.n_lines * N_SQUARES * sizeof (gfloat));
  for (gint line = 0; line < s.n_lines; line++) {
    const gint i = line / s.places, place = line % s.places;
    const gfloat *own = x + line * D_MODEL;

    if (place >= n_left (&s, i) ||
        !(place == s.place || (place == 0 && s.place == 1))) {
      check_untouched (own, D_MODEL);
      continue;
    }
    check_embedded (&s, own, s.embedding,
        place == 0 ? made_token (i, n_right (&s, i) - 1)
                   : drafted_token (&s, i),
        next_position (&s, i) + place);
    check_planes_and_squares (
        own, planes + line * D_MODEL, squares + line * N_SQUARES);
  }
  scene_clear (&s);
}
END_TEST

START_TEST (test_next_pass_starts_from_the_draft)
{
  Scene s;
  g_autofree gfloat *x = NULL;

  scene_init (&s, passes[_i].places, passes[_i].place);
  scene_launch (&s);
  x = to_host (s.args.draft_x, s.n_lines * D_MODEL * sizeof (gfloat));
  for (gint i = 0; i < N_ROWS; i++)
    if (n_left (&s, i) > s.place)
      check_embedded (&s, x + i * D_MODEL, s.embedding, drafted_token (&s, i),
          next_position (&s, i) + s.place - 1);
  scene_clear (&s);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("gpu-draft");
  TCase *tests = tcase_create ("kernels");
  SRunner *runner = srunner_create (suite);
  const gint end = MT3_CUDA_MOST_PLACES + 1;
  int failed;

  tcase_set_timeout (tests, 60);
  tcase_add_loop_test (
      tests, test_first_step_starts_from_the_token_and_the_drafts, 2, end);
  tcase_add_loop_test (
      tests, test_places_count_up_to_the_first_draft_that_did_not_come, 2, end);
  tcase_add_loop_test (
      tests, test_records_of_places_that_do_not_count_have_nothing, 2, end);
  tcase_add_loop_test (
      tests, test_first_pass_starts_from_the_tokens_that_count, 2, end);
  tcase_add_loop_test (
      tests, test_rows_go_on_behind_the_last_place_that_counts, 2, end);
  tcase_add_loop_test (tests, test_text_follows_the_tokens_that_count, 2, end);
  tcase_add_loop_test (tests,
      test_next_pass_has_the_state_of_the_last_place_that_counts, 2, end);
  tcase_add_loop_test (
      tests, test_draft_is_the_most_probable_token, 0, N_PASSES);
  tcase_add_loop_test (
      tests, test_record_has_the_draft_above_its_flags, 0, N_PASSES);
  tcase_add_loop_test (tests,
      test_next_step_starts_from_what_was_made_and_the_drafts, 0, N_PASSES);
  tcase_add_loop_test (
      tests, test_next_pass_starts_from_the_draft, 0, N_PASSES);
  suite_add_tcase (suite, tests);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
