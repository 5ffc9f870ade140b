/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fake-device.h: CUDA's runtime, and kernels that need no network, for tests of
 * the module's host side where there is no GPU. A stream does nothing before
 * somebody waits for it, so what is read too early or given back too soon
 * shows. One thread.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define FAKE_DEVICE_MIB 512 /* that it has */

/* Samples above this leave the range of float16. */
#define FAKE_DEVICE_LOUDEST 4.0f

/**
 * FakeDevice:
 * @driver, @runtime: versions, as CUDA writes them; 0 for a driver that cannot
 *   say
 * @n_devices: that there are
 * @capability: of every device, as 90
 * @restless: streams do something now and then, before anybody waits
 * @patience: times that an event is asked for before it has happened by itself;
 *   at first so many that whole batches come meanwhile
 * @n_broken: captures that somebody else will break
 * @fail_at: the call that fails, counted from 1; 0: none
 * @n_calls: that could have failed, so far
 * @n_uploads: asynchronous copies to the device so far
 * @n_to_encode: windows that the encoder was asked for so far
 * @n_graphs: that were launched so far
 * @n_drafted: tokens made in float16 so far
 * @n_live: blocks, streams, events and graphs that were not given back
 * @bytes: of device memory in use
 */
typedef struct {
  int driver, runtime, n_devices, capability;
  gboolean restless;
  guint patience;
  guint n_broken;
  guint fail_at;
  guint n_calls, n_uploads, n_to_encode, n_graphs, n_drafted, n_live;
  gsize bytes;
} FakeDevice;

extern FakeDevice fake_device;

/* As new, with nothing in use. */
void fake_device_reset (void);

/* A window, and what its text was fed so far: a hash of both. */
typedef struct {
  guint32 window, fed;
  guint n_fed;
} FakeText;

/* The text of a window of @n samples, which is fed nothing yet. */
FakeText fake_text_start (const gfloat *samples, gsize n);

/* The start token comes first. */
void fake_text_feed (FakeText *text, guint16 token);

/* What follows, or what is @drafted in float16: another one in eleven times.
 * All texts end; some have more than 128 tokens. */
guint16 fake_text_token (const FakeText *text, gboolean drafted);
gfloat fake_text_log_prob (const FakeText *text, gboolean drafted);

/* Whether drafts of this window are told to be in doubt where they are wrong.
 */
gboolean fake_text_is_doubted (const FakeText *text);

G_END_DECLS
