/* Preloaded into larder by shim.rs: counts the operations that change files below SHIM_ROOT, and at the n-th one kills the
 * process or makes operations fail. In mode `cut` it also keeps what a power cut would leave, in SHIM_IMAGE:
 *
 *   S/<inode>  the bytes of a file when it was last synced        (a file that never was has none)
 *   D/<inode>  the names of a folder when it was last synced: lines of `inode d|f hex-of-name`
 *   U/<inode>  a hard link to a file that was unlinked or renamed over (so that no inode number is used twice)
 *
 * Environment: SHIM_ROOT, SHIM_MODE (count, kill, half, cut, fail, fail-once), SHIM_AT, SHIM_ERRNO, SHIM_LOG, SHIM_IMAGE.
 * SHIM_CLOCK alone: seconds by which the clock is ahead of the true one.
 * RocksDB's own log file (LOG) is left out: nothing depends on it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum mode { OFF, COUNT, KILL, HALF, CUT, FAIL, FAIL_ONCE };

static enum mode mode;
static const char *root, *image;
static size_t root_len;
static long at, seen;
static int fail_errno, log_fd = -1;
static long ahead;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define PATHS (PATH_MAX + 512)

static int inside(const char *path) {
    return mode != OFF && strncmp(path, root, root_len) == 0 && (path[root_len] == '/' || path[root_len] == 0);
}

/* RocksDB's log and what it becomes. */
static int unimportant(const char *path) {
    const char *name = strrchr(path, '/');
    return name && (strcmp(name, "/LOG") == 0 || strncmp(name, "/LOG.old", 8) == 0);
}

static int path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, PATH_MAX - 1);
    if (len < 0) return 0;
    out[len] = 0;
    return out[0] == '/';
}

static void resolve(int dir, const char *path, char *out) {
    out[0] = 0;
    if (path[0] == '/') {
        snprintf(out, PATHS, "%s", path);
        return;
    }
    char base[PATHS];
    if (dir == AT_FDCWD ? getcwd(base, PATH_MAX) != NULL : path_of(dir, base)) snprintf(out, PATHS, "%.4200s/%.300s", base, path);
}

static int relevant(const char *path) { return inside(path) && !unimportant(path); }

static int relevant_fd(int fd, char *path) { return mode != OFF && path_of(fd, path) && relevant(path); }

/* One more operation. 0: go on. 1: do half of it, then die. -1: fail with errno. Called with the lock held. */
static int enter(const char *what, const char *path) {
    seen++;
    if (log_fd >= 0) dprintf(log_fd, "%ld %s %s\n", seen, what, path + root_len);
    if (seen < at || at == 0) return 0;
    switch (mode) {
    case KILL:
    case CUT: syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause();
    case HALF: return 1;
    case FAIL: errno = fail_errno; return -1;
    case FAIL_ONCE: if (seen == at) { errno = fail_errno; return -1; } return 0;
    default: return 0;
    }
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define raw_open(path, flags) ((int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600))

static void keep_file(int fd) {
    struct stat st;
    char from[64], to[PATHS];
    if (fstat(fd, &st) != 0) return;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/S/%lu", image, (unsigned long)st.st_ino);
    int in = raw_open(from, O_RDONLY), out = raw_open(to, O_WRONLY | O_CREAT | O_TRUNC);
    static char buffer[1 << 16];
    for (ssize_t n; in >= 0 && out >= 0 && (n = read(in, buffer, sizeof buffer)) > 0;)
        if (syscall(SYS_write, out, buffer, n) != n) abort();
    if (in >= 0) close(in);
    if (out >= 0) close(out);
}

static void keep_folder(const char *path) {
    struct stat st;
    char to[PATHS];
    DIR *dir = opendir(path);
    if (!dir || fstat(dirfd(dir), &st) != 0) return;
    snprintf(to, sizeof to, "%s/D/%lu", image, (unsigned long)st.st_ino);
    int out = raw_open(to, O_WRONLY | O_CREAT | O_TRUNC);
    for (struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char hex[2 * NAME_MAX + 1];
        for (size_t i = 0; i <= strlen(e->d_name); i++) snprintf(hex + 2 * i, 3, "%02x", (unsigned char)e->d_name[i]);
        hex[2 * strlen(e->d_name)] = 0;
        char line[700];
        int n = snprintf(line, sizeof line, "%lu %c %s\n", (unsigned long)e->d_ino, e->d_type == DT_DIR ? 'd' : 'f', hex);
        if (syscall(SYS_write, out, line, n) != n) abort();
    }
    close(out);
    closedir(dir);
}

/* A file's last name may go: keep the file. */
static void keep_unlinked(const char *path) {
    struct stat st;
    char to[PATHS];
    if (mode != CUT || lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) return;
    snprintf(to, sizeof to, "%s/U/%lu", image, (unsigned long)st.st_ino);
    syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0);
}

