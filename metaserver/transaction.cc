// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/transaction.h"

#include <kj/debug.h>

#include <memory>

#include "metaserver/damage.h"
#include "metaserver/keys.h"

namespace cairn {

void checkRead(const rocksdb::Status& status) {
  if (status.ok() || status.IsNotFound()) return;
  kj::throwFatalException(
      KJ_EXCEPTION(FAILED, kj::str("the namespace store cannot be read: ", status.ToString().c_str(),
                                   ". Nothing was changed. ", HOW_TO_RESTORE)));
}

void Transaction::begin(rpc::Operation::Reader operation) {
  time = operation.getTime();
  closed = InodeId(operation.getUnheld());
  writes = 0;
  broken = false;
}

uint64_t Transaction::nextDataVersion(uint64_t current) const {
  return kj::max(current + 1, state.epoch.value() << 32);
}

void Transaction::commit() {
  for (auto& [id, inode] : inodes) {
    Key key(Table::INODES, id.value());
    if (inode.has_value()) {
      batch.Put(key.view(), encode(*inode));
    } else {
      batch.Delete(key.view());
    }
  }
  for (auto& [id, usage] : usages) {
    Key key(Table::USAGE, id.value());
    if (usage == Usage()) {
      batch.Delete(key.view());
    } else {
      batch.Put(key.view(), encode(usage));
    }
  }
  for (auto& [key, value] : changes) {
    if (value.has_value()) {
      batch.Put(key, *value);
    } else {
      batch.Delete(key);
    }
  }
  batch.Put(Key(Table::STATE).view(), encode(state));
  rocksdb::WriteOptions options;
  options.disableWAL = true;  // the operation log is the write-ahead log
  auto status = db.Write(options, &batch);
  batch.Clear();
  inodes.clear();
  usages.clear();
  changes.clear();
  if (!status.ok()) {
    kj::throwFatalException(
        KJ_EXCEPTION(FAILED, kj::str("the namespace store cannot be written: ", status.ToString().c_str(),
                                     ". The operation log has every change that was answered: make room or "
                                     "repair the disk and start again.")));
  }
}

void Transaction::settle() {
  KJ_REQUIRE(writes == 0, "settle() comes before an operation's first write");
  if (!inodes.empty() || !changes.empty() || !usages.empty()) commit();
}

void Transaction::check(const rocksdb::Status& status) {
  broken = broken || !(status.ok() || status.IsNotFound());
  checkRead(status);
}

kj::Maybe<std::string> Transaction::get(const Key& key) {
  auto found = changes.find(std::string(key.view()));
  if (found != changes.end()) {
    if (found->second.has_value()) return *found->second;
    return nullptr;
  }
  std::string value;
  auto status = db.Get(rocksdb::ReadOptions(), key.view(), &value);
  check(status);
  if (status.IsNotFound()) return nullptr;
  return value;
}

void Transaction::set(const Key& key, std::string value) {
  ++writes;
  changes[std::string(key.view())] = std::move(value);
}

void Transaction::erase(const Key& key) {
  ++writes;
  changes[std::string(key.view())] = std::nullopt;
}

template <typename Visit>
void Transaction::scan(const Key& prefix, const Key& first, Visit&& visit) {
  // INVARIANT: the caller has settled, and has not changed these rows since.
  std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(rocksdb::ReadOptions()));
  for (it->Seek(first.view()); it->Valid() && it->key().starts_with(prefix.view()); it->Next()) {
    if (!visit(it->key().ToStringView(), it->value().ToStringView())) break;
  }
  check(it->status());
}

// -- inodes
// ---------------------------------------------------------------------------------------------------

kj::Maybe<Inode> Transaction::inode(InodeId id) {
  auto found = inodes.find(id);
  if (found != inodes.end()) {
    if (found->second.has_value()) return *found->second;
    return nullptr;
  }
  rocksdb::PinnableSlice value;
  auto status =
      db.Get(rocksdb::ReadOptions(), db.DefaultColumnFamily(), Key(Table::INODES, id.value()).view(), &value);
  check(status);
  if (status.IsNotFound()) return nullptr;
  return decodeInode(id, value.ToStringView());
}

