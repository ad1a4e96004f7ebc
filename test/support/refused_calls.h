// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One call to a fake server, by its number, is answered with a status, or breaks as over a bug: for running a
// story again and again, with the refusal one call further on each time. The server asks in dispatchCall.
#pragma once

#include <capnp/capability.h>
#include <capnp/dynamic.h>
#include <capnp/schema.h>

#include "rpc/result.h"

namespace cairn {

class RefusedCalls {
 public:
  enum class How { STATUS, EXCEPTION };
  void refuse(uint64_t call, Status status, How how = How::STATUS) {
    // Counted from now on, from 1.
    left = call;
    answer = status;
    manner = how;
    refused = nullptr;
  }
  void stop() { left = 0; }
  kj::StringPtr method() const { return refused; }  // of the call that was refused; empty: it has not come

  using Context = capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>;
  template <typename Interface>
  kj::Maybe<kj::Promise<void>> refuses(uint64_t interfaceId, uint16_t methodId, Context& context) {
    auto schema = capnp::Schema::from<Interface>();
    if (left == 0 || interfaceId != schema.getProto().getId() || --left > 0) return nullptr;
    return refuses(schema.getMethods()[methodId], context);
  }

 private:
  uint64_t left = 0;
  Status answer = Status::OK;
  How manner = How::STATUS;
  kj::StringPtr refused;

  kj::Maybe<kj::Promise<void>> refuses(capnp::InterfaceSchema::Method method, Context& context) {
    refused = method.getProto().getName();
    if (manner == How::EXCEPTION) return kj::Promise<void>(KJ_EXCEPTION(FAILED, "a bug, says the test"));
    auto type = method.getResultType();
    auto status = type.findFieldByName("status"), outcome = type.findFieldByName("outcome");
    if (status == nullptr && outcome == nullptr) return nullptr;  // nothing to say it with: it is carried out
    auto results = context.getResults().initAs<capnp::DynamicStruct>(type);
    KJ_IF_MAYBE (place, outcome) results = results.init(*place).as<capnp::DynamicStruct>();
    auto field = results.getSchema().getFieldByName("status");
    results.set(field, capnp::DynamicEnum(field.getType().asEnum(), uint16_t(answer)));
    return kj::Promise<void>(kj::READY_NOW);
  }
};

}  // namespace cairn
