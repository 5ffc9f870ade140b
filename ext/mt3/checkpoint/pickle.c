/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/pickle.h"
#include "error.h"

#include <string.h>

/* Longer than any name that a state dict needs. */
#define LONGEST_LINE 256

typedef struct {
  const guint8 *data;
  gsize length, at;
  gsize opcode_at;
  const Mt3PickleGlobal *globals;
  GPtrArray *values; /* all that were made */
  GPtrArray *stack;
  GArray *marks; /* guint, heights of the stack */
  GHashTable *memo; /* index -> value */
  const Mt3PickleValue *root;
  const gchar *what;
  GError *error;
} Reader;

typedef struct {
  const gchar *name;
  gboolean (*run) (Reader *reader, guint8 code); /* NULL: refused */
} Opcode;

static gboolean fail (Reader *reader, const gchar *format, ...)
    G_GNUC_PRINTF (2, 3);

static gboolean
fail (Reader *reader, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (&reader->error, MT3_ERROR, MT3_ERROR_FORMAT,
      "%s: byte %" G_GSIZE_FORMAT ": %s", reader->what, reader->opcode_at,
      message);
  return FALSE;
}

/* The next @n bytes, or NULL. */
static const guint8 *
take (Reader *reader, gsize n)
{
  const guint8 *bytes = reader->data + reader->at;

  if (reader->length - reader->at < n) {
    fail (reader, "the pickle is truncated");
    return NULL;
  }
  reader->at += n;
  return bytes;
}

/* A little-endian number of up to eight bytes. */
static gboolean
take_number (Reader *reader, gsize n_bytes, guint64 *number)
{
  const guint8 *bytes = take (reader, n_bytes);

  *number = 0;
  for (gsize i = 0; bytes != NULL && i < n_bytes; i++)
    *number |= (guint64) bytes[i] << (8 * i);
  return bytes != NULL;
}

static void
value_free (gpointer data)
{
  Mt3PickleValue *value = data;

  if (value->items != NULL)
    g_ptr_array_unref (value->items);
  g_free (value);
}

/* Pushes a new value, or fails and returns NULL. */
static Mt3PickleValue *
push_new (Reader *reader, Mt3PickleType type)
{
  Mt3PickleValue *value;

  if (reader->values->len == MT3_PICKLE_MAX_VALUES) {
    fail (reader, "more than %u values", MT3_PICKLE_MAX_VALUES);
    return NULL;
  }
  if (reader->stack->len == MT3_PICKLE_MAX_STACK) {
    fail (reader, "values stacked deeper than %u", MT3_PICKLE_MAX_STACK);
    return NULL;
  }
  value = g_new0 (Mt3PickleValue, 1);
  value->type = type;
  g_ptr_array_add (reader->values, value);
  g_ptr_array_add (reader->stack, value);
  return value;
}

static gboolean
push_number (Reader *reader, Mt3PickleType type, gint64 number)
{
  Mt3PickleValue *value = push_new (reader, type);

  if (value != NULL)
    value->number = number;
  return value != NULL;
}

/* As in Python, what lies below a mark cannot be reached before it is gone. */
static guint
stack_floor (const Reader *reader)
{
  return reader->marks->len > 0
             ? g_array_index (reader->marks, guint, reader->marks->len - 1)
             : 0;
}

static Mt3PickleValue *
top (Reader *reader)
{
  if (reader->stack->len > stack_floor (reader))
    return g_ptr_array_index (reader->stack, reader->stack->len - 1);
  fail (reader, "takes a value where there is none");
  return NULL;
}

static Mt3PickleValue *
pop (Reader *reader)
{
  Mt3PickleValue *value = top (reader);

  if (value != NULL)
    g_ptr_array_set_size (reader->stack, (gint) reader->stack->len - 1);
  return value;
}

/* Moves what lies on the stack from height @from on to the end of @items. */
static void
move_items (Reader *reader, guint from, Mt3PickleValue *container)
{
  if (container->items == NULL)
    container->items = g_ptr_array_new ();
  for (guint i = from; i < reader->stack->len; i++)
    g_ptr_array_add (container->items, reader->stack->pdata[i]);
  g_ptr_array_set_size (reader->stack, (gint) from);
}

