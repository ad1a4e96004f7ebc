// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/namespace.h"

#include <kj/debug.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>

#include <memory>

#include "metaserver/damage.h"
#include "metaserver/keys.h"
#include "metaserver/namespace_scan.h"
#include "metaserver/ops/operations.h"
#include "metaserver/session_answers.h"
#include "metaserver/transaction.h"

namespace cairn {

struct Namespace::Storage {
  std::unique_ptr<rocksdb::DB> db;
  NamespaceState state;
  DamageWitness witness;
  bool verified = false;
};

namespace {

rocksdb::Options storeOptions(const NamespaceOptions& options) {
  rocksdb::Options result;
  result.create_if_missing = true;
  if (options.env != nullptr) result.env = options.env;
  result.write_buffer_size = options.memtableBytes;
  result.max_write_buffer_number = 6;  // a slow flush does not hold up the event loop
  result.level0_slowdown_writes_trigger = 64;
  result.level0_stop_writes_trigger = 128;
  result.memtable_prefix_bloom_size_ratio = 0.02;  // most names that are looked up for a create are not there
  result.memtable_whole_key_filtering = true;
  result.compression = rocksdb::kNoCompression;
  result.max_background_jobs = 2;
  result.avoid_flush_during_shutdown = true;  // a clean stop has called flush(), any other is like a crash
  result.keep_log_file_num = 2;
  result.info_log_level = rocksdb::WARN_LEVEL;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cacheBytes, 2);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

void requireWholeOrEmpty(const NamespaceOptions& options) {
  // RocksDB makes a new store where there is no CURRENT, and takes what lies there for rubbish.
  auto& env = options.env == nullptr ? *rocksdb::Env::Default() : *options.env;
  std::vector<std::string> names;
  if (!env.GetChildren(options.path.cStr(), &names).ok()) return;
  bool current = false;
  std::string remains;
  for (auto& name : names) {
    current |= name == "CURRENT";
    bool table = name.size() > 4 && name.compare(name.size() - 4, 4, ".sst") == 0;
    if (table || name.rfind("MANIFEST-", 0) == 0) remains = name;
  }
  if (current || remains.empty()) return;
  kj::throwFatalException(KJ_EXCEPTION(
      FAILED,
      kj::str("the namespace store in ", options.path, " is damaged: its file CURRENT is missing, and ",
              remains.c_str(), " is there. Nothing was changed. ", HOW_TO_RESTORE)));
}

uint64_t tableBytes(rocksdb::DB& db) {
  uint64_t bytes = 0;
  db.GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &bytes);
  return bytes;
}

[[noreturn]] void refuseToOpen(kj::StringPtr path, const rocksdb::Status& status) {
  auto why = kj::str(status.ToString().c_str());
  auto advice = status.IsIOError() && strstr(why.cStr(), "lock") != nullptr
                    ? "Another process has it open: one metaserver serves a directory."
                : status.IsCorruption() ? HOW_TO_RESTORE.cStr()
                : status.IsNotSupported() || status.IsInvalidArgument()
                    ? "It was perhaps written by a newer version: start that one."
                    : "Check the directory, its owner and the disk.";
  kj::throwFatalException(KJ_EXCEPTION(FAILED, kj::str("the namespace store in ", path, " cannot be opened: ",
                                                       why, ". Nothing was changed. ", advice)));
}

}  // namespace

kj::Own<Namespace> Namespace::open(NamespaceOptions options) {
  auto storage = kj::heap<Storage>();
  rocksdb::DB* db = nullptr;
  bool reading = options.access == NamespaceOptions::Access::READ;
  requireWholeOrEmpty(options);
  auto status = reading ? rocksdb::DB::OpenForReadOnly(storeOptions(options), options.path.cStr(), &db)
                        : rocksdb::DB::Open(storeOptions(options), options.path.cStr(), &db);
  if (!status.ok()) refuseToOpen(options.path, status);
  storage->db.reset(db);
  if (!reading && tableBytes(*db) <= options.verifiedBytes) {
    status = db->VerifyChecksum();
    if (!status.ok()) refuseToOpen(options.path, status);
    storage->verified = true;
  }

  std::string value;
  status = db->Get(rocksdb::ReadOptions(), Key(Table::STATE).view(), &value);
  checkRead(status);
  if (status.ok()) {
    storage->state = decodeState(value);
  } else {
    std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
    it->SeekToFirst();
    if (it->Valid()) {
      kj::throwFatalException(
          KJ_EXCEPTION(FAILED, kj::str(options.path,
                                       " is a RocksDB, but not a namespace store of CairnFS. Nothing was "
                                       "changed. Name another directory.")));
    }
  }
  return kj::heap<Namespace>(kj::mv(storage));
}

