// A slow disk: loaded before the C library, it delays what a process writes below a folder.
//
// SLOW_FOLDER names the folder, SLOW_PACE a file that says how slow it is now: milliseconds of a
// write, and of a synchronisation or a change of a folder's entries. Without that file the disk
// is as fast as it is; while the file says "hang" every such call waits.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

void nap(long milliseconds) {
    timespec left{milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

bool below(const char *path) {
    static const char *folder = getenv("SLOW_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

bool below(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = 0;
    return below(path);
}

bool below_here(const char *path) {
    char full[8192];
    if (path[0] == '/') return below(path);
    if (!getcwd(full, 4096)) return false;
    strncat(full, "/", 2);
    strncat(full, path, 4000);
    return below(full);
}

void wait_for_disk(bool synchronises) {
    static const char *pace = getenv("SLOW_PACE");
    char text[64];
    for (;;) {
        const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, pace, O_RDONLY));
        if (fd < 0) return;
        const ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n <= 0) return;
        text[n] = 0;
        if (strncmp(text, "hang", 4) != 0) break;
        nap(50);
    }
    long write_ms = 0, sync_ms = 0;
    if (sscanf(text, "%ld %ld", &write_ms, &sync_ms) == 2) nap(synchronises ? sync_ms : write_ms);
}

template <class F> F next(const char *name) { return reinterpret_cast<F>(dlsym(RTLD_NEXT, name)); }

}  // namespace

#define ON_FILE(result, name, synchronises, parameters, arguments)                   \
    extern "C" result name parameters {                                              \
        static const auto real = next<result(*) parameters>(#name);                  \
        if (below(fd)) wait_for_disk(synchronises);                                  \
        return real arguments;                                                       \
    }
#define ON_PATH(result, name, parameters, arguments)                                 \
    extern "C" result name parameters {                                              \
        static const auto real = next<result(*) parameters>(#name);                  \
        if (below_here(path)) wait_for_disk(true);                                   \
        return real arguments;                                                       \
    }

ON_FILE(ssize_t, write, false, (int fd, const void *data, size_t n), (fd, data, n))
ON_FILE(ssize_t, pwrite, false, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at))
ON_FILE(ssize_t, pwrite64, false, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at))
ON_FILE(ssize_t, writev, false, (int fd, const iovec *parts, int n), (fd, parts, n))
ON_FILE(int, fsync, true, (int fd), (fd))
ON_FILE(int, fdatasync, true, (int fd), (fd))
ON_FILE(int, ftruncate, true, (int fd, off_t n), (fd, n))
ON_FILE(int, ftruncate64, true, (int fd, off64_t n), (fd, n))
ON_PATH(int, unlink, (const char *path), (path))
ON_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, rename, (const char *path, const char *to), (path, to))
