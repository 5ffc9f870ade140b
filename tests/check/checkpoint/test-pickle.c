/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pickles are read as values; those that would do anything else are refused
 * with the name of what they would do.
 */
#include "fixtures.h"
#include "checkpoint/pickle.h"

#include <string.h>

enum { A_CLASS, A_FUNCTION, A_NAME };

static const Mt3PickleGlobal globals[] = {
    [A_CLASS] = {"collections.OrderedDict", MT3_PICKLE_DICT_CLASS},
    [A_FUNCTION] = {"a.function", MT3_PICKLE_FUNCTION},
    [A_NAME] = {"a.name", MT3_PICKLE_NAME},
    {NULL},
};

static Mt3Pickle *
read_pickle (gconstpointer data, gsize length, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, length);

  return mt3_pickle_read (bytes, "x.pth: data.pkl", globals, error);
}

static void
must_fail (gconstpointer data, gsize length, const gchar *part)
{
  g_autoptr (GError) error = NULL;

  ck_assert_ptr_null (read_pickle (data, length, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_FORMAT));
  ck_assert_msg (strstr (error->message, part) != NULL, "no \"%s\" in: %s",
      part, error->message);
}

static const struct {
  const gchar *pickle;
  gsize length;
  gint64 number;
} integers[] = {
    {"K\377.", 3, 255},
    {"M\1\2.", 4, 0x201},
    {"J\376\377\377\377.", 6, -2},
    {"J\0\0\0\100.", 6, 0x40000000},
    {"\x8a\0.", 3, 0},
    {"\x8a\1\377.", 4, -1},
    {"\x8a\2\0\200.", 5, -32768},
    {"\x8a\5\0\0\0\0\1.", 8, G_GINT64_CONSTANT (1) << 32},
    {"\x8a\10\377\377\377\377\377\377\377\377.", 11, -1},
};

START_TEST (integers_of_every_width_are_read)
{
  g_autoptr (Mt3Pickle) pickle =
      read_pickle (integers[_i].pickle, integers[_i].length, NULL);

  ck_assert_ptr_nonnull (pickle);
  ck_assert_int_eq (pickle->root->type, MT3_PICKLE_INT);
  ck_assert_int_eq (pickle->root->number, integers[_i].number);
}
END_TEST

#define TEXT(pickle) pickle, sizeof (pickle) - 1

/* {"a": [None, True, 1.0], "b": ()}, set one by one and all at once. */
static const struct {
  const gchar *pickle;
  gsize length;
} same[] = {
    {TEXT ("\x80\2}q\0X\1\0\0\0a]Na\x88"
           "aG\77\360\0\0\0\0\0\0asX\1\0\0\0b)s.")},
    {TEXT ("\x80\2}(X\1\0\0\0a](N\x88G\77\360\0\0\0\0\0\0eX\1\0\0\0b)u.")},
    {TEXT ("\x80\2"
           "ccollections\nOrderedDict\n)R(X\1\0\0\0a]r\1\0\0\0"
           "(N\x88G\77\360\0\0\0\0\0\0eX\1\0\0\0b)u}b.")},
};

START_TEST (dicts_and_lists_hold_what_was_put_in)
{
  g_autoptr (Mt3Pickle) pickle =
      read_pickle (same[_i].pickle, same[_i].length, NULL);
  const Mt3PickleValue *root, *list;

  ck_assert_ptr_nonnull (pickle);
  root = pickle->root;
  ck_assert_int_eq (root->type, MT3_PICKLE_DICT);
  ck_assert_uint_eq (mt3_pickle_n_items (root), 4);
  ck_assert (mt3_pickle_is_string (mt3_pickle_item (root, 0), "a"));
  ck_assert (mt3_pickle_is_string (mt3_pickle_item (root, 2), "b"));
  list = mt3_pickle_item (root, 1);
  ck_assert_int_eq (list->type, MT3_PICKLE_LIST);
  ck_assert_uint_eq (mt3_pickle_n_items (list), 3);
  ck_assert_int_eq (mt3_pickle_item (list, 0)->type, MT3_PICKLE_NONE);
  ck_assert_int_eq (mt3_pickle_item (list, 1)->number, 1);
  ck_assert_int_eq (mt3_pickle_item (list, 2)->type, MT3_PICKLE_FLOAT);
  ck_assert_int_eq (mt3_pickle_item (root, 3)->type, MT3_PICKLE_TUPLE);
}
END_TEST

