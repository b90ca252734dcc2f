/* A library to preload: counts the calls that change files below a folder, and at one of them kills
 * the process or lets the disk fail.
 *
 *   cc -shared -fPIC -O1 -o shim.so shim.c -ldl
 *
 * TORTURE_UNDER  the folder, an absolute path
 * TORTURE_DO     kill, half (kills after half of a write), full (the disk), inodes, broken (EIO),
 *                count (writes the number of calls to the file TORTURE_COUNT as the process ends)
 * TORTURE_AT     the number of the call, from 1; full, inodes and broken fail from it on
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* What a call does to a disk. */
enum kind { MAKES, WRITES, OTHER };

static atomic_long calls;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is(const char *word) {
  const char *todo = getenv("TORTURE_DO");
  return todo && !strcmp(todo, word);
}

static int below(const char *path) {
  const char *folder = getenv("TORTURE_UNDER");
  size_t length = folder ? strlen(folder) : 0;
  return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* Where a path or, without one, a descriptor points; empty where that is not known. */
static void resolve(int descriptor, const char *path, char *found) {
  char link[64];
  ssize_t length;
  found[0] = 0;
  if (path && path[0] == '/') {
    snprintf(found, PATH_MAX, "%s", path);
    return;
  }
  if (descriptor == AT_FDCWD) {
    if (!getcwd(found, PATH_MAX)) found[0] = 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, found, PATH_MAX - 1);
    found[length < 0 ? 0 : length] = 0;
  }
  if (path && found[0]) {
    length = strlen(found);
    snprintf(found + length, PATH_MAX - length, "/%s", path);
  }
}

/* Counts a call. Returns what it must fail with; -1: kill after half of it; 0: it goes on. */
static int meet(enum kind kind, int descriptor, const char *path) {
  char found[PATH_MAX];
  int before = errno, missing;
  long number;
  if (!getenv("TORTURE_UNDER")) return 0;
  resolve(descriptor, path, found);
  if (!below(found)) return errno = before, 0;
  missing = access(found, F_OK) != 0;
  errno = before;
  number = atomic_fetch_add(&calls, 1) + 1;
  if (is("count") || number < atol(getenv("TORTURE_AT"))) return 0;
  if (is("broken")) return EIO;
  if (is("inodes")) return kind == MAKES && missing ? ENOSPC : 0;
  if (is("full")) return kind == WRITES || (kind == MAKES && missing) ? ENOSPC : 0;
  if (is("half") && kind == WRITES) return -1;
  kill(getpid(), SIGKILL);
  return 0;
}

__attribute__((destructor)) static void tell(void) {
  const char *path = getenv("TORTURE_COUNT");
  FILE *file = path && is("count") ? fopen(path, "a") : NULL;
  if (!file) return;
  fprintf(file, "%ld\n", atomic_load(&calls));
  fclose(file);
}

#define CHECK(kind, descriptor, path)                   \
  do {                                                  \
    int fault = meet(kind, descriptor, path);           \
    if (fault > 0) return errno = fault, -1;            \
    if (fault < 0) kill(getpid(), SIGKILL);             \
  } while (0)

#define CHANGES(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC))

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    va_list rest;                                                        \
    mode_t mode;                                                         \
    va_start(rest, flags);                                               \
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;     \
    va_end(rest);                                                        \
    if (CHANGES(flags)) CHECK(MAKES, AT_FDCWD, path);                    \
    return NEXT(name)(path, flags, mode);                                \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                     \
  int name(int folder, const char *path, int flags, ...) {               \
    va_list rest;                                                        \
    mode_t mode;                                                         \
    va_start(rest, flags);                                               \
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;     \
    va_end(rest);                                                        \
    if (CHANGES(flags)) CHECK(MAKES, folder, path);                      \
    return NEXT(name)(folder, path, flags, mode);                        \
  }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
  CHECK(MAKES, AT_FDCWD, path);
  return NEXT(mkdir)(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
  CHECK(MAKES, folder, path);
  return NEXT(mkdirat)(folder, path, mode);
}

ssize_t write(int file, const void *data, size_t size) {
  int fault = meet(WRITES, file, NULL);
  if (fault > 0) return errno = fault, -1;
  if (fault < 0) {
    if (NEXT(write)(file, data, size / 2) >= -1) kill(getpid(), SIGKILL);
  }
  return NEXT(write)(file, data, size);
}

#define PWRITE(name, offset_type)                                              \
  ssize_t name(int file, const void *data, size_t size, offset_type offset) {  \
    int fault = meet(WRITES, file, NULL);                                      \
    if (fault > 0) return errno = fault, -1;                                   \
    if (fault < 0) {                                                           \
      if (NEXT(name)(file, data, size / 2, offset) >= -1)                      \
        kill(getpid(), SIGKILL);                                               \
    }                                                                          \
    return NEXT(name)(file, data, size, offset);                               \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int file, const struct iovec *parts, int count) {
  CHECK(WRITES, file, NULL);
  return NEXT(writev)(file, parts, count);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
  CHECK(WRITES, file, NULL);
  return NEXT(pwritev)(file, parts, count, offset);
}

int fsync(int file) {
  CHECK(OTHER, file, NULL);
  return NEXT(fsync)(file);
}

int fdatasync(int file) {
  CHECK(OTHER, file, NULL);
  return NEXT(fdatasync)(file);
}

int ftruncate(int file, off_t size) {
  CHECK(OTHER, file, NULL);
  return NEXT(ftruncate)(file, size);
}

int ftruncate64(int file, off64_t size) {
  CHECK(OTHER, file, NULL);
  return NEXT(ftruncate64)(file, size);
}

int rename(const char *from, const char *to) {
  CHECK(OTHER, AT_FDCWD, to);
  return NEXT(rename)(from, to);
}

int renameat(int folder, const char *from, int other, const char *to) {
  CHECK(OTHER, other, to);
  return NEXT(renameat)(folder, from, other, to);
}

int renameat2(int folder, const char *from, int other, const char *to, unsigned flags) {
  CHECK(OTHER, other, to);
  return NEXT(renameat2)(folder, from, other, to, flags);
}

int unlink(const char *path) {
  CHECK(OTHER, AT_FDCWD, path);
  return NEXT(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
  CHECK(OTHER, folder, path);
  return NEXT(unlinkat)(folder, path, flags);
}

int rmdir(const char *path) {
  CHECK(OTHER, AT_FDCWD, path);
  return NEXT(rmdir)(path);
}