Result<Inode> Transaction::liveInode(InodeId id) {
  KJ_IF_MAYBE (found, inode(id)) {
    if (!found->has(TRASHED)) return *found;
  }
  return state.wasGiven(id) ? Status::STALE : Status::NOT_FOUND;
}

Result<Inode> Transaction::directory(InodeId id) {
  auto found = liveInode(id);
  if (found.ok() && !found->attributes.isDirectory()) return Status::NOT_DIRECTORY;
  return found;
}

Attributes Transaction::put(Inode inode) {
  ++writes;
  inode.attributes.bytesUsed = bytesUsedBy(inode);
  if (state.counting != Counting::OFF) account(this->inode(inode.id()), inode);
  inodes[inode.id()] = inode;
  return inode.attributes;
}

void Transaction::dropInode(InodeId id) {
  ++writes;
  auto before = inode(id);
  KJ_IF_MAYBE (gone, before) {
    if (state.counting != Counting::OFF) account(*gone, nullptr);
    if (gone->has(QUOTA)) {
      dropQuota(id);
      --state.quotas;
    }
    if (gone->attributes.isDirectory() && state.counting != Counting::OFF) {
      if (countCursor(id) != nullptr) dropCountCursor(id);
      usages[id] = Usage();
    }
    if (gone->has(LINKED)) putBacklinks(id, {});
  }
  inodes[id] = std::nullopt;
  --state.inodes;
}

// -- what is below directories
// ---------------------------------------------------------------------------------------------------

Usage Transaction::usage(InodeId directory) {
  auto found = usages.find(directory);
  if (found != usages.end()) return found->second;
  KJ_IF_MAYBE (value, get(Key(Table::USAGE, directory.value()))) return decodeUsage(*value);
  return Usage();
}

void Transaction::correctUsage(InodeId directory, const Usage& delta) {
  ++writes;
  charge(directory, Usage(), delta);
}

Usage Transaction::contribution(const Inode& inode) {
  if (!inode.has(COUNTED) || inode.id() == ROOT_INODE) return Usage();
  Usage sum;
  if (inode.attributes.isDirectory()) sum = usage(inode.id());
  Usage itself{1, bytesUsedBy(inode), 0, 0};
  if (inode.has(TRASHED)) itself.trashInodes = itself.inodes, itself.trashBytes = itself.bytes;
  return sum += itself;
}

void Transaction::account(kj::Maybe<Inode> before, kj::Maybe<const Inode&> after) {
  Usage less, more;
  InodeId from, to;
  KJ_IF_MAYBE (inode, before) {
    less = contribution(*inode);
    from = inode->parent;
  }
  KJ_IF_MAYBE (inode, after) {
    more = contribution(*inode);
    to = inode->parent;
  }
  if (from == to) {
    if (less != more) charge(to, less, more);
  } else {
    if (less != Usage()) charge(from, less, Usage());
    if (more != Usage()) charge(to, Usage(), more);
  }
}

void Transaction::charge(InodeId directory, const Usage& less, const Usage& more) {
  // Upwards as far as directories are counted in those they are in.
  for (auto id = directory; id;) {
    auto found = inode(id);
    if (found == nullptr) return;  // a quota's directory that is gone: what was in its trash counts nowhere
    auto sum = usage(id);
    sum -= less;
    sum += more;
    usages[id] = sum;
    auto& at = KJ_ASSERT_NONNULL(found);
    if (id == ROOT_INODE || !at.has(COUNTED)) return;
    id = at.parent;
  }
}

QuotaLimits Transaction::quota(InodeId directory) {
  return decodeQuota(
      KJ_REQUIRE_NONNULL(get(Key(Table::QUOTAS, directory.value())), "a quota is gone", directory));
}

void Transaction::putQuota(InodeId directory, const QuotaLimits& limits) {
  set(Key(Table::QUOTAS, directory.value()), encode(limits));
}

