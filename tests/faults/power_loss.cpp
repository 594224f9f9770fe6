// What a disk holds when the power goes: loaded before the C library, it notes what is synchronised.
//
// The model is a journalling file system such as ext4 or XFS: a synchronisation puts the names of all
// files below POWER_FOLDER on the disk as they are then, and the content of the file that it is of. Of
// a file that was never synchronised the name is there, and nothing in it. POWER_DISK is the folder for
// the notes: "tree" has a line a name, other files the contents. What is there at the start is on the disk.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

std::mutex guard;

std::string named(const char *variable) {
    const char *value = getenv(variable);
    return value ? value : "";
}

// Number and time of birth, as numbers of files that are gone are given away again.
std::string key_of(const struct statx &found) {
    char text[80];
    snprintf(text, sizeof text, "%llx-%llx-%x", static_cast<unsigned long long>(found.stx_ino),
             static_cast<unsigned long long>(found.stx_btime.tv_sec), found.stx_btime.tv_nsec);
    return text;
}

bool look(int folder, const char *path, int flags, struct statx &found) {
    return statx(folder, path, flags | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found) == 0;
}

void copy(const std::string &from, const std::string &to) {
    const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
    if (in < 0) return;
    const std::string part = to + ".part";
    const int out = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    char block[1 << 16];
    ssize_t n;
    while ((n = read(in, block, sizeof block)) > 0)
        if (write(out, block, static_cast<size_t>(n)) != n) abort();
    close(in);
    close(out);
    rename(part.c_str(), to.c_str());
}

void list(const std::string &root, const std::string &below, const std::string &disk, bool contents, std::string &lines) {
    DIR *open_folder = opendir((root + below).c_str());
    if (!open_folder) return;
    while (const dirent *entry = readdir(open_folder)) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        const std::string path = below + "/" + name;
        struct statx found;
        if (!look(AT_FDCWD, (root + path).c_str(), 0, found)) continue;
        const bool folder = S_ISDIR(found.stx_mode);
        lines += (folder ? "d " : "f ") + key_of(found) + " " + path.substr(1) + "\n";
        if (folder) list(root, path, disk, contents, lines);
        else if (contents) copy(root + path, disk + "/" + key_of(found));
    }
    closedir(open_folder);
}

void note(const std::string &root, const std::string &disk, bool contents) {
    std::string lines;
    list(root, "", disk, contents, lines);
    const std::string tree = disk + "/tree", part = tree + ".part";
    FILE *file = fopen(part.c_str(), "we");
    if (!file || fwrite(lines.data(), 1, lines.size(), file) != lines.size()) abort();
    fclose(file);
    rename(part.c_str(), tree.c_str());
}

class Alone {
  public:
    explicit Alone(const std::string &disk) : held_(guard), file_(open((disk + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
        flock(file_, LOCK_EX);
    }
    ~Alone() { close(file_); }

  private:
    std::lock_guard<std::mutex> held_;
    int file_;
};

__attribute__((constructor)) void begin() {
    const std::string root = named("POWER_FOLDER"), disk = named("POWER_DISK");
    if (root.empty() || access((disk + "/tree").c_str(), F_OK) == 0) return;
    const Alone alone(disk);
    note(root, disk, true);
}

void synchronised(int fd) {
    const std::string root = named("POWER_FOLDER"), disk = named("POWER_DISK");
    char path[4096];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t n = readlink(link.c_str(), path, sizeof path - 1);
    if (n <= 0 || root.empty() || strncmp(path, root.c_str(), root.size()) != 0) return;
    const Alone alone(disk);
    struct statx found;
    if (look(fd, "", AT_EMPTY_PATH, found) && S_ISREG(found.stx_mode)) copy(link, disk + "/" + key_of(found));
    note(root, disk, false);
}

}  // namespace

#define SYNCHRONISES(name)                                                                        \
    extern "C" int name(int fd) {                                                                 \
        static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, #name));         \
        const int result = real(fd);                                                              \
        if (result == 0) synchronised(fd);                                                        \
        return result;                                                                            \
    }

SYNCHRONISES(fsync)
SYNCHRONISES(fdatasync)
