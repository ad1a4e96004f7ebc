// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Every operation of the log as a function of (request, transaction): it parses, refuses, acts in order,
// answers. One file each; its head settles the semantics. INVARIANT: deterministic (time and choices come
// from the operation), and no write before the last refusal. Called by Namespace::apply only.
#pragma once

#include "metaserver/session_answers.h"
#include "metaserver/transaction.h"

namespace cairn::ops {

// Changes of clients
Outcome create(rpc::Change::Reader change, Transaction& transaction);
Outcome link(rpc::Change::Reader change, Transaction& transaction);
Outcome unlink(rpc::Change::Reader change, Transaction& transaction);
Outcome rmdir(rpc::Change::Reader change, Transaction& transaction);
Outcome rename(rpc::Change::Reader change, Transaction& transaction);
Outcome setAttributes(rpc::Change::Reader change, Transaction& transaction);
Outcome publish(rpc::Change::Reader change, Transaction& transaction);
Outcome setXattr(rpc::Change::Reader change, Transaction& transaction);
Outcome removeXattr(rpc::Change::Reader change, Transaction& transaction);
Outcome accessed(rpc::Change::Reader change, Transaction& transaction);
Outcome punch(rpc::Change::Reader change, Transaction& transaction);
Outcome share(rpc::Change::Reader change, Transaction& transaction);

// The metaserver's own
Outcome found(rpc::Operation::Reader operation, Transaction& transaction);
Outcome startEpoch(rpc::Operation::Reader operation, Transaction& transaction);
Outcome openSession(rpc::Operation::Reader operation, Transaction& transaction, SessionAnswers& answers);
Outcome closeSession(rpc::Operation::Reader operation, Transaction& transaction, SessionAnswers& answers);
Outcome registerStore(rpc::Operation::Reader operation, Transaction& transaction);
Outcome unregisterStore(rpc::Operation::Reader operation, Transaction& transaction);
Outcome drainStore(rpc::Operation::Reader operation, Transaction& transaction);
Outcome setReplicas(rpc::Operation::Reader operation, Transaction& transaction);
Outcome reserveHandles(rpc::Operation::Reader operation, Transaction& transaction);
Outcome attachChunk(rpc::Operation::Reader operation, Transaction& transaction);
Outcome raiseVersion(rpc::Operation::Reader operation, Transaction& transaction);
Outcome confirmVersion(rpc::Operation::Reader operation, Transaction& transaction);
Outcome coverChunks(rpc::Operation::Reader operation, Transaction& transaction);
Outcome ownChunk(rpc::Operation::Reader operation, Transaction& transaction);
Outcome snapshot(rpc::Operation::Reader operation, Transaction& transaction);
Outcome stageTree(rpc::Operation::Reader operation, Transaction& transaction);
Outcome copyStaged(rpc::Operation::Reader operation, Transaction& transaction);
Outcome linkStaged(rpc::Operation::Reader operation, Transaction& transaction);
Outcome dropStaged(rpc::Operation::Reader operation, Transaction& transaction);
Outcome purge(rpc::Operation::Reader operation, Transaction& transaction);
Outcome configureTrash(rpc::Operation::Reader operation, Transaction& transaction);
Outcome keepTrash(rpc::Operation::Reader operation, Transaction& transaction);
Outcome restoreTrash(rpc::Operation::Reader operation, Transaction& transaction);
Outcome purgeTrash(rpc::Operation::Reader operation, Transaction& transaction);
Outcome setQuota(rpc::Operation::Reader operation, Transaction& transaction);
Outcome countTree(rpc::Operation::Reader operation, Transaction& transaction);
Outcome collectGarbage(rpc::Operation::Reader operation, Transaction& transaction);
Outcome restored(rpc::Operation::Reader operation, Transaction& transaction, SessionAnswers& answers);
Outcome epochSeen(rpc::Operation::Reader operation, Transaction& transaction);
Outcome foundVersions(rpc::Operation::Reader operation, Transaction& transaction);
Outcome takenOver(rpc::Operation::Reader operation, Transaction& transaction);
Outcome releaseKept(rpc::Operation::Reader operation, Transaction& transaction);
Outcome mend(rpc::Operation::Reader operation, Transaction& transaction);

}  // namespace cairn::ops