void Transaction::dropQuota(InodeId directory) {
  erase(Key(Table::QUOTAS, directory.value()));
}

Backlinks Transaction::backlinks(InodeId inode) {
  KJ_IF_MAYBE (value, get(Key(Table::BACKLINKS, inode.value()))) return decodeBacklinks(*value);
  return {};
}

void Transaction::putBacklinks(InodeId inode, const Backlinks& links) {
  Key key(Table::BACKLINKS, inode.value());
  links.empty() ? erase(key) : set(key, encode(links));
}

uint64_t Transaction::placeIn(kj::StringPtr name) const {
  return placeOf(state.cluster, name);
}

kj::Maybe<uint64_t> Transaction::countCursor(InodeId directory) {
  KJ_IF_MAYBE (value, get(Key(Table::COUNT, directory.value()))) return decodeNumber(*value);
  return nullptr;
}

void Transaction::putCountCursor(InodeId directory, uint64_t place) {
  if (countCursor(directory) == nullptr) ++state.toCount;
  set(Key(Table::COUNT, directory.value()), encodeNumber(place));
}

void Transaction::dropCountCursor(InodeId directory) {
  erase(Key(Table::COUNT, directory.value()));
  --state.toCount;
}

kj::Vector<std::pair<InodeId, uint64_t>> Transaction::countCursors(size_t limit) {
  kj::Vector<std::pair<InodeId, uint64_t>> result;
  Key prefix(Table::COUNT);
  scan(prefix, prefix, [&](std::string_view key, std::string_view value) {
    result.add(InodeId(KeyReader(key).number()), decodeNumber(value));
    return result.size() < limit;
  });
  return result;
}

Transaction::NamePage Transaction::namesOf(InodeId directory, uint64_t after, size_t limit) {
  NamePage page;
  scan(Key(Table::NAMES, directory.value()), Key(Table::NAMES, directory.value(), after + 1),
       [&](std::string_view key, std::string_view value) {
         if (page.entries.size() >= limit) {
           page.end = End::NO;
           return false;
         }
         KeyReader reader(key);
         reader.number();
         auto place = reader.number();
         NameBucket(value).forEach([&](const NamedInode& entry) {
           page.entries.add(NameAt{std::string(entry.name), entry.inode, place});
         });
         return true;
       });
  return page;
}

// -- names
// ----------------------------------------------------------------------------------------------------

kj::Maybe<Named> Transaction::name(InodeId directory, kj::StringPtr name) {
  KJ_IF_MAYBE (bucket, get(Key(Table::NAMES, directory.value(), placeOf(state.cluster, name)))) {
    KJ_IF_MAYBE (entry, NameBucket(*bucket).find(name)) return Named{entry->inode, entry->type};
  }
  return nullptr;
}

bool Transaction::hasRoomFor(InodeId directory, kj::StringPtr name) {
  KJ_IF_MAYBE (bucket, get(Key(Table::NAMES, directory.value(), placeOf(state.cluster, name)))) {
    return NameBucket(*bucket).with(name, InodeId(1), FileType::REGULAR) != nullptr;
  }
  return true;
}

void Transaction::putName(InodeId directory, kj::StringPtr name, Named target) {
  Key key(Table::NAMES, directory.value(), placeOf(state.cluster, name));
  std::string old;
  KJ_IF_MAYBE (bucket, get(key)) old = *bucket;
  set(key, KJ_REQUIRE_NONNULL(NameBucket(old).with(name, target.inode, target.type), "no slot for a name"));
}

void Transaction::dropName(InodeId directory, kj::StringPtr name) {
  Key key(Table::NAMES, directory.value(), placeOf(state.cluster, name));
  auto rest = NameBucket(KJ_REQUIRE_NONNULL(get(key))).without(name);
  if (rest.empty()) {
    erase(key);
  } else {
    set(key, std::move(rest));
  }
}

