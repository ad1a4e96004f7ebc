// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/inode_table.h"

namespace cairn::fuse {

InodeTable::InodeTable() {
  entries[ROOT_INODE].lookups = 1;
}

void InodeTable::lookedUp(InodeId inode) {
  if (inode == ROOT_INODE) return;  // the kernel does not count the root
  ++entries[inode].lookups;
}

void InodeTable::forget(InodeId inode, uint64_t lookups) {
  if (inode == ROOT_INODE) return;
  auto found = entries.find(inode);
  if (found == entries.end()) return;
  auto& entry = found->second;
  entry.lookups -= kj::min(lookups, entry.lookups);
  if (entry.lookups > 0) return;
  lastForgottenChange = kj::max(lastForgottenChange, entry.changedAt);
  entries.erase(found);
}

uint64_t InodeTable::lookupsOf(InodeId inode) const {
  auto found = entries.find(inode);
  return found == entries.end() ? 0 : found->second.lookups;
}

InodeTable::Cached InodeTable::opened(InodeId inode, uint64_t dataVersion) {
  auto found = entries.find(inode);
  if (found == entries.end()) return Cached::OLD;
  auto& entry = found->second;
  bool current = entry.pages == Entry::Pages::KNOWN && entry.pagesVersion == dataVersion;
  entry.pages = Entry::Pages::KNOWN;
  entry.pagesVersion = dataVersion;
  return current ? Cached::CURRENT : Cached::OLD;
}

void InodeTable::pagesChanged(InodeId inode) {
  auto found = entries.find(inode);
  if (found != entries.end()) found->second.pages = Entry::Pages::UNKNOWN;
}

void InodeTable::shown(InodeId inode, uint64_t dataVersion, uint8_t extended, kj::TimePoint now) {
  auto found = entries.find(inode);
  if (found == entries.end()) return;
  found->second.shownVersion = dataVersion;
  found->second.extended = extended;
  found->second.shownAt = now;
}

kj::Maybe<uint8_t> InodeTable::extended(InodeId inode, kj::TimePoint oldest) const {
  auto found = entries.find(inode);
  if (found == entries.end() || found->second.shownAt == kj::origin<kj::TimePoint>()) return nullptr;
  if (found->second.shownAt < oldest) return nullptr;
  return found->second.extended;
}

bool InodeTable::showsOther(InodeId inode, uint64_t dataVersion) const {
  auto found = entries.find(inode);
  return found != entries.end() && found->second.shownVersion != dataVersion;
}

void InodeTable::changed(InodeId inode) {
  ++clock;
  auto found = entries.find(inode);
  if (found != entries.end()) {
    found->second.changedAt = clock;
    found->second.shownAt = kj::origin<kj::TimePoint>();
  } else {
    lastForgottenChange = clock;
  }
}

bool InodeTable::unchangedSince(InodeId inode, Moment then) const {
  auto found = entries.find(inode);
  return (found == entries.end() ? lastForgottenChange : found->second.changedAt) <= then;
}

}  // namespace cairn::fuse
