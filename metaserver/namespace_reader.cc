// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/namespace_reader.h"

#include <kj/debug.h>
#include <kj/vector.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <memory>

#include "metaserver/keys.h"
#include "metaserver/records.h"
#include "metaserver/transaction.h"

namespace cairn {

namespace {

void check(const rocksdb::Status& status, DamageWitness& witness) {
  if (!status.ok() && !status.IsNotFound()) {
    KJ_IF_MAYBE (tell, witness.tell) (*tell)(status.ToString().c_str());
  }
  checkRead(status);
}

class Row {
  // One value of the store, in place where RocksDB has it.
 public:
  Row(rocksdb::DB& db, DamageWitness& witness, const Key& key) {
    auto status = db.Get(rocksdb::ReadOptions(), db.DefaultColumnFamily(), key.view(), &slice);
    check(status, witness);
    found = status.ok();
  }
  bool exists() const { return found; }
  std::string_view value() const { return slice.ToStringView(); }

 private:
  rocksdb::PinnableSlice slice;
  bool found = false;
};

kj::String owned(std::string_view text) {
  return kj::heapString(text.data(), text.size());
}

template <typename Visit>
void scan(rocksdb::DB& db, DamageWitness& witness, const Key& prefix, const Key& first, Visit&& visit) {
  // Until `visit` answers false.
  std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(rocksdb::ReadOptions()));
  for (it->Seek(first.view()); it->Valid() && it->key().starts_with(prefix.view()); it->Next()) {
    if (!visit(KeyReader(it->key().ToStringView()), it->value().ToStringView())) break;
  }
  check(it->status(), witness);
}

}  // namespace

Status NamespaceReader::whyMissing(InodeId id) const {
  return current.wasGiven(id) ? Status::STALE : Status::NOT_FOUND;
}

Result<Inode> NamespaceReader::inode(InodeId id) const {
  Row row(db, witness, Key(Table::INODES, id.value()));
  if (!row.exists()) return whyMissing(id);
  return decodeInode(id, row.value());
}

Result<Attributes> NamespaceReader::lookup(InodeId parent, kj::StringPtr name) const {
  auto directory = inode(parent);
  if (!directory.ok()) return directory.status();
  if (!directory->attributes.isDirectory()) return Status::NOT_DIRECTORY;
  if (name.size() > NAME_SIZE_MAX) return Status::NAME_TOO_LONG;
  if (name == ".") return directory->attributes;
  auto target = directory->parent;
  if (name != "..") {
    Row row(db, witness, Key(Table::NAMES, parent.value(), placeOf(current.cluster, name)));
    auto entry = NameBucket(row.value()).find(name);
    if (entry == nullptr) return Status::NOT_FOUND;
    target = KJ_REQUIRE_NONNULL(entry).inode;
  }
  auto found = inode(target);
  if (!found.ok()) return found.status();
  return found->attributes;
}

Result<DirectoryListing> NamespaceReader::list(InodeId id, uint64_t cookie, uint32_t limit,
                                               ListingDetail detail) const {
  auto directory = inode(id);
  if (!directory.ok()) return directory.status();
  if (!directory->attributes.isDirectory()) return Status::NOT_DIRECTORY;
  limit = kj::max(1u, kj::min(limit, LISTING_LIMIT_MAX));

  kj::Vector<ListedEntry> entries(kj::min(uint64_t(limit), directory->attributes.size));
  DirectoryListing listing;
  listing.end = ListingEnd::YES;
  Key first(Table::NAMES, id.value(), cookie / SLOTS_PER_HASH * SLOTS_PER_HASH);
  scan(db, witness, Key(Table::NAMES, id.value()), first, [&](KeyReader key, std::string_view value) {
    key.number();
    auto place = key.number();
    kj::Vector<NamedInode> bucket;
    NameBucket(value).forEach([&](const NamedInode& entry) { bucket.add(entry); });
    std::sort(bucket.begin(), bucket.end(), [](auto& a, auto& b) { return a.slot < b.slot; });
    for (auto& named : bucket) {
      if (place + named.slot <= cookie) continue;
      if (entries.size() == limit) {
        listing.end = ListingEnd::NO;
        return false;
      }
      ListedEntry entry;
      entry.name = owned(named.name);
      entry.cookie = place + named.slot;
      entry.attributes.inode = named.inode;
      entry.attributes.type = named.type;
      if (detail == ListingDetail::ATTRIBUTES) {
        auto found = inode(named.inode);
        KJ_REQUIRE(found.ok(), "a name leads nowhere", id, entry.name, named.inode);
        entry.attributes = found->attributes;
      }
      entries.add(kj::mv(entry));
    }
    return true;
  });
  listing.entries = entries.releaseAsArray();
  return kj::mv(listing);
}

