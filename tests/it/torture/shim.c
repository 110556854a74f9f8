/* Loaded before libc into the real binary (LD_PRELOAD), for what cannot be had otherwise without a machine to break:
 *
 *   SHIM_UNDER  the directory that is watched
 *   SHIM_TRACE  a file that gets every change below it, in order: power loss is simulated from that
 *   SHIM_SPACE  bytes that may be written below it; then the disk is full
 *   SHIM_CLOCK  seconds by which the wall clock jumps, another way at each reading
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long written;
static atomic_uint readings;

static int under(const char *path) {
    const char *root = getenv("SHIM_UNDER");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

/* The path behind a descriptor, if it lies below the watched directory. */
static int watched(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return under(path);
}

static void trace(const char *what, const char *path, const char *other) {
    static atomic_int out = -1;
    const char *name = getenv("SHIM_TRACE");
    if (!name) return;
    int fd = atomic_load(&out);
    if (fd < 0) {
        int opened = REAL(open64)(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (atomic_compare_exchange_strong(&out, &fd, opened)) fd = opened;
        else close(opened);
    }
    char line[8300];
    int n = snprintf(line, sizeof line, "%s\t%s\t%s\n", what, path, other ? other : "");
    if (REAL(write)(fd, line, n) != n) abort();
}

ssize_t write(int fd, const void *bytes, size_t size) {
    char path[4096];
    if (!watched(fd, path, sizeof path)) return REAL(write)(fd, bytes, size);
    const char *space = getenv("SHIM_SPACE");
    if (space && atomic_fetch_add(&written, (long)size) + (long)size > atol(space)) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t n = REAL(write)(fd, bytes, size);
    trace("write", path, NULL);
    return n;
}

static int synced(int fd, int (*real)(int)) {
    char path[4096];
    int result = real(fd);
    if (result == 0 && watched(fd, path, sizeof path)) trace("sync", path, NULL);
    return result;
}
int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static int opened(const char *path, int flags, mode_t mode, int (*real)(const char *, int, ...)) {
    int fd = real(path, flags, mode);
    if (fd >= 0 && (flags & O_CREAT) && under(path)) trace("create", path, NULL);
    return fd;
}
int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    return opened(path, flags, mode, REAL(open));
}
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    return opened(path, flags, mode, REAL(open64));
}

/* Two names: traced once the change is made. */
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    int result = REAL(linkat)(at, from, to_at, to, flags);
    if (result == 0 && under(to)) trace("link", from, to);
    return result;
}
int link(const char *from, const char *to) {
    int result = REAL(link)(from, to);
    if (result == 0 && under(to)) trace("link", from, to);
    return result;
}
int rename(const char *from, const char *to) {
    int result = REAL(rename)(from, to);
    if (result == 0 && under(to)) trace("rename", from, to);
    return result;
}
int unlink(const char *path) {
    int result = REAL(unlink)(path);
    if (result == 0 && under(path)) trace("unlink", path, NULL);
    return result;
}
int mkdir(const char *path, mode_t mode) {
    int result = REAL(mkdir)(path, mode);
    if (result == 0 && under(path)) trace("mkdir", path, NULL);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    const char *jump = getenv("SHIM_CLOCK");
    if (result == 0 && jump && clock == CLOCK_REALTIME) {
        /* Forwards, backwards, not at all, by up to three times as much. */
        static const int way[] = {1, -1, 0, 3, -2, 2, -3};
        now->tv_sec += atol(jump) * way[atomic_fetch_add(&readings, 1) % 7];
    }
    return result;
}
