/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * glib-sync.c: tells ThreadSanitizer about GLib's locks.
 *
 * GLib makes its locks of bare futexes and Debian's GLib is not instrumented,
 * so the sanitizer sees neither lock nor unlock and calls every guarded access
 * a race. Preloaded (tests/run.sh --sanitize=thread), these functions stand
 * before GLib's and report what they order. Functions are looked up by name
 * because GLib's own headers and this file must agree on nothing but that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glib-object.h>

#pragma GCC visibility push(default)

/* Absent in programs without the sanitizer, which this file then leaves be. */
void __tsan_acquire (void *address) __attribute__ ((weak));
void __tsan_release (void *address) __attribute__ ((weak));

static void
acquire (void *address)
{
  if (__tsan_acquire)
    __tsan_acquire (address);
}

static void
release (void *address)
{
  if (__tsan_release)
    __tsan_release (address);
}

#define REAL(function)                                                         \
  static __typeof__ (&function) real;                                          \
  if (!real)                                                                   \
  real = (__typeof__ (&function)) dlsym (RTLD_NEXT, #function)

#define LOCK(function, Type)                                                   \
  void function (Type *lock)                                                   \
  {                                                                            \
    REAL (function);                                                           \
    real (lock);                                                               \
    acquire (lock);                                                            \
  }

#define TRYLOCK(function, Type)                                                \
  gboolean function (Type *lock)                                               \
  {                                                                            \
    REAL (function);                                                           \
    gboolean locked = real (lock);                                             \
    if (locked)                                                                \
      acquire (lock);                                                          \
    return locked;                                                             \
  }

#define UNLOCK(function, Type)                                                 \
  void function (Type *lock)                                                   \
  {                                                                            \
    REAL (function);                                                           \
    release (lock);                                                            \
    real (lock);                                                               \
  }

LOCK (g_mutex_lock, GMutex)
TRYLOCK (g_mutex_trylock, GMutex)
UNLOCK (g_mutex_unlock, GMutex)
LOCK (g_rec_mutex_lock, GRecMutex)
TRYLOCK (g_rec_mutex_trylock, GRecMutex)
UNLOCK (g_rec_mutex_unlock, GRecMutex)
LOCK (g_rw_lock_writer_lock, GRWLock)
TRYLOCK (g_rw_lock_writer_trylock, GRWLock)
UNLOCK (g_rw_lock_writer_unlock, GRWLock)
LOCK (g_rw_lock_reader_lock, GRWLock)
TRYLOCK (g_rw_lock_reader_trylock, GRWLock)
UNLOCK (g_rw_lock_reader_unlock, GRWLock)

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  REAL (g_cond_wait);
  release (mutex);
  real (cond, mutex);
  acquire (mutex);
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  REAL (g_cond_wait_until);
  release (mutex);
  gboolean signalled = real (cond, mutex, end_time);
  acquire (mutex);
  return signalled;
}

/* The last reference orders the end after all that happened before. */
#undef g_object_unref
void
g_object_unref (gpointer object)
{
  REAL (g_object_unref);
  release (object);
  acquire (object);
  real (object);
}

#undef g_once_init_enter
#undef g_once_init_leave
gboolean
g_once_init_enter (volatile void *location)
{
  REAL (g_once_init_enter);
  gboolean first = real (location);
  if (!first)
    acquire ((void *) location);
  return first;
}

void
g_once_init_leave (volatile void *location, gsize result)
{
  REAL (g_once_init_leave);
  release ((void *) location);
  real (location, result);
}

/* A queue has its lock inside of GLib. */
void
g_async_queue_push (GAsyncQueue *queue, gpointer data)
{
  REAL (g_async_queue_push);
  release (queue);
  real (queue, data);
}

gpointer
g_async_queue_pop (GAsyncQueue *queue)
{
  REAL (g_async_queue_pop);
  gpointer data = real (queue);
  acquire (queue);
  return data;
}

gpointer
g_async_queue_try_pop (GAsyncQueue *queue)
{
  REAL (g_async_queue_try_pop);
  gpointer data = real (queue);
  acquire (queue);
  return data;
}

gpointer
g_async_queue_timeout_pop (GAsyncQueue *queue, guint64 timeout)
{
  REAL (g_async_queue_timeout_pop);
  gpointer data = real (queue, timeout);
  acquire (queue);
  return data;
}

/* So has a pool of threads: what is pushed is seen by who works on it, and what
 * that did by who waits for the pool's end. */
typedef struct {
  GFunc func;
  gpointer user_data;
} Work;

static void
run_work (gpointer item, gpointer data)
{
  Work *work = data;

  acquire (work);
  work->func (item, work->user_data);
  release (work);
}

GThreadPool *
g_thread_pool_new (GFunc func, gpointer user_data, gint max_threads,
    gboolean exclusive, GError **error)
{
  REAL (g_thread_pool_new);
  Work *work = g_new (Work, 1);

  *work = (Work){func, user_data};
  return real (run_work, work, max_threads, exclusive, error);
}

gboolean
g_thread_pool_push (GThreadPool *pool, gpointer item, GError **error)
{
  REAL (g_thread_pool_push);
  release (pool->user_data);
  return real (pool, item, error);
}

void
g_thread_pool_free (GThreadPool *pool, gboolean immediate, gboolean wait)
{
  REAL (g_thread_pool_free);
  Work *work = pool->user_data;

  real (pool, immediate, wait);
  acquire (work);
  if (wait)
    g_free (work);
}