Result<Attributes> NamespaceReader::resolve(kj::StringPtr path) const {
  if (path.size() >= PATH_SIZE_MAX) return Status::NAME_TOO_LONG;
  if (path.size() == 0) return Status::NOT_FOUND;
  auto found = inode(ROOT_INODE);
  if (!found.ok()) return found.status();
  Result<Attributes> at = found->attributes;
  for (size_t start = 0; start < path.size();) {
    size_t end = start;
    while (end < path.size() && path[end] != '/') ++end;
    if (end > start) {
      at = lookup(at->inode, kj::heapString(path.slice(start, end)));
      if (!at.ok()) return at;
    }
    start = end + 1;
  }
  if (path.endsWith("/") && !at->isDirectory()) return Status::NOT_DIRECTORY;
  return at;
}

Result<kj::String> NamespaceReader::readLink(InodeId id) const {
  auto found = inode(id);
  if (!found.ok()) return found.status();
  if (found->attributes.type != FileType::SYMLINK) return Status::INVALID;
  Row row(db, witness, Key(Table::TARGETS, id.value()));
  KJ_REQUIRE(row.exists(), "a symlink has no target", id);
  return owned(decodeBytes(row.value()));
}

Result<kj::Array<kj::byte>> NamespaceReader::xattr(InodeId id, kj::StringPtr name) const {
  auto found = inode(id);
  if (!found.ok()) return found.status();
  if (found->xattrBytes == 0 || name.size() > NAME_SIZE_MAX) return Status::NO_DATA;
  Row row(db, witness, Key(Table::XATTRS, id.value(), name));
  if (!row.exists()) return Status::NO_DATA;
  auto value = decodeBytes(row.value());
  return kj::heapArray(kj::arrayPtr(value.data(), value.size()).asBytes());
}

Result<kj::Array<kj::String>> NamespaceReader::xattrs(InodeId id) const {
  auto found = inode(id);
  if (!found.ok()) return found.status();
  kj::Vector<kj::String> names;
  if (found->xattrBytes > 0) {
    Key prefix(Table::XATTRS, id.value());
    scan(db, witness, prefix, prefix, [&](KeyReader key, std::string_view) {
      key.number();
      names.add(owned(key.text()));
      return true;
    });
  }
  return names.releaseAsArray();
}

ChunkHandle NamespaceReader::chunkAt(InodeId id, ChunkIndex index) const {
  return referenceAt(id, index).handle;
}

ChunkReference NamespaceReader::referenceAt(InodeId id, ChunkIndex index) const {
  Row row(db, witness, Key(Table::FILE_CHUNKS, id.value(), index.value()));
  return row.exists() ? decodeReference(index, row.value()) : ChunkReference{index, ChunkHandle()};
}

kj::Maybe<ChunkRecord> NamespaceReader::chunk(ChunkHandle handle) const {
  Row row(db, witness, Key(Table::CHUNKS, handle.value()));
  if (!row.exists()) return nullptr;
  return decodeChunk(row.value());
}

Result<FoundIndex> NamespaceReader::firstChunk(InodeId id, ChunkIndex first) const {
  auto found = inode(id);
  if (!found.ok()) return found.status();
  FoundIndex answer{first, FoundIndex::Certain::NO};
  scan(db, witness, Key(Table::FILE_CHUNKS, id.value()), Key(Table::FILE_CHUNKS, id.value(), first.value()),
       [&](KeyReader key, std::string_view) {
         key.number();
         answer = {ChunkIndex(key.number()), FoundIndex::Certain::YES};
         return false;
       });
  return answer;
}

