/* What ends the program before its command does: signals, crashes of plugins, calls of exit(), and calls that take too long. */
#ifndef QLOOM_CLI_SIGNALS_H
#define QLOOM_CLI_SIGNALS_H

#include "cli.h"

/* Installs the handlers, once; `cli` is what they look at from then on.
 *
 * SIGINT, SIGTERM, SIGHUP: a run ends at its next resumable point, within two seconds wherever it is, for what is finished is on the disk
 * already; every other command has nothing to finish and ends at once. A second signal ends a run at once.
 * SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, and exit() while the command is at work: a message says which plugin was called, for which
 * stage, linear and cell; a mapped file that was cut short is named, and the status is 1. SIGPIPE and SIGXFSZ are ignored, so that
 * they are errors of the write. */
void ql_signals_catch(ql_cli *cli);

/* A call of a plugin may take that long from now on; 0: any time. A longer one ends the program as a crash would. */
void ql_signals_limit(double seconds);

/* Between `true` and `false` signals wait: a file is being written whose temporary one would stay. */
void ql_signals_hold(bool hold);

/* From here on exit() is the program's own. */
void ql_signals_done(void);

/* Nonzero once the user asked to stop. */
const volatile int *ql_signals_interrupt(void);

#endif
