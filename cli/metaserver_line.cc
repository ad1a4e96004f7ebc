// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/metaserver_line.h"

#include <sys/random.h>

#include <kj/debug.h>

namespace cairn::cli {

void SystemEntropy::generate(kj::ArrayPtr<kj::byte> buffer) {
  while (buffer.size() > 0) {
    ssize_t count = getrandom(buffer.begin(), buffer.size(), 0);
    if (count < 0) KJ_FAIL_SYSCALL("getrandom", errno);
    buffer = buffer.slice(static_cast<size_t>(count), buffer.size());
  }
}

MetaserverLine::MetaserverLine(kj::AsyncIoContext& io, const std::string& address)
    : address(address),
      environment{io.provider->getTimer(), io.provider->getNetwork(), pool, entropy, cluster, "cairn"},
      metaserver(environment, "metaserver", PeerAddress{kj::str(address), nullptr, nullptr}) {}

Failure MetaserverLine::explain(const kj::Exception& exception) const {
  KJ_IF_MAYBE(refusal, metaserver.refusal()) {
    return Failure("the metaserver at " + address + " refuses: " + refusal->message.cStr());
  }
  return Failure("the metaserver at " + address + " does not answer (" + exception.getDescription().cStr() +
                 "). Is the cluster up, and is that its address? `cairn status --dir D` tells");
}

}  // namespace cairn::cli
