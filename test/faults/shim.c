/*
 * Stands between a process and its file system calls (LD_PRELOAD): records those below one folder, in their true order and
 * with the answers that go out over sockets, and makes some of them fail.
 *
 *   SHIM_FOLDER   what is watched: the folder and the files in it
 *   SHIM_LOG      where it is recorded, appended to; nowhere if unset
 *   SHIM_FAULTS   a file of one byte that says what fails now, read at each call:
 *                 'f' every flush (EIO), 's' every write (ENOSPC), 'r' every write (EROFS), 'd' flushes of the
 *                 database file alone; anything else: nothing
 *
 * A record is a line "type descriptor offset length path" and then so many bytes:
 *   S a process starts       O a file is opened (offset: flags)   C closed          U a file is removed
 *   W bytes are written      T a file is cut or grown to offset   A an answer is about to go out
 *   f a flush begins         F it has succeeded                   E it has failed, and what it was to flush is gone
 *
 * The lock makes a call and its record one step; a flush has two records, since others write meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int log_file = -1;
static volatile const char *faults = "-";
/* Which file of the folder a descriptor is: 0 none, 'b' the database, 'o' another. */
static char watched[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
  folder = getenv("SHIM_FOLDER");
  folder_length = folder ? strlen(folder) : 0;
  const char *log = getenv("SHIM_LOG"), *control = getenv("SHIM_FAULTS");
  if (log) log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (control) {
    int file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 1, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) faults = mapped;
  }
  if (log_file >= 0) syscall(SYS_write, log_file, "S 0 0 0 -\n", 10);
}

static int is_watched(int fd) { return fd >= 0 && fd < DESCRIPTORS && watched[fd]; }

static void record(char type, int fd, long long offset, size_t length, const char *path, const struct iovec *parts,
                   int count) {
  if (log_file < 0) return;
  char line[PATH_MAX + 100];
  struct iovec all[count + 1];
  int used = snprintf(line, sizeof line, "%c %d %lld %zu %s\n", type, fd, offset, length, path);
  all[0] = (struct iovec){line, used};
  size_t left = length;
  for (int i = 0; i < count; i++) {
    size_t size = parts[i].iov_len < left ? parts[i].iov_len : left;
    all[i + 1] = (struct iovec){parts[i].iov_base, size};
    left -= size;
  }
  int before = errno;
  if (syscall(SYS_writev, log_file, all, count + 1) != (long)(used + length)) abort();
  errno = before;
}

static void note(char type, int fd, long long offset, const char *path) { record(type, fd, offset, 0, path, NULL, 0); }

static int open_at(int at, const char *path, int flags, mode_t mode) {
  if (!folder || strncmp(path, folder, folder_length) || (path[folder_length] && path[folder_length] != '/'))
    return syscall(SYS_openat, at, path, flags, mode);
  pthread_mutex_lock(&lock);
  int fd = syscall(SYS_openat, at, path, flags, mode);
  if (fd >= 0 && fd < DESCRIPTORS) {
    size_t length = strlen(path);
    watched[fd] = length > 7 && !strcmp(path + length - 7, ".sqlite") ? 'b' : 'o';
    note('O', fd, flags, path);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

#define OPEN(name)                                                                                                     \
  int name(const char *path, int flags, ...) {                                                                        \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode_t mode = mode_of(flags, rest);                                                                                \
    va_end(rest);                                                                                                      \
    return open_at(AT_FDCWD, path, flags, mode);                                                                       \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (!is_watched(fd)) return syscall(SYS_close, fd);
  pthread_mutex_lock(&lock);
  watched[fd] = 0;
  note('C', fd, 0, "-");
  int result = syscall(SYS_close, fd);
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) {
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_unlink, path);
  if (!result && folder && !strncmp(path, folder, folder_length)) note('U', 0, 0, path);
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
  if (!is_watched(fd)) return syscall(SYS_pwrite64, fd, data, length, offset);
  if (*faults == 's' || *faults == 'r') {
    errno = *faults == 's' ? ENOSPC : EROFS;
    return -1;
  }
  pthread_mutex_lock(&lock);
  ssize_t written = syscall(SYS_pwrite64, fd, data, length, offset);
  struct iovec part = {(void *)data, length};
  if (written > 0) record('W', fd, offset, written, "-", &part, 1);
  pthread_mutex_unlock(&lock);
  return written;
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

int ftruncate64(int fd, off64_t size) {
  if (!is_watched(fd)) return syscall(SYS_ftruncate, fd, size);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_ftruncate, fd, size);
  if (!result) note('T', fd, size, "-");
  pthread_mutex_unlock(&lock);
  return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int flush(int fd, long call) {
  if (!is_watched(fd)) return syscall(call, fd);
  pthread_mutex_lock(&lock);
  note('f', fd, 0, "-");
  pthread_mutex_unlock(&lock);
  int fails = *faults == 'f' || (*faults == 'd' && watched[fd] == 'b');
  int result = fails ? -1 : syscall(call, fd);
  if (fails) errno = EIO;
  pthread_mutex_lock(&lock);
  note(result ? 'E' : 'F', fd, 0, "-");
  pthread_mutex_unlock(&lock);
  return result;
}
int fsync(int fd) { return flush(fd, SYS_fsync); }
int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }

/* An answer is recorded before it goes out: nobody can have seen it earlier. */
static void answer(int fd, const struct iovec *parts, int count) {
  if (log_file < 0 || count < 1 || parts[0].iov_len < 5 || memcmp(parts[0].iov_base, "HTTP/", 5)) return;
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  pthread_mutex_lock(&lock);
  record('A', fd, 0, length, "-", parts, count);
  pthread_mutex_unlock(&lock);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  answer(fd, parts, count);
  return syscall(SYS_writev, fd, parts, count);
}

ssize_t write(int fd, const void *data, size_t length) {
  struct iovec part = {(void *)data, length};
  answer(fd, &part, 1);
  return syscall(SYS_write, fd, data, length);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
  struct iovec part = {(void *)data, length};
  answer(fd, &part, 1);
  return syscall(SYS_sendto, fd, data, length, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  answer(fd, message->msg_iov, message->msg_iovlen);
  return syscall(SYS_sendmsg, fd, message, flags);
}
