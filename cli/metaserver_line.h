// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One command's line to the metaserver: an event loop, a peer, and errors as sentences for people.
// Used by up, status, info and append.
#pragma once

#include <kj/async-io.h>

#include <memory>
#include <string>

#include "cli/failure.h"
#include "env/entropy.h"
#include "rpc/buffer_pool.h"
#include "rpc/metaserver.capnp.h"
#include "rpc/peer.h"

namespace cairn::cli {

class MetaserverLine {
 public:
  MetaserverLine(kj::AsyncIoContext& io, const std::string& address);

  Peer<rpc::Metaserver>& peer() { return metaserver; }
  const PeerEnvironment& peers() const { return environment; }  // for further peers of the same cluster

  template <typename Send>
  auto ask(kj::WaitScope& scope, kj::StringPtr method, kj::Duration deadline, Send&& send) {
    // Blocks. Throws Failure when there is no answer in time.
    using Response = decltype(peer().call({method, deadline}, kj::fwd<Send>(send)).wait(scope));
    kj::Maybe<Response> response;
    auto problem = kj::runCatchingExceptions(
        [&]() { response = peer().call({method, deadline}, kj::fwd<Send>(send)).wait(scope); });
    KJ_IF_MAYBE (exception, problem) throw explain(*exception);
    return kj::mv(KJ_ASSERT_NONNULL(response));
  }

  Failure explain(const kj::Exception& exception) const;

 private:
  std::string address;
  env::SystemEntropy entropy;
  BufferPool pool;
  ClusterId cluster;
  PeerEnvironment environment;
  Peer<rpc::Metaserver> metaserver;
};

}  // namespace cairn::cli
