// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "rpc/result.h"

#include <capnp/schema.h>

namespace cairn {

kj::StringPtr KJ_STRINGIFY(Status status) {
  auto enumerants = capnp::Schema::from<rpc::Status>().getEnumerants();
  auto index = static_cast<uint16_t>(status);
  if (index >= enumerants.size()) return "unknown status";
  return enumerants[index].getProto().getName();
}

}  // namespace cairn
