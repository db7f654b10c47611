#include "host.h"

#include <inttypes.h>
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

/* What is left below the limits of a group and of those around it. Pages of files count as used, so it may be more. */
static uint64_t
left_in(const hierarchy *h, char *group, uint64_t least)
{
    for (;;) {
        char path[8192];
        uint64_t limit, usage;
        char *slash;

        snprintf(path, sizeof path, "%s%s/%s", h->mount, group, h->limit);
        if (read_number(path, &limit)) {
            snprintf(path, sizeof path, "%s%s/%s", h->mount, group, h->usage);
            if (read_number(path, &usage) && limit - (usage < limit ? usage : limit) < least)
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
left_in_groups(uint64_t least)
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
            least = left_in(&unified, group, least);
        else if (strcmp(kinds + 1, "memory") == 0)
            least = left_in(&separate, group, least);
    }
    if (f)
        (void)fclose(f);
    return least;
}

size_t
ql_host_free(void)
{
    const uint64_t here = available();

    return here ? (size_t)left_in_groups(here) : 0;
}

size_t
ql_host_resident(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    uint64_t all, resident = 0;

    if (f && fscanf(f, "%" SCNu64 " %" SCNu64, &all, &resident) != 2)
        resident = 0;
    if (f)
        (void)fclose(f);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}
