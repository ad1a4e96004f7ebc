// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A check of a namespace in a test: what it finds, at once.
#pragma once

#include "metaserver/namespace_check.h"
#include "test/metaserver/metadata_world.h"

namespace cairn {

class FindingList final : public CheckSink {
 public:
  std::vector<Finding> findings;
  uint64_t rows = 0;
  kj::Promise<void> found(Finding finding) override {
    findings.push_back(std::move(finding));
    return kj::READY_NOW;
  }
  kj::Promise<void> rest(uint64_t more) override {
    rows += more;
    return kj::READY_NOW;
  }
};

inline std::vector<Finding> findingsIn(MetadataWorld& world, size_t passSize = 200'000) {
  auto scan = world.theNames().scan();
  FindingList sink;
  NamespaceCheck check(*scan, sink, {passSize});
  check.run().wait(world.scope);
  return std::move(sink.findings);
}

inline std::string told(const std::vector<Finding>& findings) {
  std::string text;
  for (auto& finding : findings)
    text += std::string(kj::str(finding.trouble).cStr()) + ": " + describe(finding) + "\n";
  return text;
}

}  // namespace cairn