Result<FoundIndex> NamespaceReader::firstSparse(InodeId id, ChunkIndex first) const {
  constexpr unsigned LOOKS_MAX = 4096;  // 256 GiB of a file that is full of data
  auto found = inode(id);
  if (!found.ok()) return found.status();
  FoundIndex answer{first, FoundIndex::Certain::YES};
  unsigned looks = 0;
  scan(db, witness, Key(Table::FILE_CHUNKS, id.value()), Key(Table::FILE_CHUNKS, id.value(), first.value()),
       [&](KeyReader key, std::string_view value) {
         key.number();
         auto reference = decodeReference(ChunkIndex(key.number()), value);
         if (reference.index != answer.index) return false;
         KJ_IF_MAYBE (record, chunk(reference.handle)) {
           if (record->zeroBlocks > 0 || reference.validIn(*record) != ALL_BYTES_VALID) return false;
         }
         answer.index = answer.index.next();
         if (++looks == LOOKS_MAX) answer.certain = FoundIndex::Certain::NO;
         return looks < LOOKS_MAX;
       });
  return answer;
}

kj::Array<FileChunk> NamespaceReader::chunksOf(InodeId id, ChunkIndex first, uint32_t limit) const {
  kj::Vector<FileChunk> chunks;
  if (limit == 0) return chunks.releaseAsArray();
  scan(db, witness, Key(Table::FILE_CHUNKS, id.value()), Key(Table::FILE_CHUNKS, id.value(), first.value()),
       [&](KeyReader key, std::string_view value) {
         key.number();
         auto reference = decodeReference(ChunkIndex(key.number()), value);
         auto record = KJ_REQUIRE_NONNULL(chunk(reference.handle), "a file names a chunk that has no record",
                                          id, reference.handle);
         chunks.add(FileChunk{reference.index, reference.handle, record});
         return chunks.size() < limit;
       });
  return chunks.releaseAsArray();
}

kj::Array<InodeId> NamespaceReader::orphans(InodeId after, uint32_t limit) const {
  kj::Vector<InodeId> result;
  if (limit == 0) return result.releaseAsArray();
  scan(db, witness, Key(Table::ORPHANS), Key(Table::ORPHANS, after.next().value()),
       [&](KeyReader key, std::string_view) {
         result.add(key.number());
         return result.size() < limit;
       });
  return result.releaseAsArray();
}

kj::Array<InodeId> NamespaceReader::stagings(uint32_t limit) const {
  kj::Vector<InodeId> result;
  if (limit == 0) return result.releaseAsArray();
  scan(db, witness, Key(Table::STAGINGS), Key(Table::STAGINGS), [&](KeyReader key, std::string_view) {
    result.add(InodeId(key.number()));
    return result.size() < limit;
  });
  return result.releaseAsArray();
}

kj::Array<StagedWork> NamespaceReader::stagedWork(InodeId top, uint32_t limit) const {
  kj::Vector<StagedWork> result;
  if (limit == 0) return result.releaseAsArray();
  Key prefix(Table::STAGED_WORK, top.value());
  scan(db, witness, prefix, prefix, [&](KeyReader key, std::string_view value) {
    key.number();
    result.add(decodeStagedWork(InodeId(key.number()), value));
    return result.size() < limit;
  });
  return result.releaseAsArray();
}

bool NamespaceReader::isBoundForTrash(InodeId orphan) const {
  Row row(db, witness, Key(Table::ORPHANS, orphan.value()));
  return row.exists() && decodeOrphan(row.value()).departure.until > 0;
}

kj::Array<TrashedFile> NamespaceReader::trash(int64_t until, InodeId after, uint32_t limit) const {
  kj::Vector<TrashedFile> result;
  if (limit == 0) return result.releaseAsArray();
  scan(db, witness, Key(Table::TRASH), Key(Table::TRASH, uint64_t(until), after.next().value()),
       [&](KeyReader key, std::string_view value) {
         auto goes = int64_t(key.number());
         auto found = inode(InodeId(key.number()));
         KJ_REQUIRE(found.ok(), "a file in the trash is gone");
         result.add(TrashedFile{*found, decodeDeparture(goes, value)});
         return result.size() < limit;
       });
  return result.releaseAsArray();
}

kj::Maybe<Departure> NamespaceReader::trashed(InodeId id, int64_t until) const {
  Row row(db, witness, Key(Table::TRASH, uint64_t(until), id.value()));
  if (!row.exists()) return nullptr;
  return decodeDeparture(until, row.value());
}

kj::Maybe<Whereabouts> NamespaceReader::whereabouts(InodeId directory) const {
  Row row(db, witness, Key(Table::WHEREABOUTS, directory.value()));
  if (!row.exists()) return nullptr;
  return decodeWhereabouts(row.value());
}

