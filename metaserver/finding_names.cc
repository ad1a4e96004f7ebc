// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See finding_names.h.
#include "metaserver/finding_names.h"

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr size_t ROWS_AT_A_TIME = 500;
constexpr size_t DEPTH_MAX = 4096;

bool isAboutFiles(const Finding& finding) {
  switch (finding.trouble) {
    case Trouble::CHUNK_OF_NO_FILE:
    case Trouble::CHUNK_UNKNOWN:
    case Trouble::CHUNK_KEPT:
    case Trouble::CHUNK_AHEAD:
      return false;  // no file has it: that is what is wrong
    default:
      return true;
  }
}

}  // namespace

Async<void> FindingNames::fillIn(std::vector<Finding>& findings) {
  std::set<ChunkHandle> chunks;
  std::set<InodeId> inodes;
  for (auto& finding : findings) {
    if (finding.inode) {
      inodes.insert(finding.inode);
    } else if (finding.chunk && isAboutFiles(finding)) {
      chunks.insert(finding.chunk);
    }
  }
  if (!chunks.empty()) co_await findOwners(chunks);
  for (auto& [chunk, files] : owners) inodes.insert(files.begin(), files.end());
  if (!inodes.empty()) co_await findPlaces(inodes);
  for (auto& finding : findings) {
    if (finding.trouble == Trouble::NAME_LEADS_NOWHERE || finding.trouble == Trouble::NAME_OF_WRONG_TYPE) {
      finding.paths = {co_await pathOf(finding.directory) + "/" + finding.name};
    } else if (finding.inode) {
      co_await addPaths(finding, finding.inode);
    } else if (finding.chunk) {
      for (auto inode : owners[finding.chunk]) co_await addPaths(finding, inode);
    }
  }
}

Async<void> FindingNames::findOwners(const std::set<ChunkHandle>& chunks) {
  size_t looked = 0;
  for (auto rows = scan.rows(Table::FILE_CHUNKS); rows.valid(); rows.next()) {
    auto handle = decodeReference(ChunkIndex(rows.second()), rows.value()).handle;
    if (chunks.count(handle) > 0) {
      auto& files = owners[handle];
      if (files.size() < PATHS_MAX) files.emplace_back(rows.first());
    }
    if (++looked % ROWS_AT_A_TIME == 0) co_await rest();
  }
}

Async<void> FindingNames::findPlaces(const std::set<InodeId>& inodes) {
  size_t looked = 0;
  for (auto rows = scan.rows(Table::NAMES); rows.valid(); rows.next()) {
    InodeId directory(rows.first());
    NameBucket(rows.value()).forEach([&](const NamedInode& entry) {
      if (inodes.count(entry.inode) == 0) return;
      auto& list = places[entry.inode];
      if (list.size() < PATHS_MAX) list.push_back({directory, std::string(entry.name)});
    });
    if (++looked % ROWS_AT_A_TIME == 0) co_await rest();
  }
  for (auto rows = scan.rows(Table::TRASH); rows.valid(); rows.next()) {
    InodeId inode(rows.second());
    if (inodes.count(inode) > 0) {
      auto departure = decodeDeparture(int64_t(rows.first()), rows.value());
      places[inode].push_back({departure.directory, departure.name, true});
    }
    if (++looked % ROWS_AT_A_TIME == 0) co_await rest();
  }
}

Async<std::string> FindingNames::pathOf(InodeId directory) {
  // A directory below itself has no path, and looking for one would not end.
  auto id = directory;
  for (size_t depth = 0; id != ROOT_INODE; ++depth) {
    auto inode = names.inode(id);
    if (!inode.ok()) break;
    if (depth == DEPTH_MAX || inode->parent == id) co_return "/?";
    id = inode->parent;
  }
  co_return co_await finder.pathOf(directory);
}

Async<void> FindingNames::addPaths(Finding& finding, InodeId inode) {
  if (inode == ROOT_INODE) finding.paths.push_back("/");
  for (auto& place : places[inode]) {
    if (finding.paths.size() >= PATHS_MAX) co_return;
    auto path = co_await pathOf(place.directory) + "/" + place.name;
    finding.paths.push_back(place.trashed ? path + " (in the trash)" : path);
  }
}

}  // namespace cairn
