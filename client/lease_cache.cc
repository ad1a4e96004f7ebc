// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/lease_cache.h"

#include <kj/debug.h>

#include "client/access_times.h"

namespace cairn::client {

namespace {

bool mayCache(LeaseKind kind) {
  return kind == LeaseKind::READ || kind == LeaseKind::WRITE;
}

bool covers(LeaseKind has, LeaseKind wanted) {
  return has == wanted || has == LeaseKind::WRITE || wanted == LeaseKind::NONE;
}

LeaseKind weaker(LeaseKind one, LeaseKind other) {
  // Read and append exclude each other: of one that is cut down to the other nothing is left.
  if (one == LeaseKind::WRITE) return other;
  return one == other || other == LeaseKind::WRITE ? one : LeaseKind::NONE;
}

}  // namespace

void LeaseCache::renewed(kj::TimePoint sent, kj::Duration term) {
  termEnd = kj::max(termEnd, sent + term);
}

LeaseCache::Entry& LeaseCache::entryOf(InodeId inode) {
  auto [found, fresh] = entries.try_emplace(inode);
  auto& entry = found->second;
  if (fresh) {
    entry.recallStamp = forgottenStamp;
    entry.place = byUse.insert(byUse.end(), inode);
  } else {
    byUse.splice(byUse.end(), byUse, entry.place);
  }
  return entry;
}

const LeaseCache::Entry* LeaseCache::find(InodeId inode) const {
  auto found = entries.find(inode);
  return found == entries.end() ? nullptr : &found->second;
}

LeaseKind LeaseCache::effective(const Entry& entry) const {
  return entry.recalls > 0 ? weaker(entry.kind, entry.kept) : entry.kind;
}

void LeaseCache::grant(Entry& entry, LeaseKind kind, uint64_t stamp) {
  if (stamp <= entry.recallStamp || kind == LeaseKind::NONE) return;
  // What answers say during a recall is what it is going to take. If it were more, it would be asked for
  // anew.
  if (entry.recalls > 0) return;
  if (entry.kind == LeaseKind::NONE) entry.since = stamp;
  entry.stamp = kj::max(entry.stamp, stamp);
  if (entry.kind != LeaseKind::WRITE)
    entry.kind = kind;  // only a recall takes away; of read and append the newer is true
}

void LeaseCache::learn(const FileAttributes& attributes) {
  if (attributes.stamp == 0) return;  // of a metaserver that grants no leases
  if (attributes.lease == LeaseKind::NONE && find(attributes.inode) == nullptr) return;
  auto& entry = entryOf(attributes.inode);
  grant(entry, attributes.lease, attributes.stamp);
  if (attributes.unsure || !mayCache(effective(entry))) return;
  KJ_IF_MAYBE (known, entry.attributes) {
    // Also when a recall that left the read has overtaken them: they are newer than what it left.
    if (attributes.stamp < known->stamp) return;
  } else if (attributes.stamp <= entry.recallStamp) {
    return;
  }
  entry.attributes = attributes;
}

void LeaseCache::learnLease(LeaseHeld lease) {
  if (lease.stamp == 0) return;
  if (lease.kind == LeaseKind::NONE && find(lease.inode) == nullptr) return;
  grant(entryOf(lease.inode), lease.kind, lease.stamp);
}

void LeaseCache::learnName(InodeId directory, kj::StringPtr name, InodeId found, uint64_t stamp) {
  auto place = entries.find(directory);
  if (place == entries.end()) return;
  auto& entry = place->second;
  if (!mayCache(effective(entry)) || stamp <= entry.recallStamp) return;
  auto known = entry.names.find(std::string_view(name.begin(), name.size()));
  if (known != entry.names.end()) {
    if (stamp >= known->second.stamp) known->second = {found, stamp};
    return;
  }
  if (stamp < entry.changeStamp) return;
  entry.names.emplace(std::string(name.begin(), name.size()), Name{found, stamp});
  ++namesTotal;
  for (auto oldest = byUse.begin(); namesTotal > limits.namesMax && oldest != byUse.end(); ++oldest) {
    dropNames(entries.at(*oldest));
  }
}

void LeaseCache::forgetName(InodeId directory, kj::StringPtr name, uint64_t stamp) {
  auto place = entries.find(directory);
  if (place == entries.end()) return;
  auto& entry = place->second;
  entry.changeStamp = kj::max(entry.changeStamp, stamp);
  auto known = entry.names.find(std::string_view(name.begin(), name.size()));
  if (known == entry.names.end() || known->second.stamp > stamp) return;
  entry.names.erase(known);
  --namesTotal;
}

void LeaseCache::accessed(InodeId inode, Timestamp time) {
  auto found = entries.find(inode);
  if (found == entries.end()) return;
  KJ_IF_MAYBE (known, found->second.attributes) {
    if (isAccessDue(*known, time)) known->atime = time;
  }
}

bool LeaseCache::allows(InodeId inode, LeaseKind kind, kj::TimePoint now) const {
  auto entry = find(inode);
  return entry != nullptr && isInTerm(now) && effective(*entry) != LeaseKind::NONE &&
         covers(effective(*entry), kind);
}

bool LeaseCache::has(InodeId inode, LeaseKind kind) const {
  auto entry = find(inode);
  return entry != nullptr && entry->kind != LeaseKind::NONE && covers(entry->kind, kind);
}

kj::Maybe<const FileAttributes&> LeaseCache::attributes(InodeId inode, kj::TimePoint now) const {
  auto entry = find(inode);
  if (entry == nullptr || !isInTerm(now) || !mayCache(effective(*entry))) return nullptr;
  byUse.splice(byUse.end(), byUse, entry->place);
  KJ_IF_MAYBE (known, entry->attributes) return *known;
  return nullptr;
}

kj::Maybe<InodeId> LeaseCache::name(InodeId directory, kj::StringPtr name, kj::TimePoint now) const {
  auto entry = find(directory);
  if (entry == nullptr || !isInTerm(now) || !mayCache(effective(*entry))) return nullptr;
  byUse.splice(byUse.end(), byUse, entry->place);
  auto known = entry->names.find(std::string_view(name.begin(), name.size()));
  if (known == entry->names.end()) return nullptr;
  return known->second.inode;
}

bool LeaseCache::isCurrent(const FileAttributes& attributes, kj::TimePoint now) const {
  auto entry = find(attributes.inode);
  if (entry == nullptr || !isInTerm(now) || !mayCache(effective(*entry))) return false;
  KJ_IF_MAYBE (known, entry->attributes) return known->stamp == attributes.stamp;
  return false;
}

void LeaseCache::dropNames(Entry& entry) {
  for (auto& [name, known] : entry.names) entry.changeStamp = kj::max(entry.changeStamp, known.stamp);
  namesTotal -= entry.names.size();
  entry.names.clear();
}

void LeaseCache::forgetContent(Entry& entry) {
  entry.attributes = nullptr;
  dropNames(entry);
}

void LeaseCache::recall(InodeId inode, LeaseKind kept, uint64_t stamp) {
  auto& entry = entryOf(inode);
  entry.recallStamp = kj::max(entry.recallStamp, stamp);
  if (entry.recalls > 0) kept = weaker(entry.kept, kept);
  entry.kept = kept;
  ++entry.recalls;
  if (!mayCache(effective(entry))) forgetContent(entry);
}

void LeaseCache::recalled(InodeId inode) {
  auto place = entries.find(inode);
  if (place == entries.end()) return;
  auto& entry = place->second;
  if (entry.recalls == 0 || --entry.recalls > 0) return;
  entry.kind = weaker(entry.kind, entry.kept);
  if (entry.kind == LeaseKind::NONE) erase(inode);
}

bool LeaseCache::isRecalling(InodeId inode) const {
  auto entry = find(inode);
  return entry != nullptr && entry->recalls > 0;
}

void LeaseCache::erase(InodeId inode) {
  auto place = entries.find(inode);
  forgottenStamp = kj::max(forgottenStamp, place->second.recallStamp);
  dropNames(place->second);
  byUse.erase(place->second.place);
  entries.erase(place);
}

void LeaseCache::refuse(InodeId inode) {
  auto place = entries.find(inode);
  if (place == entries.end()) return;
  auto& entry = place->second;
  entry.kind = LeaseKind::NONE;
  forgetContent(entry);
  if (entry.recalls == 0) erase(inode);
}

std::vector<InodeId> LeaseCache::voidUpTo(uint64_t stamp) {
  std::vector<InodeId> gone;
  for (auto& [inode, entry] : entries) {
    if (entry.since <= stamp && entry.kind != LeaseKind::NONE) gone.push_back(inode);
  }
  for (auto inode : gone) refuse(inode);
  forgottenStamp = kj::max(forgottenStamp, stamp);
  return gone;
}

std::vector<InodeId> LeaseCache::lose() {
  std::vector<InodeId> gone;
  for (auto& [inode, entry] : entries) gone.push_back(inode);
  for (auto inode : gone) refuse(inode);
  termEnd = kj::origin<kj::TimePoint>();
  return gone;
}

std::vector<LeaseHeld> LeaseCache::held() const {
  std::vector<LeaseHeld> leases;
  for (auto& [inode, entry] : entries) {
    if (entry.kind != LeaseKind::NONE) leases.push_back({inode, entry.kind, entry.stamp});
  }
  return leases;
}

std::vector<LeaseHeld> LeaseCache::excess() {
  std::vector<LeaseHeld> leases;
  if (entries.size() <= limits.inodesMax) return leases;
  // Not one by one: a round trip for many.
  auto wanted = entries.size() - limits.inodesMax + limits.inodesMax / 16;
  for (auto place = byUse.begin(); place != byUse.end() && leases.size() < wanted; ++place) {
    auto& entry = entries.at(*place);
    if (entry.recalls > 0 || entry.kind == LeaseKind::WRITE) continue;
    leases.push_back({*place, LeaseKind::NONE, kj::max(entry.stamp, entry.recallStamp)});
  }
  for (auto& lease : leases) recall(lease.inode, LeaseKind::NONE, lease.stamp);
  return leases;
}

kj::Maybe<LeaseHeld> LeaseCache::lower(InodeId inode) {
  auto place = entries.find(inode);
  if (place == entries.end()) return nullptr;
  auto& entry = place->second;
  if (entry.kind != LeaseKind::WRITE || entry.recalls > 0) return nullptr;
  entry.kind = LeaseKind::READ;
  return LeaseHeld{inode, LeaseKind::READ, entry.stamp};
}

void LeaseCache::checkInvariants() const {
  size_t count = 0;
  for (auto& [inode, entry] : entries) {
    count += entry.names.size();
    KJ_ASSERT(*entry.place == inode);
    KJ_ASSERT(entry.attributes == nullptr || mayCache(effective(entry)), "attributes without a lease", inode);
    KJ_ASSERT(entry.names.empty() || mayCache(effective(entry)), "names without a lease", inode);
  }
  KJ_ASSERT(count == namesTotal);
  KJ_ASSERT(byUse.size() == entries.size());
  KJ_ASSERT(namesTotal <= limits.namesMax);
}

}  // namespace cairn::client
