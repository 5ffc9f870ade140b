/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Writing .safetensors: what was written reads the same, and a failure leaves
 * the old file alone.
 */
#define _GNU_SOURCE /* O_TMPFILE */
#include "fixtures.h"
#include "checkpoint/safetensors-writer.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static RandomModel *model;
static gboolean refuse_links;
static guint n_refused_links;

/* The writer's, too. */
int
linkat (
    int from_folder, const char *from, int to_folder, const char *to, int flags)
{
  if (!refuse_links)
    return (int) syscall (SYS_linkat, from_folder, from, to_folder, to, flags);
  n_refused_links++;
  errno = EPERM;
  return -1;
}

static void
set_up (void)
{
  Mt3Config config = fixture_config ();

  fixture_set_up ();
  model = random_model_new (&config, 1, FALSE);
}

static void
tear_down (void)
{
  random_model_free (model);
  fixture_tear_down ();
}

/* The random weights are exact in either dtype. */
static const Mt3DType dtypes[] = {MT3_DTYPE_F32, MT3_DTYPE_F16};

START_TEST (what_is_written_reads_the_same)
{
  g_autofree gchar *first = fixture_write (model);
  g_autoptr (Mt3Model) a = fixture_must_open (first);
  g_autofree gchar *second = fixture_write_as (model, dtypes[_i]);
  g_autoptr (Mt3Model) b = fixture_must_open (second);
  guint n;

  fixture_must_equal (a, b);
  ck_assert_int_eq (mt3_model_tensors (b, &n)->dtype, dtypes[_i]);
  ck_assert_uint_eq ((gsize) mt3_model_tensors (b, &n)->data % 8, 0);
}
END_TEST

START_TEST (the_same_model_gives_the_same_bytes)
{
  g_autofree gchar *path = fixture_write (model), *a = NULL, *b = NULL;
  g_autofree gchar *again = NULL;
  gsize n_a, n_b;

  ck_assert (g_file_get_contents (path, &a, &n_a, NULL));
  again = fixture_write (model);
  ck_assert (g_file_get_contents (again, &b, &n_b, NULL));
  ck_assert_uint_eq (n_a, n_b);
  ck_assert_mem_eq (a, b, n_a);
}
END_TEST

START_TEST (transposed_tensors_are_written_in_canonical_layout)
{
  Mt3Config config = fixture_config ();
  g_autoptr (RandomModel) torch = random_model_new (&config, 1, TRUE);
  g_autofree gchar *path = fixture_write (torch), *out = NULL;
  g_autoptr (Mt3Model) a = fixture_must_open (path);
  g_autoptr (Mt3Model) b = NULL;
  Mt3SafetensorsWrite what = {.metadata = torch->metadata};

  what.tensors = mt3_model_tensors (a, &what.n_tensors);
  out = fixture_path ("canonical.safetensors");
  ck_assert (mt3_safetensors_write (out, &what, NULL));
  b = fixture_must_open (out);
  fixture_must_equal (a, b);
  ck_assert_uint_eq (
      mt3_model_tensor (b, "decoder/logits_dense/kernel")->stride[1], 1);
}
END_TEST

static guint
count_files (void)
{
  g_autoptr (GDir) folder = g_dir_open (fixture_folder, 0, NULL);
  guint n = 0;

  while (g_dir_read_name (folder) != NULL)
    n++;
  return n;
}

START_TEST (a_value_beyond_float16_is_refused_and_the_old_file_stays)
{
  g_autofree gchar *path = fixture_path ("model.safetensors"), *data = NULL;
  gfloat huge[8] = {1, 2, 3, 65520};
  g_autoptr (GError) error = NULL;

  ck_assert (g_file_set_contents (path, "old", 3, NULL));
  fixture_find (model, "decoder/decoder_norm/scale")->data = huge;
  ck_assert (!random_model_write (model, path, MT3_DTYPE_F16, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_MODEL));
  ck_assert_msg (strstr (error->message,
                     "tensor decoder/decoder_norm/scale: 65520") != NULL,
      "%s", error->message);
  ck_assert (g_file_get_contents (path, &data, NULL, NULL));
  ck_assert_str_eq (data, "old");
  ck_assert_uint_eq (count_files (), 1);
}
END_TEST