kj::Vector<std::pair<kj::String, Named>> Transaction::namesIn(InodeId directory) {
  kj::Vector<std::pair<kj::String, Named>> result;
  Key prefix(Table::NAMES, directory.value());
  scan(prefix, prefix, [&](std::string_view, std::string_view value) {
    NameBucket(value).forEach([&](const NamedInode& entry) {
      result.add(kj::heapString(entry.name.data(), entry.name.size()), Named{entry.inode, entry.type});
    });
    return true;
  });
  return result;
}

// -- chunks
// ---------------------------------------------------------------------------------------------------

ChunkReference Transaction::chunkAt(InodeId inode, ChunkIndex index) {
  KJ_IF_MAYBE (value, get(Key(Table::FILE_CHUNKS, inode.value(), index.value()))) {
    return decodeReference(index, *value);
  }
  return ChunkReference{index, ChunkHandle()};
}

kj::Vector<ChunkReference> Transaction::chunksOf(InodeId inode, ChunkIndex first, size_t limit) {
  kj::Vector<ChunkReference> result;
  scan(Key(Table::FILE_CHUNKS, inode.value()), Key(Table::FILE_CHUNKS, inode.value(), first.value()),
       [&](std::string_view key, std::string_view value) {
         KeyReader reader(key);
         reader.number();
         result.add(decodeReference(ChunkIndex(reader.number()), value));
         return result.size() < limit;
       });
  return result;
}

void Transaction::putChunkAt(InodeId inode, const ChunkReference& reference) {
  set(Key(Table::FILE_CHUNKS, inode.value(), reference.index.value()), encode(reference));
}

void Transaction::dropChunkAt(InodeId inode, ChunkIndex index) {
  erase(Key(Table::FILE_CHUNKS, inode.value(), index.value()));
}

kj::Maybe<ChunkRecord> Transaction::chunk(ChunkHandle handle) {
  KJ_IF_MAYBE (value, get(Key(Table::CHUNKS, handle.value()))) return decodeChunk(*value);
  return nullptr;
}

void Transaction::putChunk(ChunkHandle handle, const ChunkRecord& record) {
  set(Key(Table::CHUNKS, handle.value()), encode(record));
}

void Transaction::discardChunk(ChunkHandle handle) {
  auto record = KJ_REQUIRE_NONNULL(chunk(handle), "a file names a chunk that has no record", handle);
  if (record.references > 1) {
    --record.references;
    putChunk(handle, record);
    return;
  }
  erase(Key(Table::CHUNKS, handle.value()));
  set(Key(Table::GARBAGE, handle.value()), encodeNumber(record.version.value()));
  --state.chunks;
  ++state.garbage;
}

bool Transaction::isGarbage(ChunkHandle handle) {
  return get(Key(Table::GARBAGE, handle.value())) != nullptr;
}

void Transaction::dropGarbage(ChunkHandle handle) {
  erase(Key(Table::GARBAGE, handle.value()));
  --state.garbage;
}

// -- the rest
// -------------------------------------------------------------------------------------------------

kj::Maybe<std::string> Transaction::target(InodeId inode) {
  KJ_IF_MAYBE (value, get(Key(Table::TARGETS, inode.value()))) return std::string(decodeBytes(*value));
  return nullptr;
}

void Transaction::putTarget(InodeId inode, kj::StringPtr target) {
  set(Key(Table::TARGETS, inode.value()), encodeBytes(target.asBytes()));
}

void Transaction::dropTarget(InodeId inode) {
  erase(Key(Table::TARGETS, inode.value()));
}

kj::Maybe<std::string> Transaction::xattr(InodeId inode, kj::StringPtr name) {
  KJ_IF_MAYBE (value, get(Key(Table::XATTRS, inode.value(), name))) return std::string(decodeBytes(*value));
  return nullptr;
}

kj::Vector<kj::String> Transaction::xattrsOf(InodeId inode) {
  kj::Vector<kj::String> result;
  Key prefix(Table::XATTRS, inode.value());
  scan(prefix, prefix, [&](std::string_view key, std::string_view) {
    KeyReader reader(key);
    reader.number();
    result.add(kj::heapString(reader.text().data(), reader.text().size()));
    return true;
  });
  return result;
}