Namespace::Namespace(kj::Own<Storage> storageParam)
    : storage(kj::mv(storageParam)),
      current(storage->state),
      answers(kj::heap<SessionAnswers>()),
      pending(kj::heap<Transaction>(*storage->db, current)),
      reader(*storage->db, current, storage->witness) {
  answers->load(*storage->db);
}

Namespace::~Namespace() noexcept(false) {}

Outcome Namespace::apply(rpc::Operation::Reader operation) {
  KJ_REQUIRE(operation.getIndex() == current.applied.value() + 1, "an operation is missing or comes twice",
             operation.getIndex(), current.applied);
  pending->begin(operation);
  Outcome outcome = operation.isChange() ? applyChange(operation) : applyOwn(operation);
  current.applied = LogIndex(operation.getIndex());
  return outcome;
}

namespace {

Outcome dispatchChange(rpc::Change::Reader change, Transaction& transaction) {
  switch (change.which()) {
    case rpc::Change::CREATE:
      return ops::create(change, transaction);
    case rpc::Change::LINK:
      return ops::link(change, transaction);
    case rpc::Change::UNLINK:
      return ops::unlink(change, transaction);
    case rpc::Change::RMDIR:
      return ops::rmdir(change, transaction);
    case rpc::Change::RENAME:
      return ops::rename(change, transaction);
    case rpc::Change::SET_ATTRIBUTES:
      return ops::setAttributes(change, transaction);
    case rpc::Change::PUBLISH:
      return ops::publish(change, transaction);
    case rpc::Change::SET_XATTR:
      return ops::setXattr(change, transaction);
    case rpc::Change::REMOVE_XATTR:
      return ops::removeXattr(change, transaction);
    case rpc::Change::ACCESSED:
      return ops::accessed(change, transaction);
    case rpc::Change::PUNCH:
      return ops::punch(change, transaction);
    case rpc::Change::SHARE:
      return ops::share(change, transaction);
  }
  return refusal(Status::NOT_SUPPORTED);
}

Outcome tryChange(rpc::Change::Reader change, Transaction& transaction) {
  // A malformed message (a text without its closing zero, a bad pointer) throws where it is read, and so does
  // a state that contradicts itself: before any write, so the operation can be refused. Anything else ends
  // the process.
  Outcome outcome;
  KJ_IF_MAYBE (exception,
               kj::runCatchingExceptions([&]() { outcome = dispatchChange(change, transaction); })) {
    if (transaction.changed() || transaction.storeFailed()) kj::throwFatalException(kj::mv(*exception));
    return refusal(Status::INVALID);
  }
  return outcome;
}

}  // namespace

Outcome Namespace::applyChange(rpc::Operation::Reader operation) {
  SessionId session(operation.getSession());
  auto change = operation.getChange();
  KJ_IF_MAYBE (outcome, answers->before(session, change, *pending)) return kj::mv(*outcome);
  Outcome outcome = tryChange(change, *pending);
  outcome.index = LogIndex(operation.getIndex());
  answers->remember(session, change, outcome, *pending);
  return outcome;
}

Outcome Namespace::applyOwn(rpc::Operation::Reader operation) {
  Outcome outcome = dispatchOwn(operation);
  outcome.index = LogIndex(operation.getIndex());
  return outcome;
}

