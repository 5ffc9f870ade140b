/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fuzz.h: what a fuzz target defines. Each is built twice: with replay.c as an
 * ordinary test, on any compiler; and with libFuzzer (-Dfuzz=enabled, clang;
 * see run.sh).
 */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

G_BEGIN_DECLS

/* Does with the input what the program would do with such a file. Returns 0. */
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* Appends valid inputs (GBytes) to start from. */
void fuzz_seeds (GPtrArray *seeds);

G_END_DECLS
