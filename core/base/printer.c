/* Texts put together piece by piece, over the C library's memory streams. */
#include "printer.h"

#include <stdlib.h>

ql_status
ql_printer_open(ql_ctx *cx, ql_printer *p)
{
    *p = (ql_printer){0};
    p->out = open_memstream(&p->text, &p->bytes);
    return p->out ? QL_OK : QL_FAIL(cx, QL_MEMORY, "no memory for a text");
}

ql_status
ql_printer_close(ql_ctx *cx, ql_printer *p, const char **text)
{
    const bool failed = ferror(p->out) != 0;

    *text = NULL;
    if (fclose(p->out) == 0 && !failed)
        *text = ql_copy_text(cx, p->text, p->bytes);
    else
        (void)QL_FAIL(cx, QL_MEMORY, "no memory for a text of %zu bytes", p->bytes);
    free(p->text);
    *p = (ql_printer){0};
    return *text ? QL_OK : QL_MEMORY;
}
