/* The environment. It is read through here only, so that what a run depends on can be found in one place. */
#ifndef QLOOM_BASE_ENV_H
#define QLOOM_BASE_ENV_H

#include <stdlib.h>

/* Value of an environment variable; NULL when it is not set. Valid until the environment changes. [any thread] */
static inline const char *
ql_env(const char *name)
{
    return getenv(name);
}

#endif
