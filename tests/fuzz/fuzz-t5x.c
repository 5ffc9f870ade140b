/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The msgpack file of a T5X checkpoint, up to the report. Its references lead
 * nowhere.
 */
#include "checkpoint/report.h"
#include "checkpoint/t5x.h"
#include "fuzz.h"

#include <msgpack.h>
#include <string.h>

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (Mt3Archive) archive = NULL;
  g_autoptr (Mt3Report) report = NULL;

  /* Keep the pool's idle threads, however many: what GLib caches for a thread
   * that is just ending looks like a leak. */
  g_thread_pool_set_max_idle_time (0);
  g_thread_pool_set_max_unused_threads (-1);
  archive = mt3_t5x_read_tree (bytes, "/nonexistent", NULL);

  if (archive != NULL) {
    report = mt3_report_new (archive);
    mt3_report_check_values (report);
  }
  return 0;
}

static void
pack_string (msgpack_packer *packer, const gchar *text)
{
  msgpack_pack_str_with_body (packer, text, strlen (text));
}

/* flax's array: extension type 1 holding [shape, dtype, bytes]. */
static void
pack_scale (msgpack_packer *packer)
{
  const gfloat values[] = {1.0f, 2.0f};
  msgpack_sbuffer inner;
  msgpack_packer inner_packer;

  msgpack_sbuffer_init (&inner);
  msgpack_packer_init (&inner_packer, &inner, msgpack_sbuffer_write);
  msgpack_pack_array (&inner_packer, 3);
  msgpack_pack_array (&inner_packer, 1);
  msgpack_pack_int (&inner_packer, 2);
  pack_string (&inner_packer, "float32");
  msgpack_pack_bin_with_body (&inner_packer, values, sizeof values);
  msgpack_pack_ext_with_body (packer, inner.data, inner.size, 1);
  msgpack_sbuffer_destroy (&inner);
}

/* {"target": {"encoder": {"encoder_norm": {"scale": ARRAY}}, REFERENCE}} */
static void
pack_tree (msgpack_packer *packer, gboolean reference)
{
  msgpack_pack_map (packer, 1);
  pack_string (packer, "target");
  msgpack_pack_map (packer, reference ? 2 : 1);
  pack_string (packer, "encoder");
  msgpack_pack_map (packer, 1);
  pack_string (packer, "encoder_norm");
  msgpack_pack_map (packer, 1);
  pack_string (packer, "scale");
  pack_scale (packer);
  if (!reference)
    return;
  pack_string (packer, "kernel");
  msgpack_pack_map (packer, 1);
  pack_string (packer, "kvstore");
  msgpack_pack_map (packer, 1);
  pack_string (packer, "path");
  pack_string (packer, "target.kernel/");
}

void
fuzz_seeds (GPtrArray *seeds)
{
  for (gint reference = 0; reference < 2; reference++) {
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init (&buffer);
    msgpack_packer_init (&packer, &buffer, msgpack_sbuffer_write);
    pack_tree (&packer, reference);
    g_ptr_array_add (seeds, g_bytes_new (buffer.data, buffer.size));
    msgpack_sbuffer_destroy (&buffer);
  }
}