static gboolean
pop_mark (Reader *reader, guint *height)
{
  if (reader->marks->len == 0)
    return fail (reader, "goes back to a mark where there is none");
  *height = stack_floor (reader);
  g_array_set_size (reader->marks, reader->marks->len - 1);
  return TRUE;
}

static gboolean
run_proto (Reader *reader, guint8 code)
{
  guint64 version;

  if (!take_number (reader, 1, &version))
    return FALSE;
  if (version != 2)
    return fail (reader,
        "pickle protocol %u; expected 2, which torch.save writes unless told "
        "otherwise",
        (guint) version);
  return TRUE;
}

static gboolean
run_stop (Reader *reader, guint8 code)
{
  reader->root = pop (reader);
  if (reader->root == NULL)
    return FALSE;
  if (reader->stack->len > 0 || reader->marks->len > 0 ||
      reader->at < reader->length)
    return fail (reader, "ends before all is used");
  return TRUE;
}

static gboolean
run_mark (Reader *reader, guint8 code)
{
  if (reader->marks->len == MT3_PICKLE_MAX_MARKS)
    return fail (reader, "nested deeper than %u", MT3_PICKLE_MAX_MARKS);
  g_array_append_val (reader->marks, reader->stack->len);
  return TRUE;
}

static gboolean
run_constant (Reader *reader, guint8 code)
{
  switch (code) {
    case 'N':
      return push_new (reader, MT3_PICKLE_NONE) != NULL;
    case ']':
      return push_new (reader, MT3_PICKLE_LIST) != NULL;
    case '}':
      return push_new (reader, MT3_PICKLE_DICT) != NULL;
    case ')':
      return push_new (reader, MT3_PICKLE_TUPLE) != NULL;
    default: /* NEWTRUE, NEWFALSE */
      return push_number (reader, MT3_PICKLE_BOOL, code == 0x88);
  }
}

static gboolean
run_binint (Reader *reader, guint8 code)
{
  gsize n_bytes = code == 'J' ? 4 : code == 'M' ? 2 : 1;
  guint64 number;

  return take_number (reader, n_bytes, &number) &&
         push_number (reader, MT3_PICKLE_INT,
             code == 'J' ? (gint32) number : (gint64) number);
}

/* Two's complement of as many bytes as the first says. */
static gboolean
run_long1 (Reader *reader, guint8 code)
{
  guint64 n_bytes, number;

  if (!take_number (reader, 1, &n_bytes))
    return FALSE;
  if (n_bytes > 8)
    return fail (reader, "an integer of more than 64 bits");
  if (!take_number (reader, (gsize) n_bytes, &number))
    return FALSE;
  if (n_bytes > 0 && n_bytes < 8 && (number >> (8 * n_bytes - 1)) != 0)
    number |= G_MAXUINT64 << (8 * n_bytes);
  return push_number (reader, MT3_PICKLE_INT, (gint64) number);
}

static gboolean
run_binfloat (Reader *reader, guint8 code)
{
  return take (reader, 8) != NULL &&
         push_new (reader, MT3_PICKLE_FLOAT) != NULL;
}

static gboolean
run_binunicode (Reader *reader, guint8 code)
{
  guint64 length;
  const guint8 *text;
  Mt3PickleValue *value;

  if (!take_number (reader, 4, &length))
    return FALSE;
  text = take (reader, (gsize) length);
  value = text != NULL ? push_new (reader, MT3_PICKLE_STRING) : NULL;
  if (value == NULL)
    return FALSE;
  value->text = (const gchar *) text;
  value->length = (gsize) length;
  return TRUE;
}

static gboolean
run_tuple (Reader *reader, guint8 code)
{
  guint from = 0;
  Mt3PickleValue *tuple;

  if (code == 't') {
    if (!pop_mark (reader, &from))
      return FALSE;
  } else {
    guint n = code - 0x84u; /* TUPLE1 to TUPLE3 */

    if (reader->stack->len - stack_floor (reader) < n)
      return fail (reader, "takes a value where there is none");
    from = reader->stack->len - n;
  }
  tuple = push_new (reader, MT3_PICKLE_TUPLE);
  if (tuple == NULL)
    return FALSE;
  g_ptr_array_set_size (reader->stack, (gint) reader->stack->len - 1);
  move_items (reader, from, tuple);
  g_ptr_array_add (reader->stack, tuple);
  return TRUE;
}