/* What is there at the start lasts. */
static void keep_all(const char *path) {
    keep_folder(path);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char below[PATHS];
        snprintf(below, sizeof below, "%.4200s/%.300s", path, e->d_name);
        if (e->d_type == DT_DIR) keep_all(below);
        else if (e->d_type == DT_REG) {
            int fd = raw_open(below, O_RDONLY);
            keep_file(fd);
            close(fd);
        }
    }
    if (dir) closedir(dir);
}

__attribute__((constructor)) static void start(void) {
    static const char *const names[] = {"off", "count", "kill", "half", "cut", "fail", "fail-once"};
    const char *text = getenv("SHIM_MODE");
    if (getenv("SHIM_CLOCK")) ahead = atol(getenv("SHIM_CLOCK"));
    root = getenv("SHIM_ROOT");
    image = getenv("SHIM_IMAGE");
    if (!text || !root) return;
    root_len = strlen(root);
    at = atol(getenv("SHIM_AT") ? getenv("SHIM_AT") : "0");
    fail_errno = atoi(getenv("SHIM_ERRNO") ? getenv("SHIM_ERRNO") : "5");
    const char *log = getenv("SHIM_LOG");
    if (log) log_fd = raw_open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC);
    enum mode wanted = OFF;
    for (int i = 0; i <= FAIL_ONCE; i++)
        if (strcmp(text, names[i]) == 0) wanted = i;
    if (wanted == CUT) keep_all(root);
    mode = wanted;
}

#define GUARDED(expression, what, path, result_type)                                                                       \
    do {                                                                                                                   \
        pthread_mutex_lock(&lock);                                                                                         \
        int order = enter(what, path);                                                                                     \
        if (order > 0) die();                                                                                              \
        result_type result = order < 0 ? (result_type)-1 : (expression);                                                   \
        int kept = errno;                                                                                                  \
        pthread_mutex_unlock(&lock);                                                                                       \
        errno = kept;                                                                                                      \
        return result;                                                                                                     \
    } while (0)

/* Writes: half of one can be done. */
#define WRITE(name, half, fd, path, call)                                                                                  \
    do {                                                                                                                   \
        pthread_mutex_lock(&lock);                                                                                         \
        int order = enter(name, path);                                                                                     \
        if (order > 0) {                                                                                                   \
            if (half) {}                                                                                                   \
            die();                                                                                                         \
        }                                                                                                                  \
        ssize_t result = order < 0 ? -1 : (call);                                                                          \
        int kept = errno;                                                                                                  \
        pthread_mutex_unlock(&lock);                                                                                       \
        errno = kept;                                                                                                      \
        return result;                                                                                                     \
    } while (0)

ssize_t write(int fd, const void *data, size_t len) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return syscall(SYS_write, fd, data, len);
    WRITE("write", syscall(SYS_write, fd, data, len / 2), fd, path, syscall(SYS_write, fd, data, len));
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return syscall(SYS_pwrite64, fd, data, len, offset);
    WRITE("pwrite", syscall(SYS_pwrite64, fd, data, len / 2, offset), fd, path, syscall(SYS_pwrite64, fd, data, len, offset));
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return syscall(SYS_writev, fd, parts, count);
    WRITE("writev", syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len / 2), fd, path,
          syscall(SYS_writev, fd, parts, count));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    char path[PATHS];
    ssize_t (*real)(int, const struct iovec *, int, off64_t) = dlsym(RTLD_NEXT, "pwritev64");
    if (!relevant_fd(fd, path)) return real(fd, parts, count, offset);
    WRITE("pwritev", syscall(SYS_pwrite64, fd, parts[0].iov_base, parts[0].iov_len / 2, offset), fd, path,
          real(fd, parts, count, offset));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t len, unsigned flags) {
    char path[PATHS];
    if (!relevant_fd(out, path)) return syscall(SYS_copy_file_range, in, from, out, to, len, flags);
    GUARDED(syscall(SYS_copy_file_range, in, from, out, to, len, flags), "copy_file_range", path, ssize_t);
}