Usage NamespaceReader::usage(InodeId directory) const {
  Row row(db, witness, Key(Table::USAGE, directory.value()));
  return row.exists() ? decodeUsage(row.value()) : Usage();
}

kj::Array<NamespaceReader::DirectoryQuota> NamespaceReader::quotas(InodeId after, uint32_t limit) const {
  kj::Vector<DirectoryQuota> result;
  if (limit == 0) return result.releaseAsArray();
  scan(db, witness, Key(Table::QUOTAS), Key(Table::QUOTAS, after.next().value()),
       [&](KeyReader key, std::string_view value) {
         result.add(DirectoryQuota{InodeId(key.number()), decodeQuota(value)});
         return result.size() < limit;
       });
  return result.releaseAsArray();
}

kj::Maybe<QuotaLimits> NamespaceReader::quota(InodeId directory) const {
  Row row(db, witness, Key(Table::QUOTAS, directory.value()));
  if (!row.exists()) return nullptr;
  return decodeQuota(row.value());
}

bool NamespaceReader::isBelow(InodeId inner, InodeId outer) const {
  for (auto id = inner; id;) {
    if (id == outer) return true;
    auto found = inode(id);
    if (!found.ok() || id == ROOT_INODE) return false;
    id = found->parent;
  }
  return false;
}

NamespaceReader::Room NamespaceReader::room(const Inode& from) const {
  Room room;
  if (current.quotas == 0 || current.counting != Counting::DONE) return room;
  for (auto id = from.attributes.isDirectory() ? from.id() : from.parent; id;) {
    auto found = inode(id);
    if (!found.ok()) break;
    if (found->has(QUOTA)) {
      KJ_IF_MAYBE (limits, quota(id)) {
        auto used = usage(id);
        if (limits->bytesLeft(used) < room.bytesLeft) {
          room.bytesLeft = limits->bytesLeft(used);
          room.bytesLimit = limits->bytes;
        }
        if (limits->inodesLeft(used) < room.inodesLeft) {
          room.inodesLeft = limits->inodesLeft(used);
          room.inodesLimit = limits->inodes;
        }
      }
    }
    id = id == ROOT_INODE ? InodeId() : found->parent;
  }
  return room;
}

kj::Array<GarbageRecord> NamespaceReader::garbage(ChunkHandle after, uint32_t limit) const {
  kj::Vector<GarbageRecord> result;
  if (limit == 0) return result.releaseAsArray();
  scan(db, witness, Key(Table::GARBAGE), Key(Table::GARBAGE, after.next().value()),
       [&](KeyReader key, std::string_view value) {
         result.add(GarbageRecord{ChunkHandle(key.number()), ChunkVersion(decodeNumber(value))});
         return result.size() < limit;
       });
  return result.releaseAsArray();
}

kj::Maybe<ChunkVersion> NamespaceReader::dropped(ChunkHandle handle) const {
  Row row(db, witness, Key(Table::GARBAGE, handle.value()));
  if (!row.exists()) return nullptr;
  return ChunkVersion(decodeNumber(row.value()));
}

kj::Array<SessionRecord> NamespaceReader::sessions() const {
  kj::Vector<SessionRecord> result;
  Key prefix(Table::SESSIONS);
  scan(db, witness, prefix, prefix, [&](KeyReader key, std::string_view value) {
    result.add(decodeSession(SessionId(key.number()), value));
    return true;
  });
  return result.releaseAsArray();
}

kj::Maybe<SessionRecord> NamespaceReader::session(SessionId id) const {
  Row row(db, witness, Key(Table::SESSIONS, id.value()));
  if (!row.exists()) return nullptr;
  return decodeSession(id, row.value());
}

bool NamespaceReader::hasAnswered(SessionId session, uint64_t sequence) const {
  return Row(db, witness, Key(Table::ANSWERS, session.value(), sequence)).exists();
}

kj::Array<StoreRecord> NamespaceReader::stores() const {
  kj::Vector<StoreRecord> result;
  Key prefix(Table::STORES);
  scan(db, witness, prefix, prefix, [&](KeyReader key, std::string_view value) {
    auto number = decodeNumber(value);
    result.add(StoreRecord{ServerId(uint32_t(number)), number & STORE_DRAINING ? Draining::YES : Draining::NO,
                           owned(key.text())});
    return true;
  });
  return result.releaseAsArray();
}

}  // namespace cairn
