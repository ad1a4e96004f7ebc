// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See fsck.h.
#include "metaserver/fsck.h"

#include <iostream>

#include "metaserver/finding_names.h"
#include "metaserver/namespace.h"
#include "metaserver/namespace_check.h"

namespace cairn {

namespace {

constexpr size_t BATCH = 1000;

class Printer final : public CheckSink {
 public:
  Printer(const NamespaceScan& scan, const NamespaceReader& names) : scan(scan), names(names) {}

  kj::Promise<void> found(Finding finding) override {
    waiting.push_back(std::move(finding));
    return waiting.size() < BATCH ? kj::Promise<void>(kj::READY_NOW) : print();
  }
  kj::Promise<void> rest(uint64_t) override { return kj::READY_NOW; }

  kj::Promise<void> print() {
    auto naming = kj::heap<FindingNames>(scan, names, []() -> kj::Promise<void> { return kj::READY_NOW; });
    kj::Promise<void> named = naming->fillIn(waiting);
    return named
        .then([this]() {
          for (auto& finding : waiting) {
            problems += severityOf(finding.trouble) != Severity::NOTE;
            for (size_t i = 0; i < finding.paths.size(); ++i)
              std::cout << (i > 0 ? ", " : "") << finding.paths[i];
            std::cout << (finding.paths.empty() ? "" : ": ") << describe(finding) << "\n";
          }
          std::cout << std::flush;
          waiting.clear();
        })
        .attach(kj::mv(naming));
  }
  uint64_t count() const { return problems; }

 private:
  const NamespaceScan& scan;
  const NamespaceReader& names;
  std::vector<Finding> waiting;
  uint64_t problems = 0;
};

}  // namespace

int checkDirectory(kj::StringPtr directory, kj::WaitScope& scope) {
  auto path = kj::str(directory, "/names");
  auto store = Namespace::open({.path = path, .access = NamespaceOptions::Access::READ});
  store->verify();
  auto scan = store->scan();
  Printer printer(*scan, store->read());
  NamespaceCheck check(*scan, printer);
  check.run().wait(scope);
  printer.print().wait(scope);
  auto& state = scan->state();
  std::cout << (printer.count() == 0 ? "clean" : kj::str(printer.count(), " problems").cStr())
            << ", as of operation " << state.applied.value() << ": " << state.inodes << " inodes, "
            << state.chunks << " chunks\n"
            << (printer.count() == 0 ? "" : "Start the metaserver, and then: cairn fsck --repair\n")
            << std::flush;
  return printer.count() == 0 ? 0 : 4;
}

}  // namespace cairn
