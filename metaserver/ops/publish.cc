// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// publish: a client tells what it has written and all replicas have applied (POSIX write(): mtime and ctime
// move).
//  - The length only grows: two writers of one file publish in any order.
//  - dataVersion rises each time: what another client has cached of the file is old.
//  - An orphan is published as any file; one that is gone is notFound, which the writer of an unlinked file
//  ignores.
#include "metaserver/ops/operations.h"
#include "metaserver/ops/rules.h"

namespace cairn::ops {

Outcome publish(rpc::Change::Reader change, Transaction& transaction) {
  auto request = change.getPublish();
  auto found = transaction.inode(InodeId(request.getFile()));
  if (found == nullptr) return refusal(Status::NOT_FOUND);
  Inode inode = KJ_REQUIRE_NONNULL(found);
  auto& attributes = inode.attributes;
  if (attributes.isDirectory()) return refusal(Status::IS_DIRECTORY);
  if (!attributes.isRegular()) return refusal(Status::INVALID);
  if (request.getLength() > FILE_SIZE_MAX) return refusal(Status::TOO_BIG);

  attributes.size = kj::max(attributes.size, request.getLength());
  attributes.mtime = request.getModified() != 0 ? request.getModified() : transaction.now();
  attributes.ctime = transaction.now();
  ++attributes.dataVersion;
  Outcome outcome;
  outcome.attributes = transaction.put(inode);
  return outcome;
}

}  // namespace cairn::ops
