// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The metaserver, and what only an operator asks it. Blocks. Used by the commands that administer.
#pragma once

#include "cli/metaserver_line.h"
#include "rpc/administration.capnp.h"

namespace cairn::cli {

constexpr kj::Duration ANSWER_PATIENCE = 10 * kj::SECONDS;
constexpr kj::Duration CHANGE_PATIENCE = 10 * kj::MINUTES;  // of a whole tree
constexpr kj::Duration LOOK_INTERVAL = 500 * kj::MILLISECONDS;

class OperatorLine {
 public:
  explicit OperatorLine(const std::string& address) : io(kj::setupAsyncIo()), line(io, address) {}

  capnp::Response<rpc::Metaserver::StatusResults> status() {
    return line.ask(io.waitScope, "status", ANSWER_PATIENCE,
                    [](rpc::Metaserver::Client& metaserver) { return metaserver.statusRequest().send(); });
  }
  template <typename Send>
  auto ask(kj::StringPtr method, kj::Duration patience, Send&& send) {
    auto administration = line.ask(io.waitScope, "administration", ANSWER_PATIENCE,
                                   [](rpc::Metaserver::Client& metaserver) {
                                     return metaserver.administrationRequest().send();
                                   })
                              .getAdministration();
    return line.ask(io.waitScope, method, patience,
                    [&](rpc::Metaserver::Client&) { return send(administration); });
  }
  void pause() { io.provider->getTimer().afterDelay(LOOK_INTERVAL).wait(io.waitScope); }

 private:
  kj::AsyncIoContext io;
  MetaserverLine line;
};

}  // namespace cairn::cli
