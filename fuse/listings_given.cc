// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "fuse/listings_given.h"

#include <kj/vector.h>

namespace cairn::fuse {

void ListingsGiven::given(const void* handle, InodeId directory) {
  auto& listing = listings[handle];
  listing.directory = directory;
  listing.end = timer.now() + TAKING_MAX;
}

void ListingsGiven::taken(const void* handle) {
  auto found = listings.find(handle);
  if (found == listings.end()) return;
  tell(found->second);
  listings.erase(found);
}

void ListingsGiven::stop() {
  for (auto& [handle, listing] : listings) tell(listing);
  listings.clear();
}

void ListingsGiven::tell(Given& listing) {
  for (auto& waiting : listing.waiting) waiting->fulfill();
}

bool ListingsGiven::isOut(const Given& listing, kj::Maybe<InodeId> directory) const {
  KJ_IF_MAYBE (only, directory) {
    if (listing.directory != *only) return false;
  }
  return listing.end > timer.now();
}

bool ListingsGiven::any(kj::Maybe<InodeId> directory) const {
  for (auto& [handle, listing] : listings) {
    if (isOut(listing, directory)) return true;
  }
  return false;
}

Async<void> ListingsGiven::allTaken(kj::Maybe<InodeId> directory) {
  kj::Vector<kj::Promise<void>> parts;
  for (auto& [handle, listing] : listings) {
    if (!isOut(listing, directory)) continue;
    auto paf = kj::newPromiseAndFulfiller<void>();
    listing.waiting.push_back(kj::mv(paf.fulfiller));
    parts.add(paf.promise.exclusiveJoin(timer.atTime(listing.end)));
  }
  co_await kj::joinPromises(parts.releaseAsArray());
}

}  // namespace cairn::fuse