static int synced(int fd, const char *path, const char *what, long number) {
    pthread_mutex_lock(&lock);
    int order = enter(what, path);
    if (order > 0) die();
    int result = order < 0 ? -1 : (int)syscall(number, fd);
    int kept = errno;
    struct stat st;
    if (result == 0 && mode == CUT && fstat(fd, &st) == 0) {
        if (S_ISDIR(st.st_mode)) keep_folder(path);
        else keep_file(fd);
    }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

int fsync(int fd) {
    char path[PATHS];
    return relevant_fd(fd, path) ? synced(fd, path, "fsync", SYS_fsync) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    char path[PATHS];
    return relevant_fd(fd, path) ? synced(fd, path, "fdatasync", SYS_fdatasync) : (int)syscall(SYS_fdatasync, fd);
}

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return (int)syscall(SYS_sync_file_range, fd, offset, len, flags);
    GUARDED((int)syscall(SYS_sync_file_range, fd, offset, len, flags), "sync_file_range", path, int);
}

int ftruncate64(int fd, off64_t len) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return (int)syscall(SYS_ftruncate, fd, len);
    GUARDED((int)syscall(SYS_ftruncate, fd, len), "ftruncate", path, int);
}
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }

int fallocate64(int fd, int how, off64_t offset, off64_t len) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return (int)syscall(SYS_fallocate, fd, how, offset, len);
    GUARDED((int)syscall(SYS_fallocate, fd, how, offset, len), "fallocate", path, int);
}
int fallocate(int fd, int how, off_t offset, off_t len) { return fallocate64(fd, how, offset, len); }

static int renamed(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char a[PATHS], b[PATHS];
    resolve(from_dir, from, a);
    resolve(to_dir, to, b);
    if (!relevant(a) && !relevant(b)) return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    const char *path = inside(b) ? b : a;
    GUARDED((keep_unlinked(b), (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags)), "rename", path, int);
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return renamed(from_dir, from, to_dir, to, 0); }
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return renamed(from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char path[PATHS];
    resolve(to_dir, to, path);
    if (!relevant(path)) return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    GUARDED((int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags), "link", path, int);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dir, const char *name, int flags) {
    char path[PATHS];
    resolve(dir, name, path);
    if (!relevant(path)) return (int)syscall(SYS_unlinkat, dir, name, flags);
    GUARDED((keep_unlinked(path), (int)syscall(SYS_unlinkat, dir, name, flags)), "unlink", path, int);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dir, const char *name, mode_t how) {
    char path[PATHS];
    resolve(dir, name, path);
    if (!relevant(path)) return (int)syscall(SYS_mkdirat, dir, name, how);
    GUARDED((int)syscall(SYS_mkdirat, dir, name, how), "mkdir", path, int);
}
int mkdir(const char *path, mode_t how) { return mkdirat(AT_FDCWD, path, how); }

static int opened(int dir, const char *name, int flags, mode_t how) {
    char path[PATHS];
    struct stat st;
    resolve(dir, name, path);
    int there = relevant(path) && lstat(path, &st) == 0;
    int changes = ((flags & O_CREAT) && !there) || ((flags & O_TRUNC) && there && st.st_size > 0);
    if (!changes || !relevant(path)) return (int)syscall(SYS_openat, dir, name, flags, how);
    GUARDED((int)syscall(SYS_openat, dir, name, flags, how), there ? "truncate" : "create", path, int);
}

#define HOW(flags)                                                                                                         \
    mode_t how = 0;                                                                                                        \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                                 \
        va_list rest;                                                                                                      \
        va_start(rest, flags);                                                                                             \
        how = va_arg(rest, mode_t);                                                                                        \
        va_end(rest);                                                                                                      \
    }
int open(const char *path, int flags, ...) { HOW(flags) return opened(AT_FDCWD, path, flags, how); }
int open64(const char *path, int flags, ...) { HOW(flags) return opened(AT_FDCWD, path, flags | O_LARGEFILE, how); }
int openat(int dir, const char *path, int flags, ...) { HOW(flags) return opened(dir, path, flags, how); }
int openat64(int dir, const char *path, int flags, ...) { HOW(flags) return opened(dir, path, flags | O_LARGEFILE, how); }
int creat(const char *path, mode_t how) { return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, how); }

int clock_gettime(clockid_t clock, struct timespec *out) {
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && clock == CLOCK_REALTIME) out->tv_sec += ahead;
    return result;
}
int gettimeofday(struct timeval *out, void *zone) {
    int result = (int)syscall(SYS_gettimeofday, out, zone);
    if (result == 0) out->tv_sec += ahead;
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