/* APPEND and SETITEM take one item, APPENDS and SETITEMS those to the mark. */
static gboolean
run_add_items (Reader *reader, guint8 code)
{
  Mt3PickleType type =
      code == 'a' || code == 'e' ? MT3_PICKLE_LIST : MT3_PICKLE_DICT;
  guint each = type == MT3_PICKLE_LIST ? 1 : 2, from = 0;
  Mt3PickleValue *container;

  if (code == 'a' || code == 's') {
    if (reader->stack->len - stack_floor (reader) <= each)
      return fail (reader, "takes a value where there is none");
    from = reader->stack->len - each;
  } else if (!pop_mark (reader, &from)) {
    return FALSE;
  }
  if (from <= stack_floor (reader))
    return fail (reader, "takes a value where there is none");
  container = g_ptr_array_index (reader->stack, from - 1);
  if (container->type != type || (reader->stack->len - from) % each != 0)
    return fail (reader, "sets items of what is no list or dict");
  move_items (reader, from, container);
  return TRUE;
}

static gboolean
run_put (Reader *reader, guint8 code)
{
  guint64 index;
  Mt3PickleValue *value = top (reader);

  if (value == NULL || !take_number (reader, code == 'q' ? 1 : 4, &index))
    return FALSE;
  if (index >= MT3_PICKLE_MAX_VALUES)
    return fail (reader,
        "remembers a value as number %" G_GUINT64_FORMAT ", of at most %u",
        index, MT3_PICKLE_MAX_VALUES);
  g_hash_table_insert (reader->memo, GUINT_TO_POINTER ((guint) index), value);
  return TRUE;
}

static gboolean
run_get (Reader *reader, guint8 code)
{
  guint64 index;
  Mt3PickleValue *value;

  if (!take_number (reader, code == 'h' ? 1 : 4, &index))
    return FALSE;
  value = g_hash_table_lookup (reader->memo, GUINT_TO_POINTER ((guint) index));
  if (value == NULL)
    return fail (reader,
        "recalls value %" G_GUINT64_FORMAT ", which was never remembered",
        index);
  if (reader->stack->len == MT3_PICKLE_MAX_STACK)
    return fail (reader, "values stacked deeper than %u", MT3_PICKLE_MAX_STACK);
  g_ptr_array_add (reader->stack, value);
  return TRUE;
}

/* The text up to the next newline, or NULL. */
static gchar *
take_line (Reader *reader)
{
  gsize longest = MIN (reader->length - reader->at, LONGEST_LINE);
  const guint8 *start = reader->data + reader->at;
  const guint8 *end = memchr (start, '\n', longest);

  if (end == NULL ||
      !g_utf8_validate ((const gchar *) start, (gssize) (end - start), NULL)) {
    fail (reader, "a name that is too long, truncated or not UTF-8");
    return NULL;
  }
  reader->at += (gsize) (end - start) + 1;
  return g_strndup ((const gchar *) start, (gsize) (end - start));
}

static gboolean
run_global (Reader *reader, guint8 code)
{
  g_autofree gchar *module = take_line (reader);
  g_autofree gchar *name = module != NULL ? take_line (reader) : NULL;
  g_autofree gchar *both = NULL;

  if (name == NULL)
    return FALSE;
  both = g_strconcat (module, ".", name, NULL);
  for (guint i = 0; reader->globals[i].name != NULL; i++)
    if (g_str_equal (both, reader->globals[i].name))
      return push_number (reader, MT3_PICKLE_GLOBAL, i);
  return fail (reader,
      "names %s, which a state dict does not need and which could run code; "
      "save the weights alone: torch.save (model.state_dict (), FILE)",
      both);
}

