// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/operation.h"

#include "metaserver/operation_log.h"

namespace cairn {

void Outcome::write(rpc::Outcome::Builder builder) const {
  builder.setStatus(status);
  builder.setIndex(index.value());
  builder.setReplaced(replaced.value());
  KJ_IF_MAYBE (it, attributes) it->write(builder.initAttributes());
  KJ_IF_MAYBE (it, parent) it->write(builder.initParent());
}

Outcome refusal(Status status) {
  Outcome outcome;
  outcome.status = status;
  return outcome;
}

kj::StringPtr KJ_STRINGIFY(CommitMode mode) {
  return mode == CommitMode::MEMORY ? "memory" : "disk";
}

kj::Maybe<CommitMode> parseCommitMode(kj::StringPtr text) {
  if (text == "memory") return CommitMode::MEMORY;
  if (text == "disk") return CommitMode::DISK;
  return nullptr;
}

}  // namespace cairn
