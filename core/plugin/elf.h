/* A look into a shared object before the loader gets it: nothing of it runs. */
#ifndef QLOOM_PLUGIN_ELF_H
#define QLOOM_PLUGIN_ELF_H

#include <qloom/plugin.h>

#include "base/ctx.h"

typedef struct ql_glance {     /* what the descriptor in the file says */
    ql_kind kind;              /* NONE: that can't be told without loading it */
    char name[512], help[512]; /* "" where `kind` is NONE */
} ql_glance;

/* INVALID, one line that names the file, for what the loader would hang on or die of (a FIFO, a folder, a file that ends
 * too early) and for what is no plugin for this machine. */
ql_status ql_elf_look(ql_ctx *cx, const char *file, ql_glance *out);

#endif
