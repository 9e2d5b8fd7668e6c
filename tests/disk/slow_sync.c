/* A disk that is slow, or does not answer at all: preloaded into a program, it delays the syncs of some files.
 *
 * FARM_SLOW_SYNCS is a folder. Before a file `NAME` is synced, this library looks for `NAME` there. Its text is how many
 * milliseconds the sync takes at least; with an empty text, the sync hangs until the file is removed. A sync that is delayed
 * leaves a file `NAME.began` in the folder. All other syncs pass at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void delay(int file) {
    const char *folder = getenv("FARM_SLOW_SYNCS");
    char link[64], real[PATH_MAX], path[2 * PATH_MAX], began[2 * PATH_MAX + 8], text[32];
    if (!folder) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, real, sizeof real - 1);
    if (length < 0) return;
    real[length] = 0;
    const char *slash = strrchr(real, '/');
    snprintf(path, sizeof path, "%s/%s", folder, slash ? slash + 1 : real);
    int order = open(path, O_RDONLY);
    if (order < 0) return;
    length = read(order, text, sizeof text - 1);
    close(order);
    text[length > 0 ? length : 0] = 0;
    snprintf(began, sizeof began, "%s.began", path);
    close(open(began, O_CREAT | O_WRONLY, 0600));
    if (*text) {
        usleep(atoi(text) * 1000);
    } else {
        while (!access(path, F_OK)) usleep(5000);
    }
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    delay(file);
    return real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay(file);
    return real(file);
}
