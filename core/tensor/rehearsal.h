/* A device on which nothing happens: operations cost time by their sizes, memory is counted as the real device's pool counts it, and
 * what is read back are made-up numbers. A walk over it says what the real one will take. */
#ifndef QLOOM_TENSOR_REHEARSAL_H
#define QLOOM_TENSOR_REHEARSAL_H

#include "device/device.h"

/* Floating-point operations a second of the open device's products, timed; of an imagined one infinitely many. */
ql_status ql_rehearsal_rate(ql_ctx *cx, double *out);

/* Stands in for `real`, with its limit and its ways; `rate` from ql_rehearsal_rate. Closed by ql_device_close. */
ql_status ql_rehearsal_open(ql_ctx *cx, const ql_device *real, double rate, ql_device **out);
/* Seconds that a rehearsal's device takes for what is not run there, as what comes again and is not rehearsed each time. */
void ql_rehearsal_spend(ql_device *d, double seconds);

#endif
