// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/location_cache.h"

#include <algorithm>

namespace cairn::client {

ChunkLocation ChunkLocation::clone() const {
  return {index,   handle,   version,    kj::heapArray<ServerId>(replicas.begin(), replicas.size()),
          primary, leaseEnd, validBytes, lostAt,
          asOf,    age,      complete};
}

const LocationCache::Entry* LocationCache::find(InodeId inode, ChunkIndex index, kj::TimePoint now) const {
  auto file = files.find(inode);
  if (file == files.end()) return nullptr;
  auto entry = file->second.chunks.find(index);
  if (entry == file->second.chunks.end() || entry->second.expiry <= now) return nullptr;
  return &entry->second;
}

kj::Maybe<const ChunkLocation&> LocationCache::forReading(InodeId inode, ChunkIndex index,
                                                          kj::TimePoint now) const {
  auto entry = find(inode, index, now);
  if (entry == nullptr) return nullptr;
  return entry->location;
}

kj::Maybe<const ChunkLocation&> LocationCache::forWriting(InodeId inode, ChunkIndex index,
                                                          kj::TimePoint now) const {
  auto entry = find(inode, index, now);
  if (entry == nullptr || entry->location.isHole() || !entry->location.primary) return nullptr;
  if (entry->location.leaseEnd <= now) return nullptr;
  return entry->location;
}

uint32_t LocationCache::countToAsk(InodeId inode, ChunkIndex index, uint64_t fileSize) {
  auto& file = files[inode];
  bool continues = file.lastCount > 0 && index == file.askedEnd;
  uint32_t count = continues ? std::min(file.lastCount * 4, LOCATE_COUNT_MAX) : 4;
  uint64_t end = fileSize == 0 ? 0 : locate(FileOffset(fileSize - 1)).index.value() + 1;
  uint64_t left = end > index.value() ? end - index.value() : 1;
  count = uint32_t(std::min<uint64_t>(count, left));
  file.lastCount = std::max(count, 1u);
  file.askedEnd = ChunkIndex(index.value() + count);
  return count;
}

void LocationCache::makeRoom(InodeId keep, kj::TimePoint now) {
  // Rare (4 TiB of file is cached), so a walk is good enough: what has expired, else whole other files.
  for (auto file = files.begin(); file != files.end();) {
    auto& chunks = file->second.chunks;
    entries -= std::erase_if(chunks, [&](auto& entry) { return entry.second.expiry <= now; });
    file = chunks.empty() && file->first != keep ? files.erase(file) : std::next(file);
  }
  for (auto file = files.begin(); file != files.end() && entries >= limits.entriesMax;) {
    if (file->first == keep && files.size() > 1) {
      ++file;
      continue;
    }
    entries -= file->second.chunks.size();
    file = files.erase(file);
  }
}

void LocationCache::learn(InodeId inode, ChunkLocation location, kj::TimePoint now) {
  if (entries >= limits.entriesMax) makeRoom(inode, now);
  auto expiry = now + (location.isHole() ? limits.holeLifetime : limits.lifetime);
  auto& chunks = files[inode].chunks;
  auto index = location.index;
  auto [place, fresh] = chunks.try_emplace(index, Entry{{}, expiry});
  if (fresh) {
    ++entries;
  } else {
    // Answers may overtake each other. Versions only rise, so an older one tells nothing new.
    auto& known = place->second.location;
    if (known.handle == location.handle && known.version > location.version) return;
    if (known.handle == location.handle && known.version == location.version && !location.primary) {
      location.primary = known.primary;
      location.leaseEnd = known.leaseEnd;
    }
  }
  place->second = Entry{kj::mv(location), expiry};
}

void LocationCache::leaseProven(InodeId inode, ChunkIndex index, ChunkVersion version, kj::TimePoint now) {
  auto file = files.find(inode);
  if (file == files.end()) return;
  auto entry = file->second.chunks.find(index);
  if (entry == file->second.chunks.end() || entry->second.location.version != version) return;
  auto& location = entry->second.location;
  location.leaseEnd = std::max(location.leaseEnd, now + limits.leaseProof);
  entry->second.expiry = std::max(entry->second.expiry, location.leaseEnd);
}

void LocationCache::leaseLost(InodeId inode, ChunkIndex index, ChunkVersion version) {
  auto file = files.find(inode);
  if (file == files.end()) return;
  auto entry = file->second.chunks.find(index);
  if (entry == file->second.chunks.end() || entry->second.location.version != version) return;
  entry->second.location.primary = ServerId();
}

void LocationCache::forget(InodeId inode, ChunkIndex index) {
  auto file = files.find(inode);
  if (file == files.end()) return;
  entries -= file->second.chunks.erase(index);
}

void LocationCache::forget(InodeId inode) {
  auto file = files.find(inode);
  if (file == files.end()) return;
  entries -= file->second.chunks.size();
  files.erase(file);
}

void LocationCache::forgetFrom(InodeId inode, ChunkIndex index) {
  auto file = files.find(inode);
  if (file == files.end()) return;
  auto& chunks = file->second.chunks;
  entries -= std::erase_if(chunks, [&](auto& entry) { return entry.first >= index; });
}

void LocationCache::forgetAll() {
  files.clear();
  entries = 0;
}

}  // namespace cairn::client
