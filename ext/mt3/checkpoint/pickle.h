/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pickle.h: Python pickles as inert values. Reads what torch.save writes (the
 * opcodes of protocol 2 that state dicts need) and refuses everything else.
 * Python, Lib/pickletools.py.
 *
 * A pickle is a program, and loading one with Python runs whatever it names.
 * Here nothing runs: a call becomes a value that says what would be called, and
 * only what the caller lists may be named at all.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A state dict of 189 tensors takes 20 kB, 4,000 values, a stack of 2,000
 * (values are set 1,000 at a time) and 5 marks. */
#define MT3_PICKLE_MAX_BYTES (16u * 1024 * 1024)
#define MT3_PICKLE_MAX_VALUES (1u << 18)
#define MT3_PICKLE_MAX_STACK (1u << 16)
#define MT3_PICKLE_MAX_MARKS 64

/* What a pickle may do with a name. */
typedef enum {
  MT3_PICKLE_NAME, /* hold it as a value */
  MT3_PICKLE_FUNCTION, /* call it: gives a CALL */
  MT3_PICKLE_DICT_CLASS, /* call it without arguments: gives a DICT */
} Mt3PickleUse;

typedef struct {
  const gchar *name; /* "module.name"; %NULL ends the list */
  Mt3PickleUse use;
} Mt3PickleGlobal;

typedef enum {
  MT3_PICKLE_NONE,
  MT3_PICKLE_BOOL,
  MT3_PICKLE_INT,
  MT3_PICKLE_FLOAT,
  MT3_PICKLE_STRING,
  MT3_PICKLE_TUPLE,
  MT3_PICKLE_LIST,
  MT3_PICKLE_DICT,
  MT3_PICKLE_GLOBAL,
  MT3_PICKLE_CALL,
  MT3_PICKLE_PERSISTENT,
} Mt3PickleType;

/**
 * Mt3PickleValue:
 * @number: of BOOL and INT; the index in the caller's list of GLOBAL and CALL
 * @text: of STRING, @length bytes without a terminator, in the pickle
 * @argument: the tuple of a CALL, the id of PERSISTENT
 * @items: (nullable): of TUPLE and LIST; key, value, key... of DICT
 *
 * FLOAT says no more than that it is one. Lists and dicts may contain
 * themselves: who walks them must bound the depth.
 */
typedef struct _Mt3PickleValue Mt3PickleValue;
struct _Mt3PickleValue {
  Mt3PickleType type;
  gint64 number;
  const gchar *text;
  gsize length;
  const Mt3PickleValue *argument;
  GPtrArray *items;
};

/* @values owns all that @root leads to. */
typedef struct {
  GBytes *bytes;
  GPtrArray *values;
  const Mt3PickleValue *root;
} Mt3Pickle;

/**
 * mt3_pickle_read:
 * @what: names the pickle in messages ("model.pth: data.pkl")
 * @globals: what it may name
 *
 * Returns: (transfer full): the pickle, or %NULL with %MT3_ERROR_FORMAT that
 *   names the opcode or the global, and where it stands
 */
Mt3Pickle *mt3_pickle_read (GBytes *bytes, const gchar *what,
    const Mt3PickleGlobal *globals, GError **error);
void mt3_pickle_free (Mt3Pickle *pickle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Pickle, mt3_pickle_free)

/* Items of a TUPLE, LIST or DICT; 0 of others. */
guint mt3_pickle_n_items (const Mt3PickleValue *value);
const Mt3PickleValue *mt3_pickle_item (const Mt3PickleValue *value, guint i);

/* Whether a value is the STRING @text. */
gboolean mt3_pickle_is_string (const Mt3PickleValue *value, const gchar *text);

G_END_DECLS
