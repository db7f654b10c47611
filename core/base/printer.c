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

/* Closing can lose the text without an error, so what is there is compared with what was written. */
ql_status
ql_printer_close(ql_ctx *cx, ql_printer *p, const char **text)
{
    const bool written = fflush(p->out) == 0 && !ferror(p->out);
    const size_t bytes = p->bytes;
    const bool closed = fclose(p->out) == 0;

    *text = NULL;
    if (written && closed && p->text && p->bytes == bytes)
        *text = ql_copy_text(cx, p->text, bytes);
    else
        (void)QL_FAIL(cx, QL_MEMORY, "no memory for a text of %zu bytes", bytes);
    free(p->text);
    *p = (ql_printer){0};
    return *text ? QL_OK : QL_MEMORY;
}
