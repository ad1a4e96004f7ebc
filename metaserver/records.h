// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Values of the namespace store: one format byte, then fields of fixed size in little-endian order, texts
// with their length before them. Small and fast to read, at any alignment; a field is added at the end, and a
// record that ends before it means its default. A format byte that is not known is refused: records.cc throws
// with the table's name.
#pragma once

#include <string>
#include <string_view>

#include "metaserver/inode.h"
#include "metaserver/operation.h"

namespace cairn {

constexpr uint64_t STORE_DRAINING = 1ull << 32;  // in the value of a store, above its id
constexpr uint32_t NAMESPACE_FORMAT = 4;         // of the store as a whole, in the state record
// 1: no chunk has ever been shared; 2 since the first that was: a program that knows only 1 would write it.
// 3: it was restored from a backup: a program that knows only 2 would take what stores hold for garbage.
// 4: a tree was copied in steps: a program that knows only 3 would leave for ever what was given up.
constexpr uint8_t RECORD_FORMAT = 1;
constexpr uint8_t ORPHAN_FORMAT =
    2;  // format 1: nothing, or the text `linkable`; read as without a departure

std::string encode(const Inode& inode);
Inode decodeInode(InodeId id, std::string_view bytes);
uint64_t bytesUsedBy(const Inode& inode);

std::string encode(const ChunkRecord& chunk);
ChunkRecord decodeChunk(std::string_view bytes);

std::string encode(const ChunkReference& reference);
ChunkReference decodeReference(ChunkIndex index, std::string_view bytes);

struct NamedInode {
  std::string_view name;  // into the bytes it was decoded from
  InodeId inode;
  FileType type = FileType::REGULAR;
  uint8_t slot = 0;
};

class NameBucket {
  // The entries of a directory whose names have one hash.
 public:
  explicit NameBucket(std::string_view bytes) : bytes(bytes) {}  // empty: no entry
  template <typename Visit>
  void forEach(Visit&& visit) const {
    for (auto rest = content(); !rest.empty();) visit(next(rest));
  }
  kj::Maybe<NamedInode> find(kj::StringPtr name) const;
  kj::Maybe<std::string> with(kj::StringPtr name, InodeId inode, FileType type) const;
  // The bucket with the entry added, or changed to name another inode. Null: all slots are taken.
  std::string without(kj::StringPtr name) const;  // empty when that was the last one

 private:
  std::string_view bytes;
  std::string_view content() const;
  static NamedInode next(std::string_view& rest);
};

std::string encode(const OrphanRecord& orphan);
OrphanRecord decodeOrphan(std::string_view bytes);

std::string encode(const Departure& departure);  // but `until`, which is in the key
Departure decodeDeparture(int64_t until, std::string_view bytes);

std::string encode(const Whereabouts& directory);
Whereabouts decodeWhereabouts(std::string_view bytes);

std::string encode(const Usage& usage);
Usage decodeUsage(std::string_view bytes);

std::string encode(const QuotaLimits& limits);
QuotaLimits decodeQuota(std::string_view bytes);

std::string encode(const Backlinks& links);
Backlinks decodeBacklinks(std::string_view bytes);

std::string encode(const StagingRecord& staging);
StagingRecord decodeStaging(std::string_view bytes);

std::string encode(const StagedWork& work);  // but `inode`, which is in the key
StagedWork decodeStagedWork(InodeId inode, std::string_view bytes);

struct Answer {
  // What is remembered of a session's change.
  Outcome outcome;
  uint64_t answered = 0;  // Change.answered of the change: earlier ones are forgotten
};
std::string encode(const Answer& answer);
Answer decodeAnswer(std::string_view bytes);

std::string encode(const SessionRecord& session);
SessionRecord decodeSession(SessionId id, std::string_view bytes);

std::string encode(const NamespaceState& state);
NamespaceState decodeState(std::string_view bytes);  // throws with a sentence for the user

std::string encodeNumber(uint64_t number);  // values that are one number: handle, version, server id
uint64_t decodeNumber(std::string_view bytes);

std::string encodeBytes(
    kj::ArrayPtr<const kj::byte> bytes);  // symlink targets, values of extended attributes
std::string_view decodeBytes(std::string_view bytes);

kj::String describeRecord(std::string_view key, std::string_view value);  // one line, for dumps

}  // namespace cairn
