/* The environment: the only reader of it in the library. */
#include "env.h"

#include <stdlib.h>

const char *
ql_env(const char *name)
{
    return getenv(name);
}
