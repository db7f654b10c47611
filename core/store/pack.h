/* Codes at their width, as the store's files hold them: a stream of bits, the least significant first, the order of ql_pack with all
 * rows as one. */
#ifndef QLOOM_STORE_PACK_H
#define QLOOM_STORE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that `count` codes of 1 to 8 bits take. */
size_t ql_packed_bytes(size_t count, int bits);
/* Writes ql_packed_bytes to `out`, the unused bits of the last 0. False when a code is not below 2^bits: `out` is then undefined. */
bool ql_codes_pack(const uint8_t *codes, size_t count, int bits, uint8_t *out);
void ql_codes_unpack(const uint8_t *packed, size_t count, int bits, uint8_t *codes);

#endif
