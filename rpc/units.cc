// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "rpc/units.h"

#include <kj/encoding.h>

namespace cairn {

kj::String KJ_STRINGIFY(const ClusterId& id) {
  kj::byte bytes[16];
  for (int i = 0; i < 8; ++i) {
    bytes[i] = kj::byte(id.high >> (56 - 8 * i));
    bytes[8 + i] = kj::byte(id.low >> (56 - 8 * i));
  }
  return kj::encodeHex(kj::arrayPtr(bytes, sizeof(bytes)));
}

kj::Maybe<ClusterId> parseClusterId(kj::StringPtr text) {
  if (text.size() != 32) return nullptr;
  auto bytes = kj::decodeHex(text);
  if (bytes.hadErrors || bytes.size() != 16) return nullptr;
  ClusterId id;
  for (int i = 0; i < 8; ++i) {
    id.high = id.high << 8 | bytes[i];
    id.low = id.low << 8 | bytes[8 + i];
  }
  return id;
}

}  // namespace cairn