START_TEST (a_call_becomes_a_value_that_names_it)
{
  g_autoptr (Mt3Pickle) pickle =
      read_pickle (TEXT ("\x80\2"
                         "ca\nfunction\nK\7ca\nname\n\x86R."),
          NULL);
  const Mt3PickleValue *call;

  ck_assert_ptr_nonnull (pickle);
  call = pickle->root;
  ck_assert_int_eq (call->type, MT3_PICKLE_CALL);
  ck_assert_int_eq (call->number, A_FUNCTION);
  ck_assert_int_eq (mt3_pickle_item (call->argument, 0)->number, 7);
  ck_assert_int_eq (
      mt3_pickle_item (call->argument, 1)->type, MT3_PICKLE_GLOBAL);
}
END_TEST

START_TEST (a_remembered_value_is_the_same_value)
{
  g_autoptr (Mt3Pickle) pickle =
      read_pickle (TEXT ("]q\1h\1j\1\0\0\0\x87."), NULL);

  ck_assert_ptr_nonnull (pickle);
  ck_assert_uint_eq (mt3_pickle_n_items (pickle->root), 3);
  ck_assert_ptr_eq (
      mt3_pickle_item (pickle->root, 0), mt3_pickle_item (pickle->root, 2));
}
END_TEST

static const struct {
  const gchar *pickle;
  gsize length;
  const gchar *message;
} hostile[] = {
    /* os.system ("id"), the way every tutorial writes it */
    {TEXT ("\x80\2"
           "cos\nsystem\nX\2\0\0\0id\x85R."),
        "x.pth: data.pkl: byte 2: names os.system, which a state dict does not "
        "need and which could run code; save the weights alone"},
    {TEXT ("\x80\2"
           "cposix\nsystem\nX\2\0\0\0id\x85R."),
        "names posix.system"},
    {TEXT ("\x80\2"
           "c__builtin__\neval\n."),
        "names __builtin__.eval"},
    {TEXT ("\x80\2"
           "ctorch._utils\n_rebuild_tensor_v2.__globals__\n."),
        "names torch._utils._rebuild_tensor_v2.__globals__"},
    {TEXT ("(S'id'\nios\nsystem\n."), "the pickle opcode STRING"},
    {TEXT ("(ios\nsystem\n."), "the pickle opcode INST"},
    {TEXT ("(o."), "the pickle opcode OBJ"},
    {TEXT ("\x80\2"
           "ccollections\nOrderedDict\n)\x81."),
        "the pickle opcode NEWOBJ"},
    {TEXT ("\x80\2\x82\1."), "the pickle opcode EXT1"},
    {TEXT ("X\2\0\0\0osX\6\0\0\0system\x93."),
        "the pickle opcode STACK_GLOBAL"},
    {TEXT ("\x80\4\x95"), "pickle protocol 4; expected 2"},
    {TEXT ("\377"), "0xff is no pickle opcode"},
    {TEXT ("ca\nname\n)R."), "calls a.name"},
    {TEXT ("ccollections\nOrderedDict\n]\x85R."), "OrderedDict with arguments"},
    {TEXT ("K\1)R."), "calls what is no function"},
    {TEXT ("ca\nfunction\n]R."), "calls what is no function"},
    {TEXT ("ca\nfunction\n)R}b."), "sets attributes of what is no dict"},
    {TEXT ("}K\1b."), "sets attributes of what is no dict"},
    {TEXT ("ca\nfunction\n)RK\1K\2s."),
        "sets items of what is no list or dict"},
    {TEXT (")K\1a."), "sets items of what is no list or dict"},
    {TEXT ("}(K\1u."), "sets items of what is no list or dict"},
    {TEXT ("."), "takes a value where there is none"},
    {TEXT ("K\1s."), "takes a value where there is none"},
    {TEXT ("](a."), "takes a value where there is none"},
    {TEXT ("](Na."), "takes a value where there is none"},
    {TEXT ("(u."), "takes a value where there is none"},
    {TEXT ("K\1\x86."), "takes a value where there is none"},
    {TEXT ("]((eQ."), "takes a value where there is none"},
    {TEXT ("Q."), "takes a value where there is none"},
    {TEXT ("q\1."), "takes a value where there is none"},
    {TEXT ("t."), "goes back to a mark where there is none"},
    {TEXT ("h\1."), "recalls value 1, which was never remembered"},
    {TEXT ("Nr\377\377\377\377."), "remembers a value as number 4294967295"},
    {TEXT ("\x8a\11\0\0\0\0\0\0\0\0\1."), "more than 64 bits"},
    {TEXT ("X\377\377\377\377a."), "the pickle is truncated"},
    {TEXT ("\x8a"), "the pickle is truncated"},
    {TEXT ("N"), "the pickle is truncated"},
    {TEXT (""), "the pickle is truncated"},
    {TEXT ("ca\nfunc"), "a name that is too long, truncated or not UTF-8"},
    {TEXT ("c\377\nx\n."), "a name that is too long, truncated or not UTF-8"},
    {TEXT ("N.N"), "ends before all is used"},
    {TEXT ("NN."), "ends before all is used"},
    {TEXT ("N(N."), "ends before all is used"},
};

