/* What a loss of power would leave of a folder: preloaded into a program, it keeps beside that folder what the program
 * has asked the disk to keep, and nothing else.
 *
 * FARM_DURABLE_OF is the folder, FARM_DURABLE_IN where the copy grows: `inodes/N` holds the bytes of file N as they were
 * when it was last synced, `names/PATH` its number. A file's name is kept when the file or its folder is synced, a new
 * name in place of an old one when its folder is. */
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

/* Writes it whole under another name first: we may be killed at any time, too. */
static void put(char *path, int from, const char *text) {
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

static void keep_name(const char *in, const char *name, ino_t inode) {
    char path[PATH_MAX], number[32];
    snprintf(path, sizeof path, "%s/names/%s", in, name);
    snprintf(number, sizeof number, "%llu", (unsigned long long)inode);
    put(path, -1, number);
}

static void keep_folder(const char *in, const char *real, const char *name) {
    char path[4 * PATH_MAX], kept[2 * PATH_MAX];
    struct dirent *entry;
    struct stat about;
    DIR *folder = opendir(real);
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "%s/%s", real, entry->d_name);
        snprintf(kept, sizeof kept, "%s/inodes/%llu", in, (unsigned long long)entry->d_ino);
        if (lstat(path, &about) || !S_ISREG(about.st_mode) || access(kept, F_OK)) continue;
        snprintf(path, sizeof path, "%s%s%s", name, *name ? "/" : "", entry->d_name);
        keep_name(in, path, about.st_ino);
    }
    if (folder) closedir(folder);
    /* What has no such name any more has lost it for good. */
    snprintf(kept, sizeof kept, "%s/names/%s", in, name);
    folder = opendir(kept);
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "%s/%s", real, entry->d_name);
        if (lstat(path, &about) && errno == ENOENT) {
            snprintf(path, sizeof path, "%s/%s", kept, entry->d_name);
            unlink(path);
        }
    }
    if (folder) closedir(folder);
}

static void keep(int file) {
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
        keep_folder(in, real, name);
    } else if (S_ISREG(about.st_mode) && about.st_nlink) {
        int bytes = open(real, O_RDONLY);
        snprintf(path, sizeof path, "%s/inodes/%llu", in, (unsigned long long)about.st_ino);
        if (bytes >= 0) put(path, bytes, NULL), close(bytes), keep_name(in, name, about.st_ino);
    }
    pthread_mutex_unlock(&one_at_a_time);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int done = real(file);
    if (!done) keep(file);
    return done;
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int done = real(file);
    if (!done) keep(file);
    return done;
}
