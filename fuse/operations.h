// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// libfuse's callbacks: each unpacks its arguments and starts the handler of that name. Handlers start in the
// order in which the kernel's messages came. Called by libfuse from within session_loop.cc.
#pragma once

#include <kj/function.h>

#include "fuse/handlers.h"
#include "fuse/libfuse.h"

namespace cairn::fuse {

class IncomingMessage {
  // The message that libfuse is unpacking just now: what it does not pass on, and the memory it lies in.
 public:
  virtual Bytes keep(kj::ArrayPtr<const kj::byte> payload) = 0;  // beyond the callback
  virtual Privileges privileges() const = 0;                     // of a write, setattr or open
  virtual void negotiate(fuse_conn_info& connection) = 0;        // FUSE_INIT
  enum class Creation { NAMED, TEMPORARY };
  virtual Creation creation() const = 0;  // of a create: TEMPORARY if the kernel sent FUSE_TMPFILE
};

struct OperationContext {
  // What libfuse hands to each callback.
  Handlers& handlers;
  IncomingMessage& message;
};

extern const fuse_lowlevel_ops OPERATIONS;

}  // namespace cairn::fuse