START_TEST (what_a_state_dict_does_not_need_is_refused_by_name)
{
  must_fail (hostile[_i].pickle, hostile[_i].length, hostile[_i].message);
}
END_TEST

/* @start, then @n times @unit. */
static GString *
repeat (const gchar *start, const gchar *unit, guint n)
{
  GString *text = g_string_new (start);

  for (guint i = 0; i < n; i++)
    g_string_append (text, unit);
  return text;
}

static const struct {
  const gchar *start, *unit;
  guint n;
  const gchar *message;
} bombs[] = {
    {"", "(", MT3_PICKLE_MAX_MARKS + 1, "nested deeper than 64"},
    {"", "]", MT3_PICKLE_MAX_STACK + 1, "values stacked deeper than 65536"},
    {"]q\1", "h\1", MT3_PICKLE_MAX_STACK, "values stacked deeper than 65536"},
    {"]", "]a", MT3_PICKLE_MAX_VALUES, "more than 262144 values"},
    {"", "N", MT3_PICKLE_MAX_BYTES + 1, "expected at most 16777216"},
};

START_TEST (what_would_not_end_is_bounded)
{
  g_autoptr (GString) text =
      repeat (bombs[_i].start, bombs[_i].unit, bombs[_i].n);

  must_fail (text->str, text->len, bombs[_i].message);
}
END_TEST

/* Tuples within tuples, and "a billion laughs": each holds the last twice. */
static const gchar *const towers[] = {"\x85", "q\1h\1\x86"};

START_TEST (deep_values_cost_no_more_than_their_bytes)
{
  g_autoptr (GString) text = repeat ("N", towers[_i], 100000);
  g_autoptr (Mt3Pickle) pickle = NULL;

  g_string_append_c (text, '.');
  pickle = read_pickle (text->str, text->len, NULL);
  ck_assert_ptr_nonnull (pickle);
  ck_assert_uint_eq (pickle->values->len, 100001);
}
END_TEST

START_TEST (a_list_may_hold_itself)
{
  g_autoptr (Mt3Pickle) pickle = read_pickle (TEXT ("]q\1h\1a."), NULL);

  ck_assert_ptr_nonnull (pickle);
  ck_assert_ptr_eq (mt3_pickle_item (pickle->root, 0), pickle->root);
}
END_TEST

Suite *
pickle_suite (void)
{
  Suite *suite = suite_create ("pickle");
  TCase *tcase = tcase_create ("pickle");

  tcase_add_loop_test (
      tcase, integers_of_every_width_are_read, 0, G_N_ELEMENTS (integers));
  tcase_add_loop_test (
      tcase, dicts_and_lists_hold_what_was_put_in, 0, G_N_ELEMENTS (same));
  tcase_add_test (tcase, a_call_becomes_a_value_that_names_it);
  tcase_add_test (tcase, a_remembered_value_is_the_same_value);
  tcase_add_loop_test (tcase,
      what_a_state_dict_does_not_need_is_refused_by_name, 0,
      G_N_ELEMENTS (hostile));
  tcase_add_loop_test (
      tcase, what_would_not_end_is_bounded, 0, G_N_ELEMENTS (bombs));
  tcase_add_loop_test (tcase, deep_values_cost_no_more_than_their_bytes, 0,
      G_N_ELEMENTS (towers));
  tcase_add_test (tcase, a_list_may_hold_itself);
  suite_add_tcase (suite, tcase);
  return suite;
}
