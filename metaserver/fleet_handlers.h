// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The Fleet interface: what one registered store tells. Lives as long as the store's connection; its end is
// how the metaserver learns that the connection is gone. Made by metaserver_handlers.cc.
#pragma once

#include "metaserver/meta_service.h"

namespace cairn {

class FleetHandlers final : public rpc::Fleet::Server {
 public:
  FleetHandlers(MetaService& service, ServerId server, uint32_t registration)
      : service(service), server(server), registration(registration) {}
  ~FleetHandlers() noexcept(false);

  kj::Promise<void> report(ReportContext context) override;
  kj::Promise<void> heartbeat(HeartbeatContext context) override;
  kj::Promise<void> failed(FailedContext context) override;

 private:
  bool current() const;  // no later registration of the store has taken over

  MetaService& service;
  ServerId server;
  uint32_t registration;
};

}  // namespace cairn
