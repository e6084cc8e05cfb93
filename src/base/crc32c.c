/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

/* The reflected polynomial 0x82F63B78, four bits at a time: entry n is n shifted out through it. A record line is a few
 * hundred bytes, so 64 bytes of table that stay in the cache beat a large one. */
static const uint32_t table[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
        0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

uint32_t crc32c(const void *data, size_t len) {
        const uint8_t *p = data;
        uint32_t crc = UINT32_MAX;

        for (; len > 0; p++, len--) {
                crc = table[(crc ^ *p) & 15] ^ crc >> 4;
                crc = table[(crc ^ (uint32_t) (*p >> 4)) & 15] ^ crc >> 4;
        }
        return ~crc;
}
