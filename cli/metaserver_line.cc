// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "cli/metaserver_line.h"

#include <kj/debug.h>

namespace cairn::cli {

MetaserverLine::MetaserverLine(kj::AsyncIoContext& io, const std::string& address)
    : address(address),
      environment{io.provider->getTimer(), io.provider->getNetwork(), pool, entropy, cluster, "cairn"},
      metaserver(environment, "metaserver", PeerAddress{kj::str(address), nullptr, nullptr}) {}

Failure MetaserverLine::explain(const kj::Exception& exception) const {
  KJ_IF_MAYBE (refusal, metaserver.refusal()) {
    return Failure("the metaserver at " + address + " refuses: " + refusal->message.cStr());
  }
  return Failure("the metaserver at " + address + " does not answer (" + exception.getDescription().cStr() +
                 "). Is the cluster up, and is that its address? `cairn status --dir D` tells");
}

}  // namespace cairn::cli
