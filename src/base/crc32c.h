/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of a record line. PURE. */
#pragma once

#include "base/macro.h"

uint32_t crc32c(const void *data, size_t len);
