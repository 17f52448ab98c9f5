/* A disk that fails, without a disk: preloaded into a child of the tests, it lets the n-th call upon files below one folder
 * go wrong. What it counts depends on what goes wrong: no read finds a disk full.
 *
 *   DISK_FOLDER   the folder
 *   DISK_FAULT    enospc | eio | short (half a write is done, and for the rest there is no space) | kill
 *   DISK_AT       n, from 1
 *   DISK_LASTING  if set, whatever comes after fails too
 *
 * The file `fired` in the folder says that n was reached. Nothing here calls libc's own I/O: that is what it stands before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call { OPEN = 1, READ = 2, WRITE = 4, SYNC = 8, TRUNCATE = 16, UNLINK = 32 };
enum { PASS, FAIL, HALF };

static const char *folder, *fault;
static long at;
static int lasting, affected;
static atomic_long seen;

__attribute__((constructor)) static void start(void) {
  const char *n = getenv("DISK_AT");
  folder = getenv("DISK_FOLDER");
  fault = getenv("DISK_FAULT");
  lasting = getenv("DISK_LASTING") != NULL;
  at = n ? atol(n) : 0;
  if (!folder || !fault || !at) return;
  affected = !strcmp(fault, "enospc") ? OPEN | WRITE | TRUNCATE : !strcmp(fault, "short") ? WRITE : ~0;
}

static void mark(void) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/fired", folder);
  syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600));
}

static int judge(enum call call, const char *path) {
  if (!(affected & call) || strncmp(path, folder, strlen(folder))) return PASS;
  long n = atomic_fetch_add(&seen, 1) + 1;
  int half = !strcmp(fault, "short");
  if (n < at || (n > at + half && !lasting)) return PASS;
  if (n == at) mark();
  if (!strcmp(fault, "kill")) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  errno = !strcmp(fault, "eio") ? EIO : ENOSPC;
  return half && n == at ? HALF : FAIL;
}

static int judge_fd(enum call call, int fd) {
  char link[64], path[PATH_MAX];
  if (!(affected & call)) return PASS;
  int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  errno = before;
  if (length < 0) return PASS;
  path[length] = 0;
  return judge(call, path);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
  va_end(rest);
  /* A full disk opens what there is. */
  int creates = flags & O_CREAT && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) < 0;
  if ((affected == ~0 || creates) && judge(OPEN, path)) return -1;
  return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open(const char *path, int flags, ...) __attribute__((alias("open64")));

ssize_t read(int fd, void *buffer, size_t count) {
  return judge_fd(READ, fd) ? -1 : syscall(SYS_read, fd, buffer, count);
}
ssize_t pread64(int fd, void *buffer, size_t count, off64_t offset) {
  return judge_fd(READ, fd) ? -1 : syscall(SYS_pread64, fd, buffer, count, offset);
}
ssize_t pread(int fd, void *buffer, size_t count, off_t offset) __attribute__((alias("pread64")));

ssize_t write(int fd, const void *buffer, size_t count) {
  int verdict = judge_fd(WRITE, fd);
  return verdict == FAIL ? -1 : syscall(SYS_write, fd, buffer, verdict == HALF ? count / 2 : count);
}
ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t offset) {
  int verdict = judge_fd(WRITE, fd);
  return verdict == FAIL ? -1 : syscall(SYS_pwrite64, fd, buffer, verdict == HALF ? count / 2 : count, offset);
}
ssize_t pwrite(int fd, const void *buffer, size_t count, off_t offset) __attribute__((alias("pwrite64")));

/* What ends here is the process, not the power: the kernel keeps what it was given. */
int fsync(int fd) { return judge_fd(SYNC, fd) ? -1 : 0; }
int fdatasync(int fd) { return judge_fd(SYNC, fd) ? -1 : 0; }
int ftruncate64(int fd, off64_t size) { return judge_fd(TRUNCATE, fd) ? -1 : syscall(SYS_ftruncate, fd, size); }
int ftruncate(int fd, off_t size) __attribute__((alias("ftruncate64")));
int unlink(const char *path) { return judge(UNLINK, path) ? -1 : syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
