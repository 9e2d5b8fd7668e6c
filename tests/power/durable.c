/* Records what a loss of power would leave of a folder. Preloaded into a program, it copies what the program has asked the
 * disk to keep by fsync or fdatasync, and nothing else.
 *
 * FARM_DURABLE_OF is the folder. FARM_DURABLE_IN is where the copy grows: `inodes/N` holds the bytes of file N as they were
 * when the file was last synced, `names/PATH` holds its number. A file's name becomes durable when the file or its folder is
 * synced; that a name was replaced or removed becomes durable when its folder is synced. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
    perror(what);
    abort();
}

static void make_folders(char *path) {
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(path, 0700) && errno != EEXIST) fail(path);
        *slash = '/';
    }
}

/* Writes the whole file under another name first: this process, too, may be killed at any time. */
static void replace(char *path, int from, const char *text) {
    char part[PATH_MAX + 8], bytes[65536];
    make_folders(path);
    snprintf(part, sizeof part, "%s.part", path);
    int to = open(part, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (to < 0) fail(part);
    if (text && write(to, text, strlen(text)) < 0) fail(part);
    if (from >= 0) {
        ssize_t length;
        for (off_t at = 0; (length = pread(from, bytes, sizeof bytes, at)) > 0; at += length)
            if (write(to, bytes, length) != length) fail(part);
    }
    close(to);
    if (rename(part, path)) fail(path);
}

static void record_name(const char *in, const char *name, ino_t inode) {
    char path[PATH_MAX], number[32];
    snprintf(path, sizeof path, "%s/names/%s", in, name);
    snprintf(number, sizeof number, "%llu", (unsigned long long)inode);
    replace(path, -1, number);
}

static void record_folder(const char *in, const char *real, const char *name) {
    char path[4 * PATH_MAX], copy[2 * PATH_MAX];
    struct dirent *entry;
    struct stat about;
    DIR *folder = opendir(real);
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "%s/%s", real, entry->d_name);
        snprintf(copy, sizeof copy, "%s/inodes/%llu", in, (unsigned long long)entry->d_ino);
        if (lstat(path, &about) || !S_ISREG(about.st_mode) || access(copy, F_OK)) continue;
        snprintf(path, sizeof path, "%s%s%s", name, *name ? "/" : "", entry->d_name);
        record_name(in, path, about.st_ino);
    }
    if (folder) closedir(folder);
    /* A name that is no longer in the folder is now gone for good. */
    snprintf(copy, sizeof copy, "%s/names/%s", in, name);
    folder = opendir(copy);
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "%s/%s", real, entry->d_name);
        if (lstat(path, &about) && errno == ENOENT) {
            snprintf(path, sizeof path, "%s/%s", copy, entry->d_name);
            unlink(path);
        }
    }
    if (folder) closedir(folder);
}

static void record(int file) {
    const char *of = getenv("FARM_DURABLE_OF"), *in = getenv("FARM_DURABLE_IN");
    char link[64], real[PATH_MAX], path[PATH_MAX + 64];
    struct stat about;
    if (!of || !in || fstat(file, &about)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, real, sizeof real - 1);
    if (length < 0) return;
    real[length] = 0;
    size_t prefix = strlen(of);
    if (strncmp(real, of, prefix) || (real[prefix] && real[prefix] != '/')) return;
    const char *name = real[prefix] ? real + prefix + 1 : "";
    pthread_mutex_lock(&one_at_a_time);
    if (S_ISDIR(about.st_mode)) {
        record_folder(in, real, name);
    } else if (S_ISREG(about.st_mode) && about.st_nlink) {
        int bytes = open(real, O_RDONLY);
        snprintf(path, sizeof path, "%s/inodes/%llu", in, (unsigned long long)about.st_ino);
        if (bytes >= 0) replace(path, bytes, NULL), close(bytes), record_name(in, name, about.st_ino);
    }
    pthread_mutex_unlock(&one_at_a_time);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int failed = real(file);
    if (!failed) record(file);
    return failed;
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int failed = real(file);
    if (!failed) record(file);
    return failed;
}
