/* Memory of the host, as the system and its limits on this process say. */
#ifndef QLOOM_DEVICE_HOST_H
#define QLOOM_DEVICE_HOST_H

#include <stddef.h>

/* Bytes that this process can still take: what is free or only caches files, below the limits of its control groups; 0: unknown. */
size_t ql_host_free(void);
/* Bytes that it could ever have: those of the machine, or of the smallest limit around it; 0: unknown. */
size_t ql_host_all(void);
/* Bytes that it has in memory, after its allocator has given back what is free. */
size_t ql_host_resident(void);

#endif