static gboolean
run_reduce (Reader *reader, guint8 code)
{
  const Mt3PickleValue *argument = pop (reader);
  const Mt3PickleValue *callee = argument != NULL ? pop (reader) : NULL;
  const Mt3PickleGlobal *global;
  Mt3PickleValue *call;

  if (callee == NULL)
    return FALSE;
  if (callee->type != MT3_PICKLE_GLOBAL || argument->type != MT3_PICKLE_TUPLE)
    return fail (reader, "calls what is no function");
  global = &reader->globals[callee->number];
  if (global->use == MT3_PICKLE_NAME)
    return fail (reader, "calls %s", global->name);
  if (global->use == MT3_PICKLE_DICT_CLASS) {
    if (mt3_pickle_n_items (argument) > 0)
      return fail (reader, "calls %s with arguments", global->name);
    return push_new (reader, MT3_PICKLE_DICT) != NULL;
  }
  call = push_new (reader, MT3_PICKLE_CALL);
  if (call == NULL)
    return FALSE;
  call->number = callee->number;
  call->argument = argument;
  return TRUE;
}

/* An OrderedDict's attributes: state dicts carry the versions of modules. */
static gboolean
run_build (Reader *reader, guint8 code)
{
  const Mt3PickleValue *state = pop (reader);
  const Mt3PickleValue *object = state != NULL ? top (reader) : NULL;

  if (object == NULL)
    return FALSE;
  if (object->type != MT3_PICKLE_DICT || state->type != MT3_PICKLE_DICT)
    return fail (reader, "sets attributes of what is no dict");
  return TRUE;
}

static gboolean
run_binpersid (Reader *reader, guint8 code)
{
  const Mt3PickleValue *id = pop (reader);
  Mt3PickleValue *value =
      id != NULL ? push_new (reader, MT3_PICKLE_PERSISTENT) : NULL;

  if (value != NULL)
    value->argument = id;
  return value != NULL;
}

/* All of pickletools' opcodes up to protocol 5, so that a refusal has a name.
 * Those that torch.save writes are run. */
static const Opcode opcodes[256] = {
    ['('] = {"MARK", run_mark},
    [')'] = {"EMPTY_TUPLE", run_constant},
    ['.'] = {"STOP", run_stop},
    ['0'] = {"POP"},
    ['1'] = {"POP_MARK"},
    ['2'] = {"DUP"},
    ['B'] = {"BINBYTES"},
    ['C'] = {"SHORT_BINBYTES"},
    ['F'] = {"FLOAT"},
    ['G'] = {"BINFLOAT", run_binfloat},
    ['I'] = {"INT"},
    ['J'] = {"BININT", run_binint},
    ['K'] = {"BININT1", run_binint},
    ['L'] = {"LONG"},
    ['M'] = {"BININT2", run_binint},
    ['N'] = {"NONE", run_constant},
    ['P'] = {"PERSID"},
    ['Q'] = {"BINPERSID", run_binpersid},
    ['R'] = {"REDUCE", run_reduce},
    ['S'] = {"STRING"},
    ['T'] = {"BINSTRING"},
    ['U'] = {"SHORT_BINSTRING"},
    ['V'] = {"UNICODE"},
    ['X'] = {"BINUNICODE", run_binunicode},
    [']'] = {"EMPTY_LIST", run_constant},
    ['a'] = {"APPEND", run_add_items},
    ['b'] = {"BUILD", run_build},
    ['c'] = {"GLOBAL", run_global},
    ['d'] = {"DICT"},
    ['e'] = {"APPENDS", run_add_items},
    ['g'] = {"GET"},
    ['h'] = {"BINGET", run_get},
    ['i'] = {"INST"},
    ['j'] = {"LONG_BINGET", run_get},
    ['l'] = {"LIST"},
    ['o'] = {"OBJ"},
    ['p'] = {"PUT"},
    ['q'] = {"BINPUT", run_put},
    ['r'] = {"LONG_BINPUT", run_put},
    ['s'] = {"SETITEM", run_add_items},
    ['t'] = {"TUPLE", run_tuple},
    ['u'] = {"SETITEMS", run_add_items},
    ['}'] = {"EMPTY_DICT", run_constant},
    [0x80] = {"PROTO", run_proto},
    [0x81] = {"NEWOBJ"},
    [0x82] = {"EXT1"},
    [0x83] = {"EXT2"},
    [0x84] = {"EXT4"},
    [0x85] = {"TUPLE1", run_tuple},
    [0x86] = {"TUPLE2", run_tuple},
    [0x87] = {"TUPLE3", run_tuple},
    [0x88] = {"NEWTRUE", run_constant},
    [0x89] = {"NEWFALSE", run_constant},
    [0x8a] = {"LONG1", run_long1},
    [0x8b] = {"LONG4"},
    [0x8c] = {"SHORT_BINUNICODE"},
    [0x8d] = {"BINUNICODE8"},
    [0x8e] = {"BINBYTES8"},
    [0x8f] = {"EMPTY_SET"},
    [0x90] = {"ADDITEMS"},
    [0x91] = {"FROZENSET"},
    [0x92] = {"NEWOBJ_EX"},
    [0x93] = {"STACK_GLOBAL"},
    [0x94] = {"MEMOIZE"},
    [0x95] = {"FRAME"},
    [0x96] = {"BYTEARRAY8"},
    [0x97] = {"NEXT_BUFFER"},
    [0x98] = {"READONLY_BUFFER"},
};

