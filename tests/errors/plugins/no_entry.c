/* A shared object that is no plugin. */
#include <qloom/status.h>

QL_EXPORT int no_entry(void);

int
no_entry(void)
{
    return 0;
}
