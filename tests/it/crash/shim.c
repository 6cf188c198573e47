/* Preloaded into larder by shim.rs: counts the operations that change files below SHIM_ROOT, and at the n-th one kills the
 * process or makes operations fail. In mode `cut` it also keeps what a power cut would leave, in SHIM_IMAGE:
 *
 *   S/<inode>  the bytes of a file when it was last synced        (a file that never was has none)
 *   D/<inode>  the names of a folder when it was last synced: lines of `inode d|f hex-of-name`
 *   U/<inode>  a hard link to a file that was unlinked or renamed over (so that no inode number is used twice)
 *
 * Environment: SHIM_ROOT, SHIM_MODE (count, kill, half, cut, fail, fail-once), SHIM_AT, SHIM_ERRNO, SHIM_LOG, SHIM_IMAGE.
 * SHIM_CLOCK alone: seconds by which the clock is ahead of the true one.
 * SHIM_NOW: the second at which the clock stands still. Randomness is the same each time then, so that a command that is run again
 * leaves the same bytes (its addresses must be the same too: setarch -R).
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
#include <stdint.h>
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
static long ahead, now;
/* RocksDB makes a name for a session on this thread: from randomness, its process and thread, clocks and a UUID, in this order. */
static __thread int naming;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define PATHS (PATH_MAX + 512)

typedef long system_call(long number, ...);
/* libc's own, not the one below. */
static system_call *libc_syscall(void) {
    static system_call *real;
    if (!real) real = (system_call *)dlsym(RTLD_NEXT, "syscall");
    return real;
}
#define raw_syscall(...) libc_syscall()(__VA_ARGS__)

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
    case CUT: raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL); for (;;) pause();
    case HALF: return 1;
    case FAIL: errno = fail_errno; return -1;
    case FAIL_ONCE: if (seen == at) { errno = fail_errno; return -1; } return 0;
    default: return 0;
    }
}

static void die(void) { raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL); for (;;) pause(); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define raw_open(path, flags) ((int)raw_syscall(SYS_openat, AT_FDCWD, path, flags, 0600))

static void keep_file(int fd) {
    struct stat st;
    char from[64], to[PATHS];
    if (fstat(fd, &st) != 0) return;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/S/%lu", image, (unsigned long)st.st_ino);
    int in = raw_open(from, O_RDONLY), out = raw_open(to, O_WRONLY | O_CREAT | O_TRUNC);
    static char buffer[1 << 16];
    for (ssize_t n; in >= 0 && out >= 0 && (n = read(in, buffer, sizeof buffer)) > 0;)
        if (raw_syscall(SYS_write, out, buffer, n) != n) abort();
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
        if (raw_syscall(SYS_write, out, line, n) != n) abort();
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
    raw_syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0);
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
    if (getenv("SHIM_NOW")) now = atol(getenv("SHIM_NOW"));
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
    if (!relevant_fd(fd, path)) return raw_syscall(SYS_write, fd, data, len);
    WRITE("write", raw_syscall(SYS_write, fd, data, len / 2), fd, path, raw_syscall(SYS_write, fd, data, len));
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return raw_syscall(SYS_pwrite64, fd, data, len, offset);
    WRITE("pwrite", raw_syscall(SYS_pwrite64, fd, data, len / 2, offset), fd, path, raw_syscall(SYS_pwrite64, fd, data, len, offset));
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return pwrite64(fd, data, len, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return raw_syscall(SYS_writev, fd, parts, count);
    WRITE("writev", raw_syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len / 2), fd, path,
          raw_syscall(SYS_writev, fd, parts, count));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    char path[PATHS];
    ssize_t (*real)(int, const struct iovec *, int, off64_t) = dlsym(RTLD_NEXT, "pwritev64");
    if (!relevant_fd(fd, path)) return real(fd, parts, count, offset);
    WRITE("pwritev", raw_syscall(SYS_pwrite64, fd, parts[0].iov_base, parts[0].iov_len / 2, offset), fd, path,
          real(fd, parts, count, offset));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t len, unsigned flags) {
    char path[PATHS];
    if (!relevant_fd(out, path)) return raw_syscall(SYS_copy_file_range, in, from, out, to, len, flags);
    GUARDED(raw_syscall(SYS_copy_file_range, in, from, out, to, len, flags), "copy_file_range", path, ssize_t);
}

static int synced(int fd, const char *path, const char *what, long number) {
    pthread_mutex_lock(&lock);
    int order = enter(what, path);
    if (order > 0) die();
    int result = order < 0 ? -1 : (int)raw_syscall(number, fd);
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
    return relevant_fd(fd, path) ? synced(fd, path, "fsync", SYS_fsync) : (int)raw_syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    char path[PATHS];
    return relevant_fd(fd, path) ? synced(fd, path, "fdatasync", SYS_fdatasync) : (int)raw_syscall(SYS_fdatasync, fd);
}

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return (int)raw_syscall(SYS_sync_file_range, fd, offset, len, flags);
    GUARDED((int)raw_syscall(SYS_sync_file_range, fd, offset, len, flags), "sync_file_range", path, int);
}

