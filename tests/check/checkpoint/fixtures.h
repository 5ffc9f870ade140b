/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fixtures.h: small models and their files, sound and broken ones.
 */
#pragma once

#include "checkpoint/model.h"
#include "error.h"
#include "random-model.h"

#include <check.h>

/* A folder for each test, removed after it: for tcase_add_checked_fixture(). */
void fixture_set_up (void);
void fixture_tear_down (void);
extern gchar *fixture_folder;

/* A path in the folder; free with g_free(). */
gchar *fixture_path (const gchar *name);

/* 2 + 1 layers of width 8, 2 heads of 4: 37 tensors. */
Mt3Config fixture_config (void);

/* A tensor of @model by name; the test fails when there is none. */
Mt3Tensor *fixture_find (RandomModel *model, const gchar *name);
void fixture_remove (RandomModel *model, const gchar *name);

/* Write @model; return the path to open. */
gchar *fixture_write (const RandomModel *model);
gchar *fixture_write_as (const RandomModel *model, Mt3DType dtype);

/* A safetensors file of this header and so many zero bytes. */
gchar *fixture_write_header (const gchar *header, gsize n_bytes);

/* Opening @path fails with @code and a message that holds @part. */
void fixture_must_fail (const gchar *path, Mt3Error code, const gchar *part);

/* Opens @path, which must succeed. */
Mt3Model *fixture_must_open (const gchar *path);

/* Both have the same tensors with the same values. */
void fixture_must_equal (const Mt3Model *a, const Mt3Model *b);

Suite *tensor_suite (void);
Suite *safetensors_suite (void);
Suite *t5x_suite (void);
Suite *pickle_suite (void);
Suite *pth_suite (void);
Suite *names_suite (void);
Suite *model_suite (void);
Suite *writer_suite (void);
Suite *draft_suite (void);
