/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/msgpack-guard.h"

/* One object's head: how many bytes of payload follow it, and how many
 * elements it contains. */
typedef struct {
  guint64 payload;
  guint64 elements;
} Head;

typedef enum { PAYLOAD, ELEMENTS, PAIRS, INVALID } Kind;

/* First bytes 0xc0 to 0xdf: a big-endian length of @width bytes counts @kind;
 * @fixed bytes follow in any case. */
static const struct {
  guint8 width, fixed;
  Kind kind;
} formats[32] = {
    [0x00] = {0, 0, PAYLOAD}, /* nil */
    [0x01] = {0, 0, INVALID}, /* never used */
    [0x02] = {0, 0, PAYLOAD}, /* false */
    [0x03] = {0, 0, PAYLOAD}, /* true */
    [0x04] = {1, 0, PAYLOAD}, /* bin 8, 16, 32 */
    [0x05] = {2, 0, PAYLOAD},
    [0x06] = {4, 0, PAYLOAD},
    [0x07] = {1, 1, PAYLOAD}, /* ext 8, 16, 32, with a type byte */
    [0x08] = {2, 1, PAYLOAD},
    [0x09] = {4, 1, PAYLOAD},
    [0x0a] = {0, 4, PAYLOAD}, /* float 32, 64 */
    [0x0b] = {0, 8, PAYLOAD},
    [0x0c] = {0, 1, PAYLOAD}, /* uint 8 to 64 */
    [0x0d] = {0, 2, PAYLOAD},
    [0x0e] = {0, 4, PAYLOAD},
    [0x0f] = {0, 8, PAYLOAD},
    [0x10] = {0, 1, PAYLOAD}, /* int 8 to 64 */
    [0x11] = {0, 2, PAYLOAD},
    [0x12] = {0, 4, PAYLOAD},
    [0x13] = {0, 8, PAYLOAD},
    [0x14] = {0, 2, PAYLOAD}, /* fixext 1 to 16, with a type byte */
    [0x15] = {0, 3, PAYLOAD},
    [0x16] = {0, 5, PAYLOAD},
    [0x17] = {0, 9, PAYLOAD},
    [0x18] = {0, 17, PAYLOAD},
    [0x19] = {1, 0, PAYLOAD}, /* str 8, 16, 32 */
    [0x1a] = {2, 0, PAYLOAD},
    [0x1b] = {4, 0, PAYLOAD},
    [0x1c] = {2, 0, ELEMENTS}, /* array 16, 32 */
    [0x1d] = {4, 0, ELEMENTS},
    [0x1e] = {2, 0, PAIRS}, /* map 16, 32 */
    [0x1f] = {4, 0, PAIRS},
};

static gboolean
read_long_head (guint8 first, const guint8 **at, const guint8 *end, Head *head)
{
  guint width = formats[first - 0xc0].width;
  Kind kind = formats[first - 0xc0].kind;
  guint64 count = 0;

  if (kind == INVALID || (gsize) (end - *at) < width)
    return FALSE;
  for (guint i = 0; i < width; i++)
    count = count << 8 | *(*at)++;
  head->payload = formats[first - 0xc0].fixed + (kind == PAYLOAD ? count : 0);
  head->elements = kind == PAIRS ? 2 * count : kind == ELEMENTS ? count : 0;
  return TRUE;
}

static gboolean
read_head (const guint8 **at, const guint8 *end, Head *head)
{
  guint8 first;

  if (*at == end)
    return FALSE;
  first = *(*at)++;
  *head = (Head){0, 0};
  if (first < 0x80 || first >= 0xe0) /* small integers */
    return TRUE;
  if (first < 0x90) /* small map */
    head->elements = 2 * (first & 0x0f);
  else if (first < 0xa0) /* small array */
    head->elements = first & 0x0f;
  else if (first < 0xc0) /* short string */
    head->payload = first & 0x1f;
  else
    return read_long_head (first, at, end, head);
  return TRUE;
}

gboolean
mt3_msgpack_is_bounded (const guint8 *data, gsize length)
{
  guint64 missing[MT3_MSGPACK_MAX_DEPTH + 1] = {1};
  const guint8 *at = data, *end;
  guint depth = 0;

  if (length == 0)
    return FALSE;
  end = data + length;
  for (guint n = 0; n < MT3_MSGPACK_MAX_OBJECTS; n++) {
    Head head;

    if (!read_head (&at, end, &head) || head.payload > (gsize) (end - at) ||
        head.elements > (gsize) (end - at))
      return FALSE;
    at += head.payload;
    missing[depth]--;
    if (head.elements > 0) {
      if (depth == MT3_MSGPACK_MAX_DEPTH)
        return FALSE;
      missing[++depth] = head.elements;
    }
    while (missing[depth] == 0) {
      if (depth == 0)
        return at == end;
      depth--;
    }
  }
  return FALSE;
}
