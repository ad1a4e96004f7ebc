// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The Metaserver interface of one connection: joining as a client or as a store, and looking. What a joined
// client may do is in session_handlers.h, what a joined store says in fleet_handlers.h. Made by MetaService.
#pragma once

#include "metaserver/meta_service.h"
#include "rpc/coroutine.h"

namespace cairn {

class MetaserverHandlers final : public rpc::Metaserver::Server {
 public:
  MetaserverHandlers(MetaService& service, kj::String caller) : service(service), caller(kj::mv(caller)) {}

  kj::Promise<void> openSession(OpenSessionContext context) override {
    return service.guard(openingSession(context));
  }
  kj::Promise<void> register_(RegisterContext context) override {
    return service.guard(registering(context));
  }
  kj::Promise<void> status(StatusContext context) override;
  kj::Promise<void> resolve(ResolveContext context) override;
  kj::Promise<void> describeFile(DescribeFileContext context) override;
  kj::Promise<void> administration(AdministrationContext context) override;

 private:
  Async<void> openingSession(OpenSessionContext context);
  Async<void> registering(RegisterContext context);

  MetaService& service;
  kj::String caller;
};

}  // namespace cairn
