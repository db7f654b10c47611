/* What a program that embeds qloom calls. */
#ifndef QLOOM_QLOOM_H
#define QLOOM_QLOOM_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The command line of `qloom`: results on standard output, the rest on standard error. Returns the exit status: 0 done, 1 failed,
 * 2 wrong input, 130 interrupted. Never exits by itself. [one thread per process, for its signal handler] */
QL_API int ql_main(int argc, char **argv);

/* "0.1.0". [any thread] */
QL_API const char *ql_version(void);

#ifdef __cplusplus
}
#endif

#endif