void Transaction::putXattr(InodeId inode, kj::StringPtr name, kj::ArrayPtr<const kj::byte> value) {
  set(Key(Table::XATTRS, inode.value(), name), encodeBytes(value));
}

void Transaction::dropXattr(InodeId inode, kj::StringPtr name) {
  erase(Key(Table::XATTRS, inode.value(), name));
}

bool Transaction::isOrphan(InodeId inode) {
  return get(Key(Table::ORPHANS, inode.value())) != nullptr;
}

kj::Maybe<OrphanRecord> Transaction::orphan(InodeId inode) {
  KJ_IF_MAYBE (value, get(Key(Table::ORPHANS, inode.value()))) return decodeOrphan(*value);
  return nullptr;
}

void Transaction::putOrphan(InodeId inode, const OrphanRecord& record) {
  set(Key(Table::ORPHANS, inode.value()), encode(record));
  ++state.orphans;
}

void Transaction::dropOrphan(InodeId inode) {
  erase(Key(Table::ORPHANS, inode.value()));
  --state.orphans;
}

kj::Maybe<Departure> Transaction::trashed(InodeId inode, int64_t until) {
  KJ_IF_MAYBE (value, get(Key(Table::TRASH, uint64_t(until), inode.value()))) {
    return decodeDeparture(until, *value);
  }
  return nullptr;
}

void Transaction::putTrash(InodeId inode, const Departure& departure) {
  set(Key(Table::TRASH, uint64_t(departure.until), inode.value()), encode(departure));
  ++state.trash;
}

void Transaction::dropTrash(InodeId inode, int64_t until) {
  erase(Key(Table::TRASH, uint64_t(until), inode.value()));
  --state.trash;
}

void Transaction::needWhereabouts(InodeId directory) {
  Key key(Table::WHEREABOUTS, directory.value());
  Whereabouts whereabouts;
  KJ_IF_MAYBE (value, get(key)) whereabouts = decodeWhereabouts(*value);
  ++whereabouts.needed;
  set(key, encode(whereabouts));
}

void Transaction::correctWhereabouts(InodeId directory, uint64_t delta) {
  Key key(Table::WHEREABOUTS, directory.value());
  Whereabouts whereabouts;
  KJ_IF_MAYBE (value, get(key)) whereabouts = decodeWhereabouts(*value);
  whereabouts.needed += delta;
  if (whereabouts.needed == 0) {
    erase(key);
  } else {
    set(key, encode(whereabouts));
  }
}

void Transaction::leaveWhereabouts(InodeId directory) {
  // The last one that needs a directory that is gone lets go of the one that it was in, and so on upwards.
  for (auto id = directory; id;) {
    Key key(Table::WHEREABOUTS, id.value());
    auto whereabouts = decodeWhereabouts(KJ_REQUIRE_NONNULL(get(key), "whereabouts are gone", id));
    if (--whereabouts.needed > 0) {
      set(key, encode(whereabouts));
      return;
    }
    erase(key);
    id = whereabouts.parent;
  }
}

void Transaction::keepWhereabouts(InodeId directory, InodeId parent, kj::StringPtr name) {
  Key key(Table::WHEREABOUTS, directory.value());
  KJ_IF_MAYBE (value, get(key)) {
    auto whereabouts = decodeWhereabouts(*value);
    whereabouts.parent = parent;
    whereabouts.name = std::string(name.begin(), name.size());
    set(key, encode(whereabouts));
    needWhereabouts(parent);
  }
}

kj::Maybe<StagingRecord> Transaction::staging(InodeId top) {
  KJ_IF_MAYBE (value, get(Key(Table::STAGINGS, top.value()))) return decodeStaging(*value);
  return nullptr;
}

void Transaction::putStaging(InodeId top, const StagingRecord& record) {
  set(Key(Table::STAGINGS, top.value()), encode(record));
}

void Transaction::dropStaging(InodeId top) {
  erase(Key(Table::STAGINGS, top.value()));
}

