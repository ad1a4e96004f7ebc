// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// An operation on its way to the log, and the answer that comes back when it has been applied. Whoever wants
// to change the namespace fills in a LoggedOperation and hands it to OperationLog::propose.
#pragma once

#include <capnp/message.h>

#include "metaserver/inode.h"
#include "metaserver/operation.capnp.h"
#include "rpc/result.h"
#include "rpc/units.h"

namespace cairn {

class LoggedOperation {
  // An operation.capnp message under construction. The log sets index, epoch and time.
 public:
  LoggedOperation() : message(128), operation(message.initRoot<rpc::Operation>()) {}
  KJ_DISALLOW_COPY(LoggedOperation);

  rpc::Operation::Builder body() { return operation; }
  capnp::MessageBuilder& builder() { return message; }

  static kj::Own<LoggedOperation> of(SessionId session, rpc::Change::Reader change) {
    // The client's change as it came.
    auto result = kj::heap<LoggedOperation>();
    result->operation.setSession(session.value());
    result->operation.setChange(change);
    return result;
  }

 private:
  capnp::MallocMessageBuilder message;
  rpc::Operation::Builder operation;
};

enum class More { NO, YES };

struct Outcome {
  // What an applied operation answers. A refusal has changed nothing but the applied index.
  Status status = Status::OK;
  LogIndex index;  // of the operation that did it; the first one's when a change is repeated
  kj::Maybe<Attributes> attributes;  // of the inode the change was about, after it
  kj::Maybe<Attributes> parent;      // of the directory it was done in, where there is one
  InodeId replaced;                  // rename: the inode that lost its name to it; 0: none
  InodeId orphan;        // lost its last link and was not `unheld`: purge it once nobody holds it; 0: none
  ChunkHandle cut;       // truncate: the chunk that now has validBytes: revoke its lease; 0: none
  ChunkHandle chunk;     // attachChunk, exists: the one that is there
  uint64_t number = 0;   // startEpoch: epoch; openSession, registerStore: id; reserveHandles: first handle;
                         // raiseVersion: version
  More more = More::NO;  // purge: propose it again

  bool ok() const { return status == Status::OK; }
  void write(rpc::Outcome::Builder builder) const;
};

Outcome refusal(Status status);

}  // namespace cairn
