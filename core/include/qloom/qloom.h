/* What a program that embeds qloom calls. */
#ifndef QLOOM_QLOOM_H
#define QLOOM_QLOOM_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0". [any thread] */
QL_API const char *ql_version(void);

#ifdef __cplusplus
}
#endif

#endif