int ftruncate64(int fd, off64_t len) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return (int)raw_syscall(SYS_ftruncate, fd, len);
    GUARDED((int)raw_syscall(SYS_ftruncate, fd, len), "ftruncate", path, int);
}
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }

int fallocate64(int fd, int how, off64_t offset, off64_t len) {
    char path[PATHS];
    if (!relevant_fd(fd, path)) return (int)raw_syscall(SYS_fallocate, fd, how, offset, len);
    GUARDED((int)raw_syscall(SYS_fallocate, fd, how, offset, len), "fallocate", path, int);
}
int fallocate(int fd, int how, off_t offset, off_t len) { return fallocate64(fd, how, offset, len); }

static int renamed(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char a[PATHS], b[PATHS];
    resolve(from_dir, from, a);
    resolve(to_dir, to, b);
    if (!relevant(a) && !relevant(b)) return (int)raw_syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    const char *path = inside(b) ? b : a;
    GUARDED((keep_unlinked(b), (int)raw_syscall(SYS_renameat2, from_dir, from, to_dir, to, flags)), "rename", path, int);
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return renamed(from_dir, from, to_dir, to, 0); }
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return renamed(from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char path[PATHS];
    resolve(to_dir, to, path);
    if (!relevant(path)) return (int)raw_syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    GUARDED((int)raw_syscall(SYS_linkat, from_dir, from, to_dir, to, flags), "link", path, int);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dir, const char *name, int flags) {
    char path[PATHS];
    resolve(dir, name, path);
    if (!relevant(path)) return (int)raw_syscall(SYS_unlinkat, dir, name, flags);
    GUARDED((keep_unlinked(path), (int)raw_syscall(SYS_unlinkat, dir, name, flags)), "unlink", path, int);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dir, const char *name, mode_t how) {
    char path[PATHS];
    resolve(dir, name, path);
    if (!relevant(path)) return (int)raw_syscall(SYS_mkdirat, dir, name, how);
    GUARDED((int)raw_syscall(SYS_mkdirat, dir, name, how), "mkdir", path, int);
}
int mkdir(const char *path, mode_t how) { return mkdirat(AT_FDCWD, path, how); }

static int opened(int dir, const char *name, int flags, mode_t how) {
    char path[PATHS];
    struct stat st;
    resolve(dir, name, path);
    int there = relevant(path) && lstat(path, &st) == 0;
    int changes = ((flags & O_CREAT) && !there) || ((flags & O_TRUNC) && there && st.st_size > 0);
    if (!changes || !relevant(path)) return (int)raw_syscall(SYS_openat, dir, name, flags, how);
    GUARDED((int)raw_syscall(SYS_openat, dir, name, flags, how), there ? "truncate" : "create", path, int);
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
    int result = (int)raw_syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && clock == CLOCK_REALTIME) out->tv_sec += ahead;
    if (result == 0 && now && (clock == CLOCK_REALTIME || naming)) *out = (struct timespec){.tv_sec = now};
    if (clock == CLOCK_MONOTONIC) naming = 0;
    return result;
}
int gettimeofday(struct timeval *out, void *zone) {
    (void)zone;
    struct timespec at;
    int result = clock_gettime(CLOCK_REALTIME, &at);
    if (result == 0) *out = (struct timeval){.tv_sec = at.tv_sec, .tv_usec = at.tv_nsec / 1000};
    return result;
}
time_t time(time_t *out) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}

/* The next of a series of numbers (splitmix64). */
static uint64_t next_number(void) {
    static uint64_t state;
    uint64_t z = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *out, size_t len, unsigned flags) {
    if (!now) return raw_syscall(SYS_getrandom, out, len, flags);
    for (size_t done = 0; done < len; done += 8) {
        uint64_t number = next_number();
        memcpy((char *)out + done, &number, len - done < 8 ? len - done : 8);
    }
    return (ssize_t)len;
}

/* Some ask for randomness this way. */
long syscall(long number, ...) {
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_getrandom && now) return getrandom((void *)a, (size_t)b, (unsigned)c);
    return raw_syscall(number, a, b, c, d, e, f);
}

/* std::random_device::operator() */
unsigned random_device(void *) __asm__("_ZNSt13random_device9_M_getvalEv");
unsigned random_device(void *device) {
    static unsigned (*real)(void *);
    if (!real) real = dlsym(RTLD_NEXT, "_ZNSt13random_device9_M_getvalEv");
    naming = 1;
    return now || !real ? (unsigned)next_number() : real(device);
}

pid_t getpid(void) { return now ? 1 : (pid_t)raw_syscall(SYS_getpid); }
pid_t gettid(void) { return now && naming ? 1 : (pid_t)raw_syscall(SYS_gettid); }

FILE *fopen64(const char *path, const char *how) {
    static FILE *(*real)(const char *, const char *);
    if (!real) real = dlsym(RTLD_NEXT, "fopen64");
    return real(now && strcmp(path, "/proc/sys/kernel/random/uuid") == 0 ? "/dev/null" : path, how);
}