static gboolean
run_next (Reader *reader)
{
  const guint8 *code;
  const Opcode *opcode;

  reader->opcode_at = reader->at;
  code = take (reader, 1);
  if (code == NULL)
    return FALSE;
  opcode = &opcodes[*code];
  if (opcode->name == NULL)
    return fail (
        reader, "0x%02x is no pickle opcode; the file is damaged", *code);
  if (opcode->run == NULL)
    return fail (reader,
        "the pickle opcode %s, which torch.save does not write for a state "
        "dict, is not run here; save the weights alone: torch.save "
        "(model.state_dict (), FILE)",
        opcode->name);
  return opcode->run (reader, *code);
}

Mt3Pickle *
mt3_pickle_read (GBytes *bytes, const gchar *what,
    const Mt3PickleGlobal *globals, GError **error)
{
  g_autoptr (GPtrArray) values = g_ptr_array_new_with_free_func (value_free);
  g_autoptr (GPtrArray) stack = g_ptr_array_new ();
  g_autoptr (GArray) marks = g_array_new (FALSE, FALSE, sizeof (guint));
  g_autoptr (GHashTable) memo = g_hash_table_new (NULL, NULL);
  Reader reader = {.globals = globals,
      .values = values,
      .stack = stack,
      .marks = marks,
      .memo = memo,
      .what = what};
  Mt3Pickle *pickle;

  reader.data = g_bytes_get_data (bytes, &reader.length);
  if (reader.length > MT3_PICKLE_MAX_BYTES)
    fail (&reader, "%" G_GSIZE_FORMAT " bytes of pickle; expected at most %u",
        reader.length, MT3_PICKLE_MAX_BYTES);
  while (reader.error == NULL && reader.root == NULL)
    run_next (&reader);
  if (reader.error != NULL) {
    g_propagate_error (error, reader.error);
    return NULL;
  }
  pickle = g_new (Mt3Pickle, 1);
  pickle->bytes = g_bytes_ref (bytes);
  pickle->values = g_steal_pointer (&values);
  pickle->root = reader.root;
  return pickle;
}

void
mt3_pickle_free (Mt3Pickle *pickle)
{
  g_ptr_array_unref (pickle->values);
  g_bytes_unref (pickle->bytes);
  g_free (pickle);
}

guint
mt3_pickle_n_items (const Mt3PickleValue *value)
{
  return value->items != NULL ? value->items->len : 0;
}

const Mt3PickleValue *
mt3_pickle_item (const Mt3PickleValue *value, guint i)
{
  return g_ptr_array_index (value->items, i);
}

gboolean
mt3_pickle_is_string (const Mt3PickleValue *value, const gchar *text)
{
  return value->type == MT3_PICKLE_STRING && value->length == strlen (text) &&
         memcmp (value->text, text, value->length) == 0;
}