kj::Vector<StagedWork> Transaction::stagedWork(InodeId top, size_t limit) {
  kj::Vector<StagedWork> result;
  if (limit == 0) return result;
  Key prefix(Table::STAGED_WORK, top.value());
  scan(prefix, prefix, [&](std::string_view key, std::string_view value) {
    KeyReader reader(key);
    reader.number();
    result.add(decodeStagedWork(InodeId(reader.number()), value));
    return result.size() < limit;
  });
  return result;
}

void Transaction::putStagedWork(InodeId top, const StagedWork& work) {
  set(Key(Table::STAGED_WORK, top.value(), work.inode.value()), encode(work));
}

void Transaction::dropStagedWork(InodeId top, InodeId inode) {
  erase(Key(Table::STAGED_WORK, top.value(), inode.value()));
}

InodeId Transaction::stagedLink(InodeId top, InodeId source) {
  KJ_IF_MAYBE (value, get(Key(Table::STAGED_LINKS, top.value(), source.value()))) {
    return InodeId(decodeNumber(*value));
  }
  return InodeId();
}

void Transaction::putStagedLink(InodeId top, InodeId source, InodeId copy) {
  set(Key(Table::STAGED_LINKS, top.value(), source.value()), encodeNumber(copy.value()));
}

kj::Vector<InodeId> Transaction::stagedLinks(InodeId top, size_t limit) {
  kj::Vector<InodeId> result;
  if (limit == 0) return result;
  Key prefix(Table::STAGED_LINKS, top.value());
  scan(prefix, prefix, [&](std::string_view key, std::string_view) {
    KeyReader reader(key);
    reader.number();
    result.add(InodeId(reader.number()));
    return result.size() < limit;
  });
  return result;
}

void Transaction::dropStagedLink(InodeId top, InodeId source) {
  erase(Key(Table::STAGED_LINKS, top.value(), source.value()));
}

kj::Maybe<ServerId> Transaction::store(kj::StringPtr uuid) {
  KJ_IF_MAYBE (value, get(Key(Table::STORES, uuid))) return ServerId(uint32_t(decodeNumber(*value)));
  return nullptr;
}

kj::Vector<std::pair<kj::String, ServerId>> Transaction::allStores() {
  kj::Vector<std::pair<kj::String, ServerId>> result;
  Key prefix(Table::STORES);
  scan(prefix, prefix, [&](std::string_view key, std::string_view value) {
    auto uuid = KeyReader(key).text();
    result.add(kj::heapString(uuid.data(), uuid.size()), ServerId(uint32_t(decodeNumber(value))));
    return true;
  });
  return result;
}

void Transaction::putStore(kj::StringPtr uuid, ServerId server, Draining draining) {
  set(Key(Table::STORES, uuid),
      encodeNumber(server.value() | (draining == Draining::YES ? STORE_DRAINING : 0)));
}

void Transaction::dropStore(kj::StringPtr uuid) {
  erase(Key(Table::STORES, uuid));
}

kj::Vector<SessionId> Transaction::allSessions() {
  kj::Vector<SessionId> result;
  Key prefix(Table::SESSIONS);
  scan(prefix, prefix, [&](std::string_view key, std::string_view) {
    result.add(SessionId(KeyReader(key).number()));
    return true;
  });
  return result;
}

void Transaction::putSession(const SessionRecord& session) {
  set(Key(Table::SESSIONS, session.id.value()), encode(session));
}

void Transaction::dropSession(SessionId session) {
  erase(Key(Table::SESSIONS, session.value()));
}

kj::Maybe<Answer> Transaction::answer(SessionId session, uint64_t sequence) {
  KJ_IF_MAYBE (value, get(Key(Table::ANSWERS, session.value(), sequence))) return decodeAnswer(*value);
  return nullptr;
}

void Transaction::putAnswer(SessionId session, uint64_t sequence, const Answer& answer) {
  set(Key(Table::ANSWERS, session.value(), sequence), encode(answer));
}

void Transaction::dropAnswer(SessionId session, uint64_t sequence) {
  erase(Key(Table::ANSWERS, session.value(), sequence));
}

}  // namespace cairn
