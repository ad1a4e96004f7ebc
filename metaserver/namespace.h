// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The namespace: files, directories, chunk handles and versions, sessions and stores, in RocksDB.
// INVARIANT: the store holds exactly the operations 1 to `applied`; both are written in one batch, so after
// any crash it is the image after some operation, and the log has the rest. Nothing but apply() changes it,
// and apply() reads no clock, no random numbers and nothing that is not in the operation or the state. Called
// by the log (LocalLog) for changes; reads go through read().
#pragma once

#include <kj/function.h>
#include <kj/memory.h>
#include <kj/string.h>

#include "metaserver/namespace_reader.h"
#include "metaserver/operation.h"

namespace rocksdb {
class Env;
}

namespace cairn {

class NamespaceScan;
class Transaction;
class SessionAnswers;

struct NamespaceOptions {
  kj::StringPtr path;                  // directory of the RocksDB; made if it is not there
  rocksdb::Env* env = nullptr;         // null: the local filesystem
  uint64_t cacheBytes = 512ull << 20;  // blocks of the store kept in memory
  uint64_t memtableBytes = 64ull << 20;
  uint64_t verifiedBytes = 256ull << 20;
  // A store up to this size has each block compared with its checksum when it is opened for writing: a
  // fraction of a second. That of a bigger one is left to verify(), in the background.
  enum class Access { WRITE, READ } access = Access::WRITE;
  // READ: for looking only, also beside a running metaserver: it then shows what that one has flushed.
};

class Namespace {
 public:
  static kj::Own<Namespace> open(NamespaceOptions options);
  // Makes an empty one (applied 0) where there is none. Throws, with a sentence for the user: newer format,
  // damage, in use.

  struct Storage;
  explicit Namespace(kj::Own<Storage> storage);  // by open()
  ~Namespace() noexcept(false);
  KJ_DISALLOW_COPY(Namespace);

  const NamespaceReader& read() const { return reader; }
  const NamespaceState& state() const { return current; }

  Outcome apply(rpc::Operation::Reader operation);
  // The next operation. What it changes is seen by the following apply() at once, and by read() after
  // commit().

  kj::Maybe<Outcome> remembered(rpc::Operation::Reader operation);
  // The answer to a client's change that has been applied before.

  void commit();
  // Writes what apply() has changed, in one batch. Throws if the store fails: then the process must end;
  // nothing is lost, the log has it all.

  void startFlush();
  // Begins to write the memory tables to disk, in the background.

  void flush() const;
  // The same, and waits: for a clean stop, and for workers: flush(), copyTo() and verify() may run in another
  // thread beside everything else.

  void copyTo(kj::StringPtr directory) const;
  // Makes the directory: a namespace store as of some operation from now on, which shares its files with
  // this one where the disk can. Throws.

  void verify() const;
  // Reads every block and compares it with its checksum. Throws, with a sentence for the user, at the first
  // that is damaged.

  LogIndex persisted() const;
  // Operations up to this one are on disk in the store: the log does not need them any more.

  kj::Own<NamespaceScan> scan() const;  // of what has been committed until now

  bool verified() const;  // when it was opened
  DamageWitness& witness();

  void visitRecords(kj::FunctionParam<void(kj::StringPtr line)> visit) const;
  kj::String dump() const;
  // Every record as a line, in key order; equal namespaces give equal dumps. For tests and `inspect`.

 private:
  kj::Own<Storage> storage;
  NamespaceState current;
  kj::Own<SessionAnswers> answers;
  kj::Own<Transaction> pending;
  NamespaceReader reader;

  Outcome applyChange(rpc::Operation::Reader operation);
  Outcome applyOwn(rpc::Operation::Reader operation);
  Outcome dispatchOwn(rpc::Operation::Reader operation);
};

}  // namespace cairn
