#include "host.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The first number of a file; false: there is none ("max"). */
static bool
read_number(const char *path, uint64_t *out)
{
    FILE *f = fopen(path, "re");
    const bool read = f && fscanf(f, "%" SCNu64, out) == 1;

    if (f)
        (void)fclose(f);
    return read;
}

/* "MemAvailable:  123 kB" */
static uint64_t
available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    uint64_t kib = 0;

    while (f && kib == 0 && fgets(line, sizeof line, f))
        (void)sscanf(line, "MemAvailable: %" SCNu64, &kib);
    if (f)
        (void)fclose(f);
    return kib * 1024;
}

typedef struct hierarchy { /* of control groups: where it is mounted, and the files of a group */
    const char *mount, *limit, *usage;
} hierarchy;

static const hierarchy unified = {"/sys/fs/cgroup", "memory.max", "memory.current"};
static const hierarchy separate = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"};

/* The least of `least`, the limits of a group and those of the groups around it; with `left` what is left below them: pages of files count
 * as used, so it may be more. */
static uint64_t
least_in(const hierarchy *h, char *group, bool left, uint64_t least)
{
    for (;;) {
        char path[8192];
        uint64_t limit, usage = 0;
        char *slash;

        snprintf(path, sizeof path, "%s%s/%s", h->mount, group, h->limit);
        if (read_number(path, &limit)) {
            snprintf(path, sizeof path, "%s%s/%s", h->mount, group, h->usage);
            if ((!left || read_number(path, &usage)) && limit - (usage < limit ? usage : limit) < least)
                least = limit - (usage < limit ? usage : limit);
        }
        slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/GROUP" of the unified hierarchy, "4:memory:/GROUP" of the separate one. */
static uint64_t
least_in_groups(bool left, uint64_t least)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[4096];

    while (f && fgets(line, sizeof line, f)) {
        char *kinds = strchr(line, ':'), *group = kinds ? strchr(kinds + 1, ':') : NULL;

        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (kinds[1] == '\0')
            least = least_in(&unified, group, left, least);
        else if (strcmp(kinds + 1, "memory") == 0)
            least = least_in(&separate, group, left, least);
    }
    if (f)
        (void)fclose(f);
    return least;
}

size_t
ql_host_free(void)
{
    const uint64_t here = available();

    return here ? (size_t)least_in_groups(true, here) : 0;
}

size_t
ql_host_all(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)least_in_groups(false, (uint64_t)pages * (uint64_t)page) : 0;
}

size_t
ql_host_resident(void)
{
    FILE *f;
    uint64_t all, resident = 0;

    (void)malloc_trim(0);
    f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%" SCNu64 " %" SCNu64, &all, &resident) != 2)
        resident = 0;
    if (f)
        (void)fclose(f);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}
