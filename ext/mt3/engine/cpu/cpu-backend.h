/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu-backend.h: what the CPU backend tells benchmarks and tests beyond the
 * interface of all backends.
 */
#pragma once

#include "engine/backend.h"
#include "engine/cpu/forward.h"

G_BEGIN_DECLS

/* Where the time went since the backend opened. */
void mt3_cpu_backend_times (Mt3Backend *backend, Mt3CpuTimes *times);

G_END_DECLS