Outcome Namespace::dispatchOwn(rpc::Operation::Reader operation) {
  auto& transaction = *pending;
  switch (operation.which()) {
    case rpc::Operation::CHANGE:
      break;
    case rpc::Operation::FOUND:
      return ops::found(operation, transaction);
    case rpc::Operation::START_EPOCH:
      return ops::startEpoch(operation, transaction);
    case rpc::Operation::OPEN_SESSION:
      return ops::openSession(operation, transaction, *answers);
    case rpc::Operation::CLOSE_SESSION:
      return ops::closeSession(operation, transaction, *answers);
    case rpc::Operation::REGISTER_STORE:
      return ops::registerStore(operation, transaction);
    case rpc::Operation::UNREGISTER_STORE:
      return ops::unregisterStore(operation, transaction);
    case rpc::Operation::DRAIN_STORE:
      return ops::drainStore(operation, transaction);
    case rpc::Operation::SET_REPLICAS:
      return ops::setReplicas(operation, transaction);
    case rpc::Operation::RESERVE_HANDLES:
      return ops::reserveHandles(operation, transaction);
    case rpc::Operation::ATTACH_CHUNK:
      return ops::attachChunk(operation, transaction);
    case rpc::Operation::RAISE_VERSION:
      return ops::raiseVersion(operation, transaction);
    case rpc::Operation::CONFIRM_VERSION:
      return ops::confirmVersion(operation, transaction);
    case rpc::Operation::COVER_CHUNKS:
      return ops::coverChunks(operation, transaction);
    case rpc::Operation::OWN_CHUNK:
      return ops::ownChunk(operation, transaction);
    case rpc::Operation::SNAPSHOT:
      return ops::snapshot(operation, transaction);
    case rpc::Operation::STAGE_TREE:
      return ops::stageTree(operation, transaction);
    case rpc::Operation::COPY_STAGED:
      return ops::copyStaged(operation, transaction);
    case rpc::Operation::LINK_STAGED:
      return ops::linkStaged(operation, transaction);
    case rpc::Operation::DROP_STAGED:
      return ops::dropStaged(operation, transaction);
    case rpc::Operation::PURGE:
      return ops::purge(operation, transaction);
    case rpc::Operation::COLLECT_GARBAGE:
      return ops::collectGarbage(operation, transaction);
    case rpc::Operation::SET_QUOTA:
      return ops::setQuota(operation, transaction);
    case rpc::Operation::COUNT_TREE:
      return ops::countTree(operation, transaction);
    case rpc::Operation::CONFIGURE_TRASH:
      return ops::configureTrash(operation, transaction);
    case rpc::Operation::KEEP_TRASH:
      return ops::keepTrash(operation, transaction);
    case rpc::Operation::RESTORE_TRASH:
      return ops::restoreTrash(operation, transaction);
    case rpc::Operation::PURGE_TRASH:
      return ops::purgeTrash(operation, transaction);
    case rpc::Operation::RESTORED:
      return ops::restored(operation, transaction, *answers);
    case rpc::Operation::EPOCH_SEEN:
      return ops::epochSeen(operation, transaction);
    case rpc::Operation::FOUND_VERSIONS:
      return ops::foundVersions(operation, transaction);
    case rpc::Operation::TAKEN_OVER:
      return ops::takenOver(operation, transaction);
    case rpc::Operation::RELEASE_KEPT:
      return ops::releaseKept(operation, transaction);
    case rpc::Operation::MEND:
      return ops::mend(operation, transaction);
  }
  kj::throwFatalException(KJ_EXCEPTION(
      UNIMPLEMENTED,
      kj::str("the operation log holds an operation of a kind this program does not know (index ",
              operation.getIndex(),
              "). Nothing was changed. Start the version of CairnFS that wrote it, or a newer one.")));
}

kj::Maybe<Outcome> Namespace::remembered(rpc::Operation::Reader operation) {
  if (!operation.isChange()) return nullptr;
  auto sequence = operation.getChange().getSequence();
  KJ_IF_MAYBE (answer, pending->answer(SessionId(operation.getSession()), sequence))
    return kj::mv(answer->outcome);
  return nullptr;
}

void Namespace::commit() {
  pending->commit();
}

void Namespace::startFlush() {
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;
  storage->db->Flush(options)
      .PermitUncheckedError();  // only early: the memory tables are flushed when full anyway
}

void Namespace::flush() const {
  auto status = storage->db->Flush(rocksdb::FlushOptions());
  KJ_REQUIRE(status.ok(),
             "the namespace store cannot be flushed; the operation log has what is missing in it",
             status.ToString().c_str());
}

void Namespace::copyTo(kj::StringPtr directory) const {
  rocksdb::Checkpoint* made = nullptr;
  auto status = rocksdb::Checkpoint::Create(storage->db.get(), &made);
  std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(directory.cStr());  // flushes first
  KJ_REQUIRE(status.ok(), "the namespace store cannot be copied", directory, status.ToString().c_str());
}

void Namespace::verify() const {
  checkRead(storage->db->VerifyChecksum());
}

kj::Own<NamespaceScan> Namespace::scan() const {
  return kj::heap<NamespaceScan>(*storage->db);
}

bool Namespace::verified() const {
  return storage->verified;
}

DamageWitness& Namespace::witness() {
  return storage->witness;
}

LogIndex Namespace::persisted() const {
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kPersistedTier;  // without the write-ahead log: tables on disk only
  std::string value;
  auto status = storage->db->Get(options, Key(Table::STATE).view(), &value);
  checkRead(status);
  return status.ok() ? decodeState(value).applied : LogIndex();
}

void Namespace::visitRecords(kj::FunctionParam<void(kj::StringPtr line)> visit) const {
  std::unique_ptr<rocksdb::Iterator> it(storage->db->NewIterator(rocksdb::ReadOptions()));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    visit(describeRecord(it->key().ToStringView(), it->value().ToStringView()));
  }
  checkRead(it->status());
}

kj::String Namespace::dump() const {
  kj::Vector<kj::String> lines;
  visitRecords([&](kj::StringPtr line) { lines.add(kj::str(line)); });
  return kj::strArray(lines, "\n");
}

}  // namespace cairn
