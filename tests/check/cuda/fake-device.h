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
 * @patience: times that an event is asked for before it has happened by itself;
 *   at first so many that whole batches come meanwhile
 * @fail_at: the call that fails, counted from 1; 0: none
 * @n_calls: that could have failed, so far
 * @n_uploads: asynchronous copies to the device so far
 * @n_drafted: tokens made in float16 so far
 * @n_live: blocks, streams, events and graphs that were not given back
 * @bytes: of device memory in use
 */
typedef struct {
  int driver, runtime, n_devices, capability;
  guint patience;
  guint fail_at;
  guint n_calls, n_uploads, n_drafted, n_live;
  gsize bytes;
} FakeDevice;

extern FakeDevice fake_device;

/* As new, with nothing in use. */
void fake_device_reset (void);

/* The token at @position of a window of @n samples, or that which is @drafted
 * in float16. Some texts are long, and all end before position 40. */
guint16 fake_device_token (
    const gfloat *samples, gsize n, guint position, gboolean drafted);

/* Its log-probability. */
gfloat fake_device_log_prob (guint position, gboolean drafted);

/* Whether drafts of this window are told to be in doubt where they are wrong,
 * which every eleventh token is. */
gboolean fake_device_doubts (const gfloat *samples, gsize n);

G_END_DECLS
