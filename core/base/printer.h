/* Texts put together piece by piece: print to `out` with stdio, then take the text. */
#ifndef QLOOM_BASE_PRINTER_H
#define QLOOM_BASE_PRINTER_H

#include <stdio.h>

#include "ctx.h"

typedef struct ql_printer {
    FILE *out;
    char *text;
    size_t bytes;
} ql_printer;

ql_status ql_printer_open(ql_ctx *cx, ql_printer *p);
/* Closes it, on failure too, and copies the text into the innermost scope. */
ql_status ql_printer_close(ql_ctx *cx, ql_printer *p, const char **text);

#endif
