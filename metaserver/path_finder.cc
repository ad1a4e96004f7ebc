// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See path_finder.h.
#include "metaserver/path_finder.h"

#include <vector>

#include "rpc/coroutine.h"

namespace cairn {

Async<std::string> PathFinder::nameIn(InodeId parent, InodeId directory) {
  for (uint64_t cookie = 0;;) {
    auto page = names.list(parent, cookie, LISTING_LIMIT_MAX, ListingDetail::NAMES);
    if (!page.ok()) co_return "?";
    for (auto& entry : page->entries) {
      cookie = entry.cookie;
      if (entry.attributes.inode == directory) co_return std::string(entry.name.cStr(), entry.name.size());
    }
    if (page->end == ListingEnd::YES) co_return "?";
    co_await kj::evalLast([]() {});
  }
}

Async<std::string> PathFinder::pathOf(InodeId directory) {
  std::vector<std::pair<InodeId, std::string>> below;  // what is not known yet, from the bottom up
  std::string path;
  for (auto id = directory; id != ROOT_INODE;) {
    auto found = known.find(id);
    if (found != known.end()) {
      path = found->second;
      break;
    }
    auto inode = names.inode(id);
    if (inode.ok()) {
      auto parent = inode->parent;
      below.emplace_back(id, co_await nameIn(parent, id));
      id = parent;
      continue;
    }
    auto was = names.whereabouts(id);
    KJ_IF_MAYBE (whereabouts, was) {
      below.emplace_back(id, whereabouts->name);
      id = whereabouts->parent;
    } else {
      path = "/?";
      break;
    }
  }
  for (auto it = below.rbegin(); it != below.rend(); ++it) {
    path += "/" + it->second;
    known[it->first] = path;
  }
  co_return path;
}

}  // namespace cairn
