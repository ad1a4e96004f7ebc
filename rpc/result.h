// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Answers as values. A Result is the value or the Status that says why there is none; exceptions are only
// for transport (disconnected, overloaded) and bugs.
#pragma once

#include <kj/debug.h>
#include <kj/one-of.h>

#include "rpc/common.capnp.h"

namespace cairn {

using Status = rpc::Status;

kj::StringPtr KJ_STRINGIFY(Status status);

constexpr bool ok(Status status) {
  return status == Status::OK;
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content(kj::mv(value)) {}  // NOLINT(google-explicit-constructor): an answer is its value
  Result(Status status) : failure(status) {    // NOLINT(google-explicit-constructor)
    KJ_REQUIRE(status != Status::OK, "a Result without a value needs a reason");
  }
  bool ok() const { return failure == Status::OK; }
  Status status() const { return failure; }
  T& value() & { return KJ_REQUIRE_NONNULL(content, failure); }
  const T& value() const& { return KJ_REQUIRE_NONNULL(content, failure); }
  T value() && { return kj::mv(KJ_REQUIRE_NONNULL(content, failure)); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }

 private:
  kj::Maybe<T> content;
  Status failure = Status::OK;
};

}  // namespace cairn