/* A limit on the size of files stands for a full disk. */
START_TEST (a_full_disk_leaves_the_old_file)
{
  g_autofree gchar *path = fixture_path ("model.safetensors"), *data = NULL;
  g_autoptr (GError) error = NULL;
  struct rlimit unlimited, full;
  gboolean written;

  ck_assert (g_file_set_contents (path, "old", 3, NULL));
  getrlimit (RLIMIT_FSIZE, &unlimited);
  full = unlimited;
  full.rlim_cur = 5000;
  signal (SIGXFSZ, SIG_IGN);
  setrlimit (RLIMIT_FSIZE, &full);
  written = random_model_write (model, path, MT3_DTYPE_F32, &error);
  setrlimit (RLIMIT_FSIZE, &unlimited);
  signal (SIGXFSZ, SIG_DFL);
  ck_assert (!written);
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_IO));
  ck_assert (g_file_get_contents (path, &data, NULL, NULL));
  ck_assert_str_eq (data, "old");
  ck_assert_uint_eq (count_files (), 1);
}
END_TEST

static void
kill_process (guint64 done, guint64 total, gpointer user_data)
{
  raise (SIGKILL);
}

static gboolean
folder_has_unnamed_files (void)
{
  int fd = open (fixture_folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

  return fd >= 0 && close (fd) == 0;
}

START_TEST (a_killed_process_leaves_nothing_but_the_old_file)
{
  g_autofree gchar *path = fixture_path ("model.safetensors"), *data = NULL;
  const Mt3SafetensorsWrite what = {
      .tensors = (const Mt3Tensor *) (gpointer) model->tensors->data,
      .n_tensors = model->tensors->len,
      .progress = kill_process,
  };
  int status;
  pid_t child;

  if (!folder_has_unnamed_files ())
    return;
  ck_assert (g_file_set_contents (path, "old", 3, NULL));
  child = fork ();
  if (child == 0)
    _exit (mt3_safetensors_write (path, &what, NULL));
  ck_assert_int_eq (waitpid (child, &status, 0), child);
  ck_assert (WIFSIGNALED (status));
  ck_assert (g_file_get_contents (path, &data, NULL, NULL));
  ck_assert_str_eq (data, "old");
  ck_assert_uint_eq (count_files (), 1);
}
END_TEST

START_TEST (a_file_that_can_get_no_name_later_is_written_with_one)
{
  g_autofree gchar *path = NULL;
  g_autoptr (Mt3Model) opened = NULL;

  refuse_links = TRUE;
  path = fixture_write (model);
  refuse_links = FALSE;
  ck_assert_uint_eq (n_refused_links, folder_has_unnamed_files ());
  opened = fixture_must_open (path);
  ck_assert_uint_eq (count_files (), 1);
}
END_TEST

START_TEST (what_is_written_has_the_rights_of_any_new_file)
{
  mode_t mask = umask (0027);
  g_autofree gchar *path = NULL;
  struct stat found;

  refuse_links = _i;
  path = fixture_write (model);
  refuse_links = FALSE;
  umask (mask);
  ck_assert_int_eq (stat (path, &found), 0);
  ck_assert_uint_eq (found.st_mode & 0777, 0640);
}
END_TEST

START_TEST (a_folder_that_is_not_there_cannot_be_written)
{
  g_autoptr (GError) error = NULL;

  ck_assert (!random_model_write (
      model, "/nonexistent/x.safetensors", MT3_DTYPE_F32, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_IO));
  ck_assert_ptr_nonnull (strstr (error->message, "/nonexistent/x.safetensors"));
}
END_TEST

/* Nobody reads the pipe, and a link may lead to a pipe, too. */
static const gchar *const no_files[][2] = {
    {"pipe", "it is not a file"},
    {"folder", "it is not a file"},
    {"link to pipe", "it is not a file"},
    {"link to nothing", "it is a broken link"},
};

START_TEST (what_is_no_file_is_refused_and_stays)
{
  g_autofree gchar *path = fixture_path (no_files[_i][0]);
  g_autofree gchar *pipe = fixture_path ("pipe");
  g_autofree gchar *dir = fixture_path ("folder");
  g_autofree gchar *to_pipe = fixture_path ("link to pipe");
  g_autofree gchar *to_nothing = fixture_path ("link to nothing");
  g_autofree gchar *message =
      g_strdup_printf ("cannot write %s: %s", path, no_files[_i][1]);
  g_autoptr (GError) error = NULL;
  struct stat before, after;

  ck_assert_int_eq (mkfifo (pipe, 0600), 0);
  ck_assert_int_eq (g_mkdir (dir, 0700), 0);
  ck_assert_int_eq (symlink ("pipe", to_pipe), 0);
  ck_assert_int_eq (symlink ("nothing", to_nothing), 0);
  ck_assert_int_eq (lstat (path, &before), 0);
  ck_assert (!random_model_write (model, path, MT3_DTYPE_F32, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_IO));
  ck_assert_str_eq (error->message, message);
  ck_assert_int_eq (lstat (path, &after), 0);
  ck_assert_uint_eq (after.st_ino, before.st_ino);
  ck_assert_uint_eq (count_files (), G_N_ELEMENTS (no_files));
}
END_TEST

START_TEST (a_link_stays_and_its_file_is_replaced)
{
  g_autofree gchar *path = fixture_path ("model.safetensors");
  g_autofree gchar *link = fixture_path ("link.safetensors");
  g_autoptr (Mt3Model) opened = NULL;

  ck_assert (g_file_set_contents (path, "old", 3, NULL));
  ck_assert_int_eq (symlink ("model.safetensors", link), 0);
  ck_assert (random_model_write (model, link, MT3_DTYPE_F32, NULL));
  ck_assert (g_file_test (link, G_FILE_TEST_IS_SYMLINK));
  opened = fixture_must_open (path);
  ck_assert_uint_eq (count_files (), 2);
}
END_TEST

static void
count_progress (guint64 done, guint64 total, gpointer user_data)
{
  guint64 *last = user_data;

  ck_assert_uint_gt (done, *last);
  ck_assert_uint_le (done, total);
  *last = done;
}

START_TEST (progress_rises_to_the_end)
{
  g_autofree gchar *path = fixture_path ("model.safetensors");
  guint64 last = 0, bytes = 0;
  const Mt3SafetensorsWrite what = {
      .tensors = (const Mt3Tensor *) (gpointer) model->tensors->data,
      .n_tensors = model->tensors->len,
      .progress = count_progress,
      .user_data = &last,
  };

  for (guint i = 0; i < what.n_tensors; i++)
    bytes += 4 * mt3_tensor_n_elements (&what.tensors[i]);
  ck_assert (mt3_safetensors_write (path, &what, NULL));
  ck_assert_uint_eq (last, bytes);
}
END_TEST

/* Blocks of 2^18 elements: one row that is longer, and rows that do not fill
 * the last block. */
static const gsize shapes[][2] = {{2, 300000}, {700, 400}};

START_TEST (large_tensors_are_written_whole)
{
  gsize n = shapes[_i][0] * shapes[_i][1];
  g_autofree gfloat *values = g_new (gfloat, n);
  g_autofree gchar *path = fixture_path ("large.safetensors"), *data = NULL;
  const Mt3Tensor tensor = {.name = "large",
      .n_dims = 2,
      .shape = {shapes[_i][0], shapes[_i][1]},
      .stride = {shapes[_i][1], 1},
      .data = values};
  const Mt3SafetensorsWrite what = {.tensors = &tensor, .n_tensors = 1};
  gsize length;

  for (gsize i = 0; i < n; i++)
    values[i] = (gfloat) i;
  ck_assert (mt3_safetensors_write (path, &what, NULL));
  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  ck_assert_mem_eq (data + length - 4 * n, values, 4 * n);
}
END_TEST

Suite *
writer_suite (void)
{
  Suite *suite = suite_create ("safetensors-writer");
  TCase *tcase = tcase_create ("safetensors-writer");

  tcase_add_checked_fixture (tcase, set_up, tear_down);
  tcase_add_loop_test (
      tcase, what_is_written_reads_the_same, 0, G_N_ELEMENTS (dtypes));
  tcase_add_test (tcase, the_same_model_gives_the_same_bytes);
  tcase_add_test (tcase, transposed_tensors_are_written_in_canonical_layout);
  tcase_add_test (
      tcase, a_value_beyond_float16_is_refused_and_the_old_file_stays);
  tcase_add_test (tcase, a_full_disk_leaves_the_old_file);
  tcase_add_test (tcase, a_killed_process_leaves_nothing_but_the_old_file);
  tcase_add_test (tcase, a_file_that_can_get_no_name_later_is_written_with_one);
  tcase_add_loop_test (
      tcase, what_is_written_has_the_rights_of_any_new_file, 0, 2);
  tcase_add_test (tcase, a_folder_that_is_not_there_cannot_be_written);
  tcase_add_loop_test (
      tcase, what_is_no_file_is_refused_and_stays, 0, G_N_ELEMENTS (no_files));
  tcase_add_test (tcase, a_link_stays_and_its_file_is_replaced);
  tcase_add_test (tcase, progress_rises_to_the_end);
  tcase_add_loop_test (
      tcase, large_tensors_are_written_whole, 0, G_N_ELEMENTS (shapes));
  suite_add_tcase (suite, tcase);
  return suite;
}
